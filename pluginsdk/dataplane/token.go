package dataplane

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// The tokens of EC2's metadata service, version 2: a guest asks for one by PUT and
// shows it with each question, so that a proxy in it which can be talked into a GET
// gives nothing away. Version 1, without tokens, is served too.
const (
	tokenHeader    = "X-Aws-Ec2-Metadata-Token"
	tokenTTLHeader = "X-Aws-Ec2-Metadata-Token-Ttl-Seconds"
	// maxTokenTTL is EC2's: six hours.
	maxTokenTTL = 6 * 60 * 60
)

// tokens makes and checks tokens without keeping any: a token is its end and a
// signature of that and the guest's address. The key lives as long as the service;
// to a token of an earlier one the answer is 401, after which clients ask for anew.
type tokens struct{ key []byte }

func newTokens() tokens {
	t := tokens{key: make([]byte, sha256.Size)}
	_, _ = rand.Read(t.key) // never fails (crypto/rand)
	return t
}

func (t tokens) sign(guest netip.Addr, end []byte) []byte {
	h := hmac.New(sha256.New, t.key)
	// Neither call fails; the end has a fixed length, so the two are told apart.
	_, _ = h.Write(end)
	_, _ = h.Write(guest.AsSlice())
	return append(end, h.Sum(nil)...)
}

func (t tokens) issue(guest netip.Addr, end time.Time) string {
	return base64.URLEncoding.EncodeToString(t.sign(guest, binary.BigEndian.AppendUint64(nil, uint64(end.Unix()))))
}

func (t tokens) valid(guest netip.Addr, token string, now time.Time) bool {
	got, err := base64.URLEncoding.DecodeString(token)
	if err != nil || len(got) != 8+sha256.Size {
		return false
	}
	end := got[:8:8]
	return hmac.Equal(t.sign(guest, end), got) && now.Unix() < int64(binary.BigEndian.Uint64(end))
}

// isTokenPath tells PUT's path: that of the newest version, or of another one.
func isTokenPath(path string) bool {
	parts := pathParts(path)
	return len(parts) == 3 && isVersion(parts[0]) && parts[1] == "api" && parts[2] == "token"
}

// put gives a token to the guest that asks. Errors as EC2's: 400 without a life of 1
// to 21600 seconds, 403 for what came through a proxy.
func (t tokens) put(w http.ResponseWriter, r *http.Request, guest netip.Addr) {
	ttl, err := strconv.Atoi(strings.TrimSpace(r.Header.Get(tokenTTLHeader)))
	switch {
	case r.Header.Get("X-Forwarded-For") != "":
		http.Error(w, "a token is given to the guest alone, not to a proxy", http.StatusForbidden)
	case err != nil || ttl < 1 || ttl > maxTokenTTL:
		http.Error(w, tokenTTLHeader+" must be 1 to "+strconv.Itoa(maxTokenTTL), http.StatusBadRequest)
	default:
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set(tokenTTLHeader, strconv.Itoa(ttl))
		// A guest that went away while it read is not our failure.
		_, _ = w.Write([]byte(t.issue(guest, time.Now().Add(time.Duration(ttl)*time.Second))))
	}
}
