package network

import "fmt"

// internalName names a NIC's device on its host: at most 15 bytes, and different
// for all NICs there. The end of a UUID is random; its beginning is the time,
// which NICs that are made within a minute share.
func internalName(nicUUID string, device int) string {
	return fmt.Sprintf("vnic%s.%d", nicUUID[len(nicUUID)-8:], device)
}
