package resource

import (
	"database/sql/driver"
	"fmt"
	"strconv"
	"time"
)

// Base is what every resource has; rows embed it. Lists are asked for by name
// and newest first, so both have an index.
type Base struct {
	UUID        string `db:"uuid" kumo:"size=32,immutable"`
	Name        string `db:"name" kumo:"size=255,index"`
	Description string `db:"description" kumo:"size=2048,null"`
	CreateDate  Time   `db:"createDate" kumo:"immutable,index"`
	LastOpDate  Time   `db:"lastOpDate"`
}

// Identified is a row with Base, to whoever makes rows of any type.
type Identified interface {
	Identify(uuid, name, description string)
}

// Identify implements Identified.
func (b *Base) Identify(uuid, name, description string) {
	b.UUID, b.Name, b.Description = uuid, name, description
}

// Ident is embedded by rows that have an identity but no name on the wire,
// such as a NIC.
type Ident struct {
	UUID       string `db:"uuid" kumo:"size=32,immutable"`
	CreateDate Time   `db:"createDate" kumo:"immutable"`
	LastOpDate Time   `db:"lastOpDate"`
}

// Ref is embedded by rows that only connect two others; their identity is the
// store's own and never on the wire.
type Ref struct {
	UUID       string `db:"uuid" kumo:"size=32,immutable,hidden"`
	CreateDate Time   `db:"createDate" kumo:"immutable"`
	LastOpDate Time   `db:"lastOpDate"`
}

// Owned is embedded by the rows of types that belong to an account.
type Owned struct {
	AccountUUID string `db:"accountUuid" kumo:"size=32,hidden,index"`
}

// OfAccount is a row with Owned.
type OfAccount interface{ SetAccount(uuid string) }

// SetAccount implements OfAccount.
func (o *Owned) SetAccount(uuid string) { o.AccountUUID = uuid }

// Time is an instant in UTC, stored as Unix milliseconds; its zero is NULL.
type Time struct{ time.Time }

// Now returns the current time, cut to what the database keeps.
func Now() Time { return Time{time.Now().UTC().Truncate(time.Millisecond)} }

// UnixMilli returns the instant ms milliseconds after 1970.
func UnixMilli(ms int64) Time { return Time{time.UnixMilli(ms).UTC()} }

// Scan implements sql.Scanner.
func (t *Time) Scan(v any) error {
	switch v := v.(type) {
	case nil:
		*t = Time{}
	case int64:
		*t = UnixMilli(v)
	case []byte:
		return t.Scan(string(v))
	case string:
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil {
			return fmt.Errorf("time %q is not a number of milliseconds: %w", v, err)
		}
		*t = UnixMilli(n)
	default:
		return fmt.Errorf("time is %T, not a number of milliseconds", v)
	}
	return nil
}

// Value implements driver.Valuer.
func (t Time) Value() (driver.Value, error) {
	if t.IsZero() {
		return nil, nil
	}
	return t.UnixMilli(), nil
}
