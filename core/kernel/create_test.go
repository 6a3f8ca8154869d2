package kernel_test

import (
	"context"
	"testing"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/kernel"
	"github.com/kumo-cloud/kumo/core/kernel/kerneltest"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// A shelf holds boxes, which belong to accounts; a box may name its carrier.
type shelf struct{ resource.Base }

type box struct {
	resource.Base
	resource.Owned
	Shelf   string `db:"shelfUuid" kumo:"size=32"`
	Carrier string `db:"carrierUuid" kumo:"size=32,null"`
	Size    int64  `db:"size"`
}

var (
	shelfType = resource.Define[shelf](resource.Type{Name: "Shelf", Path: "/shelves", Readable: resource.Global})
	boxType   = resource.Define[box](resource.Type{Name: "Box", Path: "/boxes", Edges: []resource.Edge{
		{Name: "shelf", To: "Shelf", Column: "shelfUuid", OnDelete: resource.Cascade},
		{Name: "carrier", To: "Account", Column: "carrierUuid", OnDelete: resource.Detach},
	}})
)

type newShelf struct{ kernel.Named }

type newBox struct {
	kernel.Named
	Shelf   string `api:"shelfUuid,required,resource=Shelf,use"`
	Carrier string `api:"carrierUuid,anytype"`
	Size    int64  `api:"size"`
}

func boxes(t *testing.T) *kerneltest.Cloud {
	c := kerneltest.New(t, kerneltest.Options{Types: []*resource.Type{shelfType.Type, boxType.Type}})
	c.Register(func() error {
		kernel.RegisterCreate(c.Kernel, kernel.Creation[shelf, newShelf]{Type: shelfType, Access: action.Admin, Doc: "Makes a shelf.",
			Row: func(*action.Call, *newShelf) (*shelf, error) { return &shelf{}, nil }})
		kernel.RegisterCreate(c.Kernel, kernel.Creation[box, newBox]{Type: boxType, Access: action.Normal, Doc: "Makes a box.",
			Row: func(_ *action.Call, p *newBox) (*box, error) {
				if p.Size < 0 {
					return nil, errs.New(errs.Invalid, "size", "is below 0")
				}
				return &box{Shelf: p.Shelf, Carrier: p.Carrier, Size: p.Size}, nil
			},
			Insert: func(_ context.Context, _ *store.Tx, row *box) error {
				if row.Size == 13 {
					return errs.New(errs.Refused, "Box "+row.Name, "13 is taken")
				}
				row.Size *= 2
				return nil
			}})
		return c.RegisterDelete(shelfType.Type, action.Admin)
	})
	return c
}

func TestRegisterCreate(t *testing.T) {
	c := boxes(t)
	on := c.Create("APICreateShelfMsg", kerneltest.P{"name": "s", "description": "wood"})
	if row := c.Get("Shelf", on); row.Text("name") != "s" || row.Text("description") != "wood" {
		t.Errorf("shelf is %v", row)
	}
	alice := c.Account()
	uuid := resource.NewUUID()
	// A resource that is gone and would only be forgotten keeps nothing from being made.
	row := c.As(alice).Do("APICreateBoxMsg", kerneltest.P{"name": "b", "shelfUuid": on, "size": 4, "resourceUuid": uuid,
		"carrierUuid": resource.NewUUID(), "userTags": []string{"t"}})
	if row.Text("uuid") != uuid || row.Int("size") != 8 {
		t.Errorf("box is %v", row)
	}
	if b, err := store.Get(c.Context(), c.Store, boxType, uuid); err != nil || b.AccountUUID != alice {
		t.Errorf("the box is not its maker's: %v, %v", b, err)
	}
	if got := c.List("UserTag", "resourceUuid="+uuid); len(got) != 1 || got[0].Text("tag") != "t" {
		t.Errorf("tags are %v", got)
	}
	c.Refused(errs.Invalid, "APICreateBoxMsg", kerneltest.P{"name": "b", "shelfUuid": on, "size": -1}, "size", "below 0")
	c.Refused(errs.Refused, "APICreateBoxMsg", kerneltest.P{"name": "thirteen", "shelfUuid": on, "size": 13}, "Box thirteen")
	c.Refused(errs.Exists, "APICreateBoxMsg", kerneltest.P{"name": "b", "shelfUuid": on, "resourceUuid": uuid})
	if got := c.List("Box"); len(got) != 1 {
		t.Errorf("refused boxes are there: %v", got)
	}
}

// What depends on a resource that is going, or has gone since it was looked up,
// is not made.
func TestCreateOnWhatGoes(t *testing.T) {
	c := boxes(t)
	on := c.Create("APICreateShelfMsg", kerneltest.P{"name": "s"})
	add := func(shelf string) error {
		return c.Store.Update(c.Context(), func(tx *store.Tx) error {
			row := &box{Shelf: shelf}
			row.Identify(resource.NewUUID(), "b", "")
			return kernel.Add(c.Context(), tx, c.Kernel, &action.Call{}, boxType, row, func() error { return nil })
		})
	}
	if err := add(on); err != nil {
		t.Fatal(err)
	}
	c.Do("APIDeleteShelfMsg", kerneltest.P{"uuid": on})
	if got := c.List("Box"); len(got) != 0 {
		t.Errorf("boxes of a shelf that is gone: %v", got)
	}
	if err := add(on); errs.ClassOf(err) != errs.NotFound {
		t.Errorf("on a shelf that is gone: %v", err)
	}
}
