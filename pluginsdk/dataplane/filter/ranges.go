package filter

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// span is a range of addresses of one family, both ends included.
type span struct{ first, last netip.Addr }

// parseSpan reads an address, a CIDR or, where ranges are allowed, "a-b".
func parseSpan(text string, ranges bool) (span, error) {
	if a, b, is := strings.Cut(text, "-"); is && ranges {
		first, err := netip.ParseAddr(a)
		if err != nil {
			return span{}, err
		}
		last, err := netip.ParseAddr(b)
		if err != nil {
			return span{}, err
		}
		if !plain(first) || !plain(last) || first.Is4() != last.Is4() || last.Less(first) {
			return span{}, errs.New(errs.Invalid, text, "is no range of addresses")
		}
		return span{first, last}, nil
	}
	if !strings.Contains(text, "/") {
		a, err := netip.ParseAddr(text)
		if err != nil {
			return span{}, err
		}
		if !plain(a) {
			return span{}, errs.New(errs.Invalid, text, "is no plain address")
		}
		return span{a, a}, nil
	}
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return span{}, err
	}
	if !plain(p.Addr()) || p != p.Masked() {
		return span{}, errs.New(errs.Invalid, text, "is no network: it has bits of a host")
	}
	return span{p.Addr(), lastOf(p)}, nil
}

// plain is an address that can be in a packet as it is written.
func plain(a netip.Addr) bool { return a.Zone() == "" && !a.Is4In6() }

func lastOf(p netip.Prefix) netip.Addr {
	raw := p.Addr().AsSlice()
	for bit := p.Bits(); bit < len(raw)*8; bit++ {
		raw[bit/8] |= 0x80 >> (bit % 8)
	}
	last, _ := netip.AddrFromSlice(raw)
	return last
}

// spans reads a list that was checked, and returns those of one family, sorted,
// without overlaps: the kernel takes none. Neighbours stay apart, so that one
// address more is one element more.
func spans(texts []string, ranges, v4 bool) []span {
	var all []span
	for _, text := range texts {
		if s, err := parseSpan(text, ranges); err == nil && s.first.Is4() == v4 {
			all = append(all, s)
		}
	}
	slices.SortFunc(all, func(a, b span) int {
		if c := a.first.Compare(b.first); c != 0 {
			return c
		}
		return b.last.Compare(a.last)
	})
	var out []span
	for _, s := range all {
		if n := len(out); n > 0 && !out[n-1].last.Less(s.first) {
			if out[n-1].last.Less(s.last) {
				out[n-1].last = s.last
			}
			continue
		}
		out = append(out, s)
	}
	return out
}

func contains(all []span, a netip.Addr) bool {
	return slices.ContainsFunc(all, func(s span) bool { return !a.Less(s.first) && !s.last.Less(a) })
}

// portSpans are the ranges of ports without overlaps, sorted.
func portSpans(all []portRange) []portRange {
	all = slices.Clone(all)
	slices.SortFunc(all, func(a, b portRange) int { return int(a.first) - int(b.first) })
	var out []portRange
	for _, p := range all {
		if n := len(out); n > 0 && p.first <= out[n-1].last {
			out[n-1].last = max(out[n-1].last, p.last)
			continue
		}
		out = append(out, p)
	}
	return out
}

type portRange struct{ first, last uint16 }
