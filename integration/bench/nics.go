package main

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
)

// nicsGoal is how long one NIC more may take on a host with 5,000, in milliseconds.
const nicsGoal = 50

// nics measures a real agent on a host with the NICs of many guests.
func (b *bench) nics(ctx context.Context) error {
	b.say("measuring 5,000 NICs on a host")
	out, err := goBench(ctx, "BenchmarkNICs", "20x", b.nicsDir)
	if err != nil {
		return err
	}
	rows, err := parseNICs(out)
	for _, x := range rows {
		b.add(x)
	}
	return err
}

func parseNICs(out string) (rows []row, err error) {
	metric := func(unit string) float64 {
		found := regexp.MustCompile(`([0-9.]+) ` + regexp.QuoteMeta(unit)).FindStringSubmatch(out)
		if found == nil {
			err = fmt.Errorf("no %s of BenchmarkNICs in:\n%s", unit, out)
			return 0
		}
		v, parse := strconv.ParseFloat(found[1], 64)
		if parse != nil {
			err = parse
		}
		return v
	}
	more, less, floor := metric("more-ms/op"), metric("less-ms/op"), metric("floor-ms/op")
	sync, first, floorSync := metric("sync-ms/op"), metric("first-sync-ms"), metric("floor-sync-ms/op")
	if err != nil {
		return nil, err
	}
	return []row{
		{Name: "one NIC more on a host with 5,000", Value: more, Unit: " ms", Goal: fmt.Sprintf("< %d ms", nicsGoal), Met: yes(more < nicsGoal),
			Notes: fmt.Sprintf("one less %.1f ms; its files in a bare loop %.1f ms", less, floor)},
		{Name: "sync of 5,000 NICs that are there", Value: sync, Unit: " ms",
			Notes: fmt.Sprintf("%.0f ms when they are new; a bare look for their files %.0f ms", first, floorSync)},
	}, nil
}
