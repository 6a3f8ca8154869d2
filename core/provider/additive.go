package provider

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// additive refuses (errs.Invalid) a declaration that does more than add to the one
// before: the rows that there are would not fit it. It names all that is not so.
func (d *declaration) additive(before *pluginv1.ResourceTypeDecl) error {
	var wrong []string
	fail := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	if d.GetOwned() != before.GetOwned() {
		fail("whether its rows are owned has changed")
	}
	for _, was := range before.GetFields() {
		i := slices.IndexFunc(d.GetFields(), func(f *pluginv1.Field) bool { return f.GetName() == was.GetName() })
		if i < 0 {
			fail("field %s is gone", was.GetName())
			continue
		}
		for _, why := range changes(was, d.GetFields()[i]) {
			fail("field %s %s", was.GetName(), why)
		}
	}
	for _, ix := range d.GetIndexes() {
		known := func(was *pluginv1.IndexDecl) bool {
			return slices.Equal(was.GetColumns(), ix.GetColumns()) && was.GetUnique()
		}
		if ix.GetUnique() && !slices.ContainsFunc(before.GetIndexes(), known) && !d.hasNew(before, ix.GetColumns()) {
			fail("there may be rows with the same %s", strings.Join(ix.GetColumns(), " and "))
		}
	}
	if len(wrong) == 0 {
		return nil
	}
	return d.wrong("it does not fit the rows that there are: %s", strings.Join(wrong, "; ")).
		WithAdvice("a new version may only add: leave the old fields as they are and give new ones other names, or enable the version before")
}

// changes tells what of a field has changed that its column does not take.
func changes(was, is *pluginv1.Field) (why []string) {
	kindWas, kindIs := cmp.Or(was.GetKind(), "string"), cmp.Or(is.GetKind(), "string")
	if wider := kindWas == "string" && kindIs == "text"; kindWas != kindIs && !wider {
		why = append(why, "was of kind "+kindWas+" and is of kind "+kindIs)
	}
	if kindIs == "string" && length(is) < length(was) {
		why = append(why, fmt.Sprintf("had up to %d characters and has up to %d", length(was), length(is)))
	}
	for word, changed := range map[string]bool{
		"required": was.GetRequired() != is.GetRequired(),
		"secret":   was.GetSecret() != is.GetSecret(),
		"unique":   was.GetUnique() != is.GetUnique(),
	} {
		if changed {
			why = append(why, "has changed whether it is "+word)
		}
	}
	for _, v := range was.GetValues() {
		if len(is.GetValues()) > 0 && !slices.Contains(is.GetValues(), v) {
			why = append(why, fmt.Sprintf("has the value %q no more", v))
		}
	}
	if len(was.GetValues()) == 0 && len(is.GetValues()) > 0 {
		why = append(why, "had any values and has some only")
	}
	slices.Sort(why)
	return why
}

func length(f *pluginv1.Field) int32 { return cmp.Or(f.GetMaxLength(), 255) }

// hasNew tells whether one of some fields is new, and empty in all rows that there
// are, so that none are alike.
func (d *declaration) hasNew(before *pluginv1.ResourceTypeDecl, columns []string) bool {
	return slices.ContainsFunc(columns, func(c string) bool {
		was := func(f *pluginv1.Field) bool { return f.GetName() == c }
		return slices.ContainsFunc(d.GetFields(), func(f *pluginv1.Field) bool { return f.GetName() == c && !f.GetRequired() }) && !slices.ContainsFunc(before.GetFields(), was)
	})
}
