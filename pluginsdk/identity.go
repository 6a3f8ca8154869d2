package pluginsdk

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// UUIDOf is the UUID (version 4 in form) of what has a name: the same parts make the
// same one. Rows whose UUIDs are made of the operation's ID, or of what they belong to,
// are the same rows when a call is repeated.
func UUIDOf(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	sum[6], sum[8] = sum[6]&0x0f|0x40, sum[8]&0x3f|0x80
	return hex.EncodeToString(sum[:16])
}
