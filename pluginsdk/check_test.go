package pluginsdk_test

import (
	"errors"
	"testing"

	"github.com/kumo-cloud/kumo/pluginsdk"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

func TestCheckUUID(t *testing.T) {
	for uuid, good := range map[string]bool{
		"0123456789abcdef0123456789abcdef":     true,
		"":                                     false,
		"0123456789ABCDEF0123456789abcdef":     false,
		"0123456789abcdef0123456789abcde":      false,
		"0123456789abcdef0123456789abcdef0":    false,
		"../3456789abcdef0123456789abcdef":     false,
		"01234567-89ab-cdef-0123-456789abcdef": false,
	} {
		if err := pluginsdk.CheckUUID("volume", uuid); (err == nil) != good || err != nil && !errors.Is(err, errs.Invalid) {
			t.Errorf("%q: %v", uuid, err)
		}
	}
}

func TestCheckFolder(t *testing.T) {
	for folder, good := range map[string]bool{
		"/srv/storage": true, "/var/lib/kumo": true, "/tmp/x": true, "/data": true, "/home/kumo": true,
		"": false, "/": false, "srv": false, "/srv/": false, "/srv/../etc": false, "/etc": false, "/etc/kumo": false,
		"/usr/local/x": false, "/var": false, "/var/lib": false, "/home": false, "/proc/1": false,
		"/srv/a\nb": false, "/srv/$(x)": false, "/srv/`x`": false, "/srv/*": false,
	} {
		if err := pluginsdk.CheckFolder("storage s", folder); (err == nil) != good || err != nil && !errors.Is(err, errs.Invalid) {
			t.Errorf("%q: %v", folder, err)
		}
	}
}
