package store

import (
	"context"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/kumo-cloud/kumo/core/resource"
	schemasql "github.com/kumo-cloud/kumo/sql"
)

// byCode has, by their names, the migrations that change old rows in a way that SQL
// cannot. Each runs once, after its file's statements and in their transaction, and
// may run again when that was interrupted.
var byCode = map[string]func(*Store, context.Context, *Tx) error{"composed": (*Store).compose}

// compose makes of names, descriptions and tags that were stored decomposed, as
// some systems write "é", what they are stored as today. One that would then be
// another's, or too long, stays; the doctor tells of it.
func (s *Store) compose(ctx context.Context, tx *Tx) error {
	have, err := introspect(ctx, tx)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(have)) {
		t := have[name]
		if t.columns["uuid"] == "" {
			continue
		}
		for _, column := range slices.Sorted(maps.Keys(t.columns)) {
			if !resource.IsProse(column) {
				continue
			}
			if err := s.composeColumn(ctx, tx, name, column, t.unique(column)); err != nil {
				return err
			}
		}
	}
	return nil
}

// unique tells whether an index lets a value be in a column once only.
func (t *table) unique(column string) bool {
	for _, index := range t.indexes {
		text := strings.ToLower(index)
		if (strings.HasPrefix(text, "create unique") || strings.HasPrefix(text, "unique=true")) && strings.Contains(index, column) {
			return true
		}
	}
	return false
}

func (s *Store) composeColumn(ctx context.Context, tx *Tx, table, column string, unique bool) error {
	found := map[string]string{} // by uuid
	err := tx.Each(ctx, "SELECT `uuid`, `"+column+"` FROM `"+table+"` WHERE "+s.dialect.BeyondASCII("`"+column+"`"), nil, func(r *Row) error {
		if text := r.Text(1); schemasql.Compose(text) != text {
			found[r.Text(0)] = text
		}
		return nil
	})
	for _, uuid := range slices.Sorted(maps.Keys(found)) {
		text := schemasql.Compose(found[uuid])
		stays := utf8.RuneCountInString(text) > utf8.RuneCountInString(found[uuid])
		if err == nil && unique && !stays {
			var others []string
			others, err = Texts(ctx, tx, "SELECT `uuid` FROM `"+table+"` WHERE `"+column+"` = ?", text)
			stays = len(others) > 0
		}
		if err != nil {
			return err
		}
		if stays {
			s.log.Warn("a text is not composed, as it would be another's or too long", "type", table, "uuid", uuid, "field", column)
			continue
		}
		_, err = tx.exec(ctx, "UPDATE `"+table+"` SET `"+column+"` = ? WHERE `uuid` = ?", []value{text, uuid})
	}
	return err
}
