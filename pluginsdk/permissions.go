package pluginsdk

import (
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// A permission is a verb, or a verb and what it is about with a colon between:
// "setting" allows to read every setting, "setting:vm" those of a category,
// "setting:vm/cleanTraffic" one; "host-call" allows every method of the agents of
// hosts, "host-call:/kumo.host.v1.HostAgentService/CreateDisk" one;
// "query:VmInstance" to read rows of a type, "act:APIStopVmInstanceMsg" to make a
// call of the API; "address:VIP" to take addresses of L3 networks for that;
// "sign:kvm-hosts" to have that authority of the cloud sign certificates, and
// "emit:VmInstance" to tell of what happens about such resources.
const (
	PermissionHostCall = "host-call"
	PermissionSetting  = "setting"
	PermissionQuery    = "query"
	PermissionAct      = "act"
	PermissionAddress  = "address"
	PermissionSign     = "sign"
	PermissionEmit     = "emit"
)

// permissions has what the part after the colon looks like, by verb.
var permissions = map[string]*regexp.Regexp{
	PermissionHostCall: regexp.MustCompile(`^/[A-Za-z0-9_.]+/[A-Za-z0-9_]+$`),
	PermissionSetting:  regexp.MustCompile(`^[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)?$`),
	PermissionQuery:    regexp.MustCompile(`^[A-Za-z0-9]+$`),
	PermissionAct:      regexp.MustCompile(`^[A-Za-z0-9]+$`),
	PermissionAddress:  regexp.MustCompile(`^[A-Za-z0-9 -]{1,40}$`),
	PermissionSign:     regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,31}$`),
	PermissionEmit:     regexp.MustCompile(`^[A-Za-z0-9]+$`),
}

// CheckPermission says, as errs.Invalid, what is wrong with a permission.
func CheckPermission(permission string) error {
	verb, about, narrow := strings.Cut(permission, ":")
	shape, known := permissions[verb]
	switch {
	case !known:
		return errs.New(errs.Invalid, "permission "+permission, "it does not exist").
			WithAdvice("there are %s, alone or with a colon and what it is about", strings.Join(slices.Sorted(maps.Keys(permissions)), ", "))
	case narrow && !shape.MatchString(about):
		return errs.New(errs.Invalid, "permission "+permission, "%q is nothing that %s is about", about, verb)
	}
	return nil
}

// Allows tells whether one of the permissions covers another.
func Allows(have []string, wanted string) bool {
	return slices.ContainsFunc(have, func(h string) bool {
		return h == wanted || strings.HasPrefix(wanted, h+":") ||
			strings.HasPrefix(h, PermissionSetting+":") && strings.HasPrefix(wanted, h+"/")
	})
}

// Lacks lists those of the permissions asked for that no granted one covers.
func Lacks(asked, granted []string) []string {
	var missing []string
	for _, a := range asked {
		if !Allows(granted, a) {
			missing = append(missing, a)
		}
	}
	return missing
}
