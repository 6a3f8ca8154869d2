package tag

import (
	"context"
	"fmt"
	"strings"

	"github.com/kumo-cloud/kumo/core/store"
)

// longestShown is how many characters of a tag Look tells: user data is one.
const longestShown = 255

// Look calls found for each system tag that breaks a rule of its pattern, which it
// was given before there was that rule: with what clients see of the tag, or the
// beginning of that, and why. Of several of a single pattern the newest counts, and
// the others are found. An error of found ends it. Tags of patterns that are
// not known now, as those of plugins that are not enabled, and the system's own are
// not looked at.
func (s *Service) Look(ctx context.Context, q store.Querier, found func(uuid, tag, why string) error) error {
	const newestFirst = "SELECT `uuid`, `resourceType`, `tag`, `sealed`, `resourceUuid` FROM `SystemTag` WHERE `inherent` = ? ORDER BY `resourceUuid`, `createDate` DESC, `uuid` DESC"
	var resource string
	seen := map[string]bool{} // of the resource: single patterns, and what they are of
	return q.Each(ctx, newestFirst, []any{false}, func(r *store.Row) error {
		uuid, typeName, shown := r.Text(0), strings.TrimSuffix(r.Text(1), "VO"), clip(r.Text(2), longestShown)
		if r.Text(4) != resource {
			resource = r.Text(4)
			clear(seen)
		}
		text, err := whole(q, r, 2)
		if err != nil {
			return nil // a secret that cannot be opened, as any type's
		}
		why := s.broken(typeName, text)
		if p, tokens := s.find(typeName, text); p != nil && p.Single {
			one := p.Pattern + separator + p.of(tokens)
			if seen[one] && why == "" {
				why = "its resource has a newer one of this pattern, which counts"
			}
			seen[one] = true
		}
		if why != "" {
			return found(uuid, shown, why)
		}
		return nil
	})
}

// broken says how a tag breaks a rule, "" when it does not.
func (s *Service) broken(typeName, text string) string {
	p, tokens := s.find(typeName, text)
	if p == nil || p.Inherent || len(p.Holds) == 0 && p.Validate == nil {
		return ""
	}
	spelled, err := p.spell(text, tokens)
	if err == nil && p.Validate != nil {
		err = p.Validate(tokens)
	}
	switch {
	case err != nil:
		return err.Error()
	case spelled != text && p.Secret != "":
		return "it is spelled in another way today"
	case spelled != text:
		return fmt.Sprintf("%.80q is spelled %q today", text, spelled)
	}
	return ""
}
