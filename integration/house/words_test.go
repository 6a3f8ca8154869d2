package house

import (
	"bufio"
	"flag"
	"fmt"
	"go/scanner"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
)

var lower = flag.Bool("lower-budget", false, "write the counts into testdata/words.txt, if no word is used more often than before (it may move to another file)")

// words are those of hypervisors, of their devices and firmware, of formats of
// disks, of consoles and of what makes networks on a host. What they mean is
// known by plugins, which declare what they offer; the core has names for
// what it asks of them. Some are the wire's own (the parameter virtio, the
// setting kvm/reservedMemory) and stay.
var words = wordSet(`
	kvm qemu libvirt vmware vcenter vsphere esx esxi vmx xen hyperv
	virtio vhost e1000 rtl8139 ne2k pcnet sata ide scsi qxl vga cirrus q35 acpi tpm qga
	qcow2 vmdk vhd vdi vhdx
	bios uefi ovmf seabios edk2 csm
	vnc spice rfb
	bridge bridges macvlan ovs dpdk dnsmasq nft nftables iptables ebtables netlink haproxy keepalived`)

// literals count only where they are a whole text, being words of English or of Go.
var literals = wordSet("raw iso")

func wordSet(text string) map[string]bool {
	set := map[string]bool{}
	for _, w := range strings.Fields(text) {
		set[w] = true
	}
	return set
}

// parts are the words of an identifier or text: onSCSI has "on" and "SCSI",
// "WindowsVirtio" "Windows" and "Virtio", UEFIBoot "UEFI" and "Boot". A number
// belongs to the word before it.
func parts(text string) (out []string) {
	start, r := 0, []rune(text)
	for i := 0; i <= len(r); i++ {
		if i < len(r) && i > 0 {
			up, before := unicode.IsUpper(r[i]), r[i-1]
			begins := up && !unicode.IsUpper(before) || up && i+1 < len(r) && unicode.IsLower(r[i+1])
			if !begins && (unicode.IsLetter(r[i]) || unicode.IsDigit(r[i])) && (unicode.IsLetter(before) || unicode.IsDigit(before)) {
				continue
			}
		}
		if i > start {
			out = append(out, string(r[start:i]))
		}
		start = i
	}
	return out
}

// driverWords counts the words of drivers in Go code, outside comments.
func driverWords(src []byte) map[string]int {
	found := map[string]int{}
	files := token.NewFileSet()
	var s scanner.Scanner
	s.Init(files.AddFile("", -1, len(src)), src, nil, 0)
	for {
		_, tok, text := s.Scan()
		switch tok {
		case token.EOF:
			return found
		case token.STRING, token.IDENT:
			if whole := strings.Trim(text, "\"`"); tok == token.STRING && literals[whole] {
				found[whole]++
			}
			for _, w := range parts(text) {
				if w = strings.ToLower(w); words[w] {
					found[w]++
				}
			}
		}
	}
}

const budgetFile = "integration/house/testdata/words.txt"

// The core names no driver and speaks no driver's language: it would have to
// change with each new one. What is left of such words is counted by file in a
// budget, which only falls.
func TestCoreNamesNoDriver(t *testing.T) {
	counted := map[string]int{}
	sources(t, func(name string, content []byte) {
		forTests := strings.HasSuffix(name, "_test.go") || strings.HasSuffix(filepath.Dir(name), "test")
		if !strings.HasPrefix(name, "core/") || filepath.Ext(name) != ".go" || forTests {
			return
		}
		for w, n := range driverWords(content) {
			counted[w+" "+name] = n
		}
	})
	file := filepath.Join(root(t), budgetFile)
	allowed, err := readBudget(file)
	if err != nil {
		t.Fatal(err)
	}
	fell := false
	for _, key := range slices.Sorted(maps.Keys(counted)) {
		if n, may := counted[key], allowed[key]; n > may && !*lower {
			w, in, _ := strings.Cut(key, " ")
			t.Errorf("%s has the word %q %d times, %d are in the budget: let the plugin's manifest say it", in, w, n, may)
		}
	}
	for key, may := range allowed {
		if counted[key] < may {
			fell = true
			if !*lower {
				t.Errorf("%s: %d are left of %d: go test ./integration/house -run TestCoreNamesNoDriver -lower-budget", key, counted[key], may)
			}
		}
	}
	if fell && *lower {
		for _, w := range slices.Concat(slices.Collect(maps.Keys(words)), slices.Collect(maps.Keys(literals))) {
			if total(counted, w) > total(allowed, w) {
				t.Fatalf("the word %q is there %d times, %d are in the budget: it is not written", w, total(counted, w), total(allowed, w))
			}
		}
		if err := writeBudget(file, counted); err != nil {
			t.Fatal(err)
		}
	}
}

// total is how often a word is counted in all files.
func total(counts map[string]int, word string) (n int) {
	for key, c := range counts {
		if strings.HasPrefix(key, word+" ") {
			n += c
		}
	}
	return n
}

// readBudget reads lines of word, file and count.
func readBudget(file string) (map[string]int, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	budget := map[string]int{}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		var word, in string
		var n int
		if _, err := fmt.Sscanf(lines.Text(), "%s %s %d", &word, &in, &n); err != nil {
			return nil, fmt.Errorf("%s: %q: %w", file, lines.Text(), err)
		}
		budget[word+" "+in] = n
	}
	return budget, lines.Err()
}

func writeBudget(file string, counted map[string]int) error {
	var b strings.Builder
	for _, key := range slices.Sorted(maps.Keys(counted)) {
		fmt.Fprintf(&b, "%s %d\n", key, counted[key])
	}
	return os.WriteFile(file, []byte(b.String()), 0o644)
}

// The core names no plugin. The category of a setting may be one's name, as
// "kvm" of the setting kvm/reservedMemory: that is the wire's, and other drivers
// obey it as well.
func TestCoreNamesNoPlugin(t *testing.T) {
	drivers, err := os.ReadDir(filepath.Join(root(t), "plugins"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, d := range drivers {
		if d.IsDir() {
			names = append(names, regexp.QuoteMeta(d.Name()))
		}
	}
	quoted := regexp.MustCompile(`"(kumo-plugin-)?(` + strings.Join(names, "|") + `)"`)
	sources(t, func(path string, content []byte) {
		if !strings.HasPrefix(path, "core/") || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
			return
		}
		for i, line := range strings.Split(string(content), "\n") {
			setting := strings.Contains(line, "Config.") || strings.Contains(line, "Category:")
			if name := quoted.FindString(line); name != "" && !setting {
				t.Errorf("%s:%d names the plugin %s: the core knows capabilities only", path, i+1, name)
			}
		}
	})
}

func TestDriverWordsAreFound(t *testing.T) {
	for code, want := range map[string]string{
		"var TagVirtioSCSI = 1":               "scsi virtio",
		"const UEFIBoot, bootUEFI = 1, 2":     "uefi uefi",
		"var x = `values=Linux|OvsDpdk`":      "dpdk ovs",
		"var x = \"UEFI_WITH_CSM\" // virtio": "csm uefi",
		"var x = \"qcow2\"":                   "qcow2",
		"var m json.RawMessage = raw":         "",
		"var f = []string{\"raw\", `iso`}":    "iso raw",
		"var bridged, provide = 1, 2":         "",
		"/* kvm */ var kvmHost int":           "kvm",
		"var e1000, VMware int":               "e1000",
		"var nicE1000, GetBridge int":         "bridge e1000",
	} {
		var got []string
		for w, n := range driverWords([]byte("package x\n" + code)) {
			got = append(got, strings.Fields(strings.Repeat(w+" ", n))...)
		}
		slices.Sort(got)
		if s := strings.Join(got, " "); s != want {
			t.Errorf("%s: found %q, want %q", code, s, want)
		}
	}
}
