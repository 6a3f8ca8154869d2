package compute_test

import (
	"testing"

	"github.com/kumo-cloud/kumo/core/kernel/kerneltest"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// toldName is the host name that a host was told last.
func (c *cloud) toldName() string {
	r := kerneltest.LastTold(c.Calls, kerneltest.Applies)
	return r.NICs[0].GetHostname()
}

func (c *cloud) again(uuid string) string {
	c.do("Stop", uuid)
	c.do("Start", uuid)
	return c.toldName()
}

func named(tag string, more P) P {
	p := P{"systemTags": []string{"hostname::" + tag}}
	for k, v := range more {
		p[k] = v
	}
	return p
}

// A host name that is wished is refused when another guest of the network has it,
// in whatever letters and wherever it is wished; the name of a guest that was asked
// for nothing then is one made of its address.
func TestHostNamesDiffer(t *testing.T) {
	c := newCloud(t)
	c.services()
	first := c.run(named("web", P{"name": "first"}))
	c.Want("the first one's name", c.toldName(), "web")
	before := c.Dump(taken...)
	for _, name := range []string{"web", "WEB", "Web"} {
		c.Refused(errs.Exists, create, c.s.Guest(named(name, nil)), "host name "+name, first)
	}
	c.Refused(errs.Invalid, create, c.s.Guest(named("10-0-0-5", nil)), "made of their addresses")
	c.Want("rows after refusals", c.Dump(taken...), before)

	byName := c.run(P{"name": "WEB", "systemTags": []string{"staticIp::" + c.s.L3 + "::10.0.0.55"}})
	c.Want("the name of a guest called like the first one", c.toldName(), "10-0-0-55")
	c.Want("it at the next start", c.again(byName), "10-0-0-55")
	db := c.run(P{"name": "db"})
	c.Want("the name of a guest with a name of its own", c.toldName(), "db")
	c.Refused(errs.Exists, create, c.s.Guest(named("DB", nil)), "host name DB", db)

	tag := func(uuid, name string) P {
		return P{"resourceType": "VmInstanceVO", "resourceUuid": uuid, "tag": "hostname::" + name}
	}
	c.Refused(errs.Exists, "APICreateSystemTagMsg", tag(byName, "dB"), "host name dB", db)
	c.Refused(errs.Exists, "APICreateSystemTagsMsg", P{"resourceType": "VmInstanceVO", "resourceUuid": byName, "tags": []string{"hostname::db"}}, "host name db")
	row := c.Do("APICreateSystemTagMsg", tag(byName, "mail"))
	c.Refused(errs.Exists, "APIUpdateSystemTagMsg", P{"uuid": row.Text("uuid"), "tag": "hostname::web"}, "host name web", first)
	c.Refused(errs.Exists, create, c.s.Guest(named("MAIL", nil)), byName)
	c.Do("APIUpdateSystemTagMsg", P{"uuid": row.Text("uuid"), "tag": "hostname::smtp"})
	c.Want("its name by its tag", c.again(byName), "smtp")
	c.run(named("mail", nil)) // which nobody has any more
	c.Do("APIDeleteTagMsg", P{"uuid": row.Text("uuid")})
	c.Want("its name without a tag", c.again(byName), "10-0-0-55")
	c.end(first)
	c.Want("its name when it is free", c.again(byName), "WEB")

	c.Do("APIUpdateVmInstanceMsg", P{"uuid": byName, "name": "DB"})
	c.Want("its name when it is called like another", c.again(byName), "10-0-0-55")
	c.Do("APIUpdateVmInstanceMsg", P{"uuid": byName, "name": "cache"})
	c.Refused(errs.Exists, create, c.s.Guest(named("cache", nil)), byName)
	c.Want("its name after that", c.again(byName), "cache")

	other := c.Create("APICreateL3NetworkMsg", P{"name": "other", "l2NetworkUuid": c.s.L2, "category": "Private"})
	c.Create("APIAddIpRangeMsg", P{"l3NetworkUuid": other, "name": "r", "startIp": "10.9.0.2", "endIp": "10.9.0.99", "netmask": "255.255.255.0", "gateway": "10.9.0.1"})
	c.run(named("cache", P{"l3NetworkUuids": []string{other}})) // names in other networks do not count
	c.end(db)
	c.run(named("db", nil))
}

// A host name with the network's domain is the name in that domain; with another one
// it is refused, also when it is given later.
func TestFullHostNames(t *testing.T) {
	c := newCloud(t)
	c.services()
	full := named("web.corp.example", nil)
	c.Refused(errs.Invalid, create, c.s.Guest(full), "host name web.corp.example", "has no DNS domain")
	c.Do("APIUpdateL3NetworkMsg", P{"uuid": c.s.L3, "dnsDomain": "Corp.example"})
	before := c.Dump(taken...)
	for _, name := range []string{"web.example", "web.eu.corp.example", "web.corp.example.org"} {
		c.Refused(errs.Invalid, create, c.s.Guest(named(name, nil)), "host name "+name, "is Corp.example", "leave the domain out")
	}
	c.Refused(errs.Invalid, create, c.s.Guest(named("10-0-0-5.corp.example", nil)), "made of their addresses")
	c.Want("rows after refusals", c.Dump(taken...), before)
	first := c.run(full)
	c.Want("the name", c.toldName(), "web")
	c.Want("the name at the next start", c.again(first), "web")
	c.Refused(errs.Exists, create, c.s.Guest(named("WEB", nil)), first)
	c.Refused(errs.Exists, create, c.s.Guest(named("Web.CORP.example", nil)), first)
	tag := c.List("SystemTag", "resourceUuid="+first, "tag~=hostname::%")[0].Text("uuid")
	c.Refused(errs.Invalid, "APIUpdateSystemTagMsg", P{"uuid": tag, "tag": "hostname::db.example"}, "is Corp.example")
	c.Do("APIUpdateSystemTagMsg", P{"uuid": tag, "tag": "hostname::db.corp.example"})
	c.Want("the new name", c.again(first), "db")
	c.Do("APIUpdateL3NetworkMsg", P{"uuid": c.s.L3, "dnsDomain": "other.example"})
	c.Want("the name in another domain", c.again(first), "db")
}

// A guest that is destroyed gives its name up, and has it again when it is recovered
// unless another one has it by then.
func TestHostNamesOfDestroyedGuests(t *testing.T) {
	c := newCloud(t)
	c.services()
	first := c.run(named("web", nil))
	c.do("Destroy", first)
	c.do("Recover", first)
	c.Refused(errs.Exists, create, c.s.Guest(named("web", nil)), first)
	c.do("Destroy", first)
	second := c.run(named("web", nil))
	c.Refused(errs.Exists, "APIRecoverVmInstanceMsg", P{"uuid": first}, "host name web", second, "hostname::")
	c.Want("its state", c.state(first), "Destroyed")
	tag := c.List("SystemTag", "resourceUuid="+first, "tag~=hostname::%")[0].Text("uuid")
	c.Do("APIUpdateSystemTagMsg", P{"uuid": tag, "tag": "hostname::old"})
	c.do("Recover", first)
	c.do("Start", first)
	c.Want("its name", c.toldName(), "old")
}

// Guests of before there were claims go on with their names, two of one name as well,
// until one of them starts, which then has it for itself.
func TestHostNamesOfOldGuests(t *testing.T) {
	c := newCloud(t)
	c.services()
	one, two := c.run(P{"name": "old", "systemTags": []string{"staticIp::" + c.s.L3 + "::10.0.0.54"}}), c.run(P{"name": "Old", "systemTags": []string{"staticIp::" + c.s.L3 + "::10.0.0.55"}})
	c.Ok(c.Tx(func(tx *store.Tx) error {
		_, err := tx.Exec(c.Context(), "UPDATE `VmInstance` SET `nameClaim` = NULL")
		return err
	}))
	c.Do("APIRebootVmInstanceMsg", P{"uuid": two})
	c.Want("its name when it does not start", c.toldName(), "Old")
	c.Want("the first one's name when it starts", c.again(one), "old")
	c.Want("the second one's name when it starts", c.again(two), "10-0-0-55")
}
