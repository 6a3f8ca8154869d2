package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// fakeMachine notes what is asked of it.
type fakeMachine struct{ asked []string }

func (m *fakeMachine) Flags(flags *pflag.FlagSet) {
	flags.String("data-dir", "", "folder of the database, the plugins' data and secrets (default: ~/.kumo, for root /var/lib/kumo/server)")
}

func (m *fakeMachine) ResetPassword(_ context.Context, account, password string) (string, int, error) {
	m.asked = append(m.asked, fmt.Sprintf("reset %q %q", account, password))
	return "admin", 2, nil
}

func (m *fakeMachine) Sessions(_ context.Context, account string) ([]json.RawMessage, error) {
	m.asked = append(m.asked, fmt.Sprintf("list %q", account))
	return []json.RawMessage{json.RawMessage(`{"session":"0011","account":"ann","createDate":"c","lastUseDate":"u","expiredDate":"e"}`)}, nil
}

func (m *fakeMachine) Misfits(context.Context) ([]json.RawMessage, error) {
	m.asked = append(m.asked, "misfits")
	return []json.RawMessage{json.RawMessage(`{"type":"VmNic","uuid":"u1","field":"mac","value":"x","why":"it is none"}`)}, nil
}

func (m *fakeMachine) EndSessions(_ context.Context, account string) (int, error) {
	m.asked = append(m.asked, fmt.Sprintf("end %q", account))
	return 3, nil
}

func TestAdmin(t *testing.T) {
	for _, c := range []struct{ line, in, asked, says string }{
		{"admin reset-password", "new\n", `reset "" "new"`, "account admin has a new password; sessions ended: 2"},
		{"admin reset-password --account ann", " two words\r\n", `reset "ann" " two words"`, ""},
		{"admin reset-password", "\n", "", "new password: it must not be empty; nothing was changed"},
		{"admin reset-password secret", "", "", "unknown"},
		{"admin sessions", "", `list ""`, "SESSION   ACCOUNT   CREATED   LAST USE   ENDS\n0011      ann       c         u          e"},
		{"doctor", "", "misfits", "TYPE    UUID   FIELD   WHY\nVmNic   u1     mac     it is none"},
		{"admin sessions --end --account ann", "", `end "ann"`, "sessions ended: 3"},
	} {
		s, m := newSession(t, "http://127.0.0.1:1"), &fakeMachine{}
		s.app.Machine, s.app.In = m, strings.NewReader(c.in)
		_, text := s.run(strings.Fields(c.line)...)
		if got := strings.Join(m.asked, ", "); got != c.asked {
			t.Errorf("kumo %s asked %s, want %s", c.line, got, c.asked)
		}
		if all := s.out.String() + s.err.String() + text; !strings.Contains(all, c.says) {
			t.Errorf("kumo %s says %q, want %q", c.line, all, c.says)
		}
	}
}

// Two passwords that differ are a slip of the hand.
func TestAdminAsksTwice(t *testing.T) {
	for _, c := range []struct{ second, asked string }{{"new", `reset "" "new"`}, {"mew", ""}} {
		s, m := newSession(t, "http://127.0.0.1:1"), &fakeMachine{}
		typed := []string{"new", c.second}
		s.app.Machine, s.app.Terminal = m, true
		s.app.ReadPassword = func() (string, error) {
			next := typed[0]
			typed = typed[1:]
			return next, nil
		}
		code, text := s.run("admin", "reset-password")
		if got := strings.Join(m.asked, ", "); got != c.asked || (code == 0) != (c.asked != "") {
			t.Errorf("after %q: exit code %d, asked %q, %s", c.second, code, got, text)
		}
	}
}
