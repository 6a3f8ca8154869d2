package resource

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"time"
)

// NewUUID returns a new uuid: 32 lower-case hex digits in the pattern of a
// version 4 UUID without dashes, which is what the wire accepts. Its first 48
// bits are the time in milliseconds, the other 74 free bits are random: rows
// made together then lie together in every index, so that a commit writes a
// few pages instead of one for each row and index (measured in core/store:
// BenchmarkInsert). It cannot be guessed, but it tells when it was made.
func NewUUID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails; crypto/rand ends the program instead
	var ms [8]byte
	binary.BigEndian.PutUint64(ms[:], uint64(time.Now().UnixMilli()))
	copy(b[:6], ms[2:])
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return hex.EncodeToString(b[:])
}

// IsUUID reports whether s has the form of a uuid: 32 hex digits, lower case.
func IsUUID(s string) bool {
	if len(s) != 32 {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
