package access

import "github.com/kumo-cloud/kumo/core/resource"

// nobody is a condition that holds for no row.
const nobody = "0 = 1"

// Read returns the SQL condition that holds for those rows of a type's own table
// under alias which an account may read that is not the administrator's, with
// its arguments; "" when it may read all of them. Ownership and sharing are those
// of the type's root.
func Read(reg *resource.Registry, t *resource.Type, alias, account string) (where string, args []any) {
	return byRoot(reg, t, alias, func(root *resource.Type, alias string) (string, []any) {
		switch root.Readable {
		case resource.Global:
			return "", nil
		case resource.Owner:
			return read(reg, root, alias, account)
		}
		return nobody, nil
	})
}

func read(reg *resource.Registry, root *resource.Type, alias, account string) (string, []any) {
	if root.OwnedBy != "" {
		return byOwner(reg, root, alias, func(of *resource.Type, alias string) (string, []any) {
			return Read(reg, of, alias, account)
		})
	}
	if !root.Owned {
		return nobody, nil
	}
	where, args := alias+".`accountUuid` = ?", []any{account}
	if _, ok := reg.Get(SharedType.Name); !ok {
		return where, args
	}
	shared := " IN (SELECT `resourceUuid` FROM `" + SharedType.Name + "` WHERE `receiverAccountUuid` = ? OR `toPublic` = 1)"
	for _, column := range []string{"uuid", root.Follows} {
		if column != "" {
			where += " OR " + alias + ".`" + column + "`" + shared
			args = append(args, account)
		}
	}
	return "(" + where + ")", args
}

// Write returns, as Read does, the condition for the rows that an account may
// change: those that belong to it. What has no owner is the administrator's.
func Write(reg *resource.Registry, t *resource.Type, alias, account string) (where string, args []any) {
	return byRoot(reg, t, alias, func(root *resource.Type, alias string) (string, []any) {
		switch {
		case root.Owned:
			return alias + ".`accountUuid` = ?", []any{account}
		case root.OwnedBy != "":
			return byOwner(reg, root, alias, func(of *resource.Type, alias string) (string, []any) {
				return Write(reg, of, alias, account)
			})
		}
		return nobody, nil
	})
}

// byRoot makes the condition for a row of t out of that for its root's row.
func byRoot(reg *resource.Registry, t *resource.Type, alias string, f func(root *resource.Type, alias string) (string, []any)) (string, []any) {
	root := reg.Root(t)
	if root == t {
		return f(root, alias)
	}
	where, args := f(root, alias+"_r")
	if where == "" || where == nobody {
		return where, args
	}
	return alias + ".`uuid` IN (SELECT " + alias + "_r.`uuid` FROM `" + root.Name + "` " + alias + "_r WHERE " + where + ")", args
}

// byOwner makes the condition for a part out of that for what it is a part of.
func byOwner(reg *resource.Registry, t *resource.Type, alias string, f func(of *resource.Type, alias string) (string, []any)) (string, []any) {
	e, _ := t.Edge(t.OwnedBy)
	of, ok := reg.Get(e.To)
	if !ok { // Registry.Check tells of it
		return nobody, nil
	}
	where, args := f(of, alias+"_o")
	if where == "" || where == nobody {
		return where, args
	}
	return alias + ".`" + e.Column + "` IN (SELECT " + alias + "_o.`" + e.ToColumn + "` FROM `" + of.Name + "` " + alias + "_o WHERE " + where + ")", args
}
