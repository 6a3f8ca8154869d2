package schema

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func read(t *testing.T) *Document {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "serve", "testdata", "schema.golden.json"))
	if err != nil {
		t.Fatal(err)
	}
	d, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// How parameters are called, and by which other names.
func TestFlagNames(t *testing.T) {
	d := read(t)
	for _, c := range []struct{ message, param, name, aliases string }{
		{"APICreateVmInstanceMsg", "instanceOfferingUuid", "offering", "instance-offering instance-offering-uuid instanceOfferingUuid"},
		{"APICreateVmInstanceMsg", "imageUuid", "image", "image-uuid"},
		{"APICreateVmInstanceMsg", "l3NetworkUuids", "network", "l3 l3-network l3-network-uuids networks"},
		{"APICreateVmInstanceMsg", "defaultL3NetworkUuid", "default-l3-network", "default-l3-network-uuid"},
		{"APICreateVmInstanceMsg", "dataDiskOfferingUuids", "data-disk-offering", "data-disk-offering-uuids data-disk-offerings"},
		{"APICreateVmInstanceMsg", "primaryStorageUuidForRootVolume", "primary-storage", "primary-storage-for-root-volume primary-storage-uuid-for-root-volume ps"},
		{"APICreateVmInstanceMsg", "cpuNum", "cpu-num", "cpuNum"},
		{"APIAddKVMHostMsg", "password", "password-file", "password"},
		{"APIAddImageMsg", "url", "url", ""}, // a secret that the image shows all the same
		{"APICreateSystemTagMsg", "tag", "tag", ""},
		{"APICreateSystemTagsMsg", "tags", "tags", ""},
		{"APICreateSystemTagMsg", "resourceUuid", "resource", "resource-uuid resourceUuid"},
		{"APICreateAccessKeyMsg", "AccessKeySecret", "access-key-secret-file", ""},
		{"APIAddImageMsg", "backupStorageUuids", "backup-storage", "backup-storage-uuids bs"},
	} {
		i := slices.IndexFunc(d.Flags([]*Action{d.Actions[c.message]}, nil), func(f *Flag) bool { return f.Param.Name == c.param })
		if i < 0 {
			t.Fatalf("%s has no flag", c.param)
		}
		f := d.Flags([]*Action{d.Actions[c.message]}, nil)[i]
		if f.Name != c.name {
			t.Errorf("%s is --%s, want --%s", c.param, f.Name, c.name)
		}
		for _, a := range strings.Fields(c.aliases) {
			if !slices.Contains(f.Aliases, a) {
				t.Errorf("%s is not called --%s, but %v", c.param, a, f.Aliases)
			}
		}
	}
}

// Parameters that would be called the same keep their whole names.
func TestFlagsOfOneName(t *testing.T) {
	d := &Document{Types: map[string]*Type{"Host": {Name: "Host", Noun: "host"}}}
	params := []*Param{{Field: Field{Name: "hostUuid", Ref: "Host"}}, {Field: Field{Name: "hostUuids", Kind: "list", Ref: "Host"}}, {Field: Field{Name: "plan"}}, {Field: Field{Name: "key", Secret: true}}}
	var got []string
	for _, f := range d.Flags([]*Action{{Params: params}}, nil) {
		got = append(got, f.Name)
	}
	if want := "host-uuid host-uuids param-plan key-file"; strings.Join(got, " ") != want {
		t.Errorf("the flags are %v, want %s", got, want)
	}
}

func TestVerbs(t *testing.T) {
	d := read(t)
	for noun, want := range map[string]string{
		"vm":               "create update delete recover start stop expunge",
		"zone":             "create update delete enable disable attach-backup-storage",
		"cluster":          "attach-primary-storage attach-l2", // the other ends of what the storage and the network have
		"l3":               "add-dns attach-network-service add-ip-range free-ip",
		"image":            "create upload delete",
		"host":             "create maintain",
		"ps":               "attach detach",
		"job":              "trace",
		"flow":             "retry forget",
		"gc":               "run delete",
		"resource-setting": "set reset get-resource-config", // "get" alone is show
	} {
		var got []string
		for _, v := range d.Verbs(d.ByNoun(noun)) {
			got = append(got, v.Name)
		}
		for _, name := range strings.Fields(want) {
			if !slices.Contains(got, name) {
				t.Errorf("%s: %s is none of the verbs %v", noun, name, got)
			}
		}
	}
	host := d.Verbs(d.ByNoun("host"))[0]
	if !reflect.DeepEqual(host.Kinds(), []string{"kvm", "simulator"}) || !slices.Contains(host.Aliases, "add") {
		t.Errorf("host create: kinds %v, aliases %v", host.Kinds(), host.Aliases)
	}
	// Of verbs and their other words, none means two things, nor what each noun has.
	for _, typ := range d.Nouns() {
		seen := map[string]string{"ls": "ls", "list": "ls", "show": "show", "get": "show"}
		for _, v := range d.Verbs(typ) {
			for _, w := range append([]string{v.Name}, v.Aliases...) {
				if seen[w] != "" {
					t.Errorf("%s %s is %s and %s", typ.Noun, w, seen[w], v.Name)
				}
				seen[w] = v.Name
			}
		}
	}
}

func TestWords(t *testing.T) {
	for name, want := range map[string]string{
		"instanceOfferingUuid": "instance-offering-uuid", "APIAddDnsToL3NetworkMsg": "add-dns-to-l3-network", "cpuNum": "cpu-num",
		"APIGetVMConsoleMsg": "get-vm-console", "APIAddKVMHostMsg": "add-kvm-host", "md5Sum": "md5-sum", "name": "name",
	} {
		if got := Kebab(name); got != want {
			t.Errorf("Kebab(%s) = %s, want %s", name, got, want)
		}
	}
	for name, want := range map[string]string{"vipIp": "Vip ip", "": "", "L3Network": "L3 network"} {
		if got := Spaced(name); got != want {
			t.Errorf("Spaced(%s) = %q, want %q", name, got, want)
		}
	}
	words := []string{"image", "network", "offering", "name", "vm", "volume"}
	for text, want := range map[string]string{"imge": "image", "netwrok": "network", "off": "offering", "vn": "vm", "xyzzy": "", "n": "", "nmae": "name", "vmm": "vm"} {
		if got := Nearest(text, words); got != want {
			t.Errorf("Nearest(%s) = %q, want %q", text, got, want)
		}
	}
}

func TestParse(t *testing.T) {
	for _, text := range []string{"", "[]", `{"version":2}`, `{}`} {
		if d, err := Parse([]byte(text)); err == nil {
			t.Errorf("%q: %v", text, d)
		}
	}
	d := read(t)
	if d.ByNoun("PS") != d.Types["PrimaryStorage"] || d.ByNoun("vminstance") != d.Types["VmInstance"] || d.ByNoun("nothing") != nil {
		t.Error("a type is not found by its words")
	}
	for name, fields := range map[string]string{"Host": "name managementIp sshPort cpuCapacity", "KVMHost": "name managementIp sshPort"} {
		for _, field := range strings.Fields(fields) {
			if d.Types[name].Field(field) == nil {
				t.Errorf("%s has no field %s", name, field)
			}
		}
	}
	if d.Types["KVMHost"].Field("cpuCapacity") != nil {
		t.Error("a type has the fields of another that refines the same")
	}
	vm, l2 := d.Types["VmInstance"], d.Types["L2Network"]
	for path, want := range map[string]*Field{
		"hostUuid": vm.Field("hostUuid"), "vmNics.ip": d.Types["VmNic"].Field("ip"), "host.cluster.name": d.Types["Cluster"].Field("name"),
		"vmNics": nil, "host": nil, "nothing.name": nil, "": nil,
	} {
		if got := d.FieldAt(vm, path); got != want {
			t.Errorf("at %s of a VM is %v, want %v", path, got, want)
		}
	}
	if f := d.FieldAt(l2, "attachedClusterUuids"); f == nil || f.Ref != "Cluster" {
		t.Errorf("the clusters of an L2 network are %v", f)
	}
	if c := (Caption{"en": "a"}); c.In("zh") != "a" || c.In("en") != "a" || Caption(nil).In("zh") != "" {
		t.Error("captions do not fall back to English")
	}
}
