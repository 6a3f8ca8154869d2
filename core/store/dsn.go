package store

import (
	"fmt"
	"net/url"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	schemasql "github.com/kumo-cloud/kumo/sql"
)

// dsn is a parsed data source name.
type dsn struct {
	dialect     schemasql.Dialect
	path        string // SQLite
	synchronous string
	url         *url.URL // MySQL
	connections int
	tls         string
}

// name identifies the database without its password.
func (d dsn) name() string {
	if d.dialect == schemasql.SQLite {
		return d.path
	}
	return d.url.Redacted()
}

const dsnAdvice = "use sqlite:PATH or mysql://user:password@host:port/database"

func parseDSN(s string) (dsn, error) {
	bad := func(format string, args ...any) (dsn, error) {
		return dsn{}, errs.New(errs.Invalid, "database DSN", format, args...).WithAdvice(dsnAdvice)
	}
	if rest, ok := strings.CutPrefix(s, "sqlite:"); ok {
		path, query, _ := strings.Cut(rest, "?")
		path = strings.TrimPrefix(path, "//")
		if path == "" || strings.HasPrefix(path, ":") {
			return bad("sqlite: needs the path of a file")
		}
		abs, err := filepath.Abs(path)
		if err != nil {
			return bad("path %s: %v", path, err)
		}
		return sqliteOptions(dsn{dialect: schemasql.SQLite, path: abs}, query, bad)
	}
	u, err := url.Parse(s)
	if err != nil {
		return bad("it cannot be parsed") // the parser's error would show the password
	}
	if u.Scheme != "mysql" && u.Scheme != "mariadb" {
		return bad("scheme %q is unknown", u.Scheme)
	}
	if u.User == nil || strings.Trim(u.Path, "/") == "" || u.Host == "" && u.Query().Get("socket") == "" {
		return bad("user, host or database is missing in %s", u.Redacted())
	}
	d := dsn{dialect: schemasql.MySQL, url: u, connections: 32}
	for key, values := range u.Query() {
		switch key {
		case "connections":
			if d.connections, err = boundedInt(values[0], 2, 1000); err != nil {
				return bad("connections: %v", err)
			}
		case "tls":
			d.tls = values[0]
		case "socket":
		default:
			return bad("option %q is unknown; there are connections, tls and socket", key)
		}
	}
	return d, nil
}

func sqliteOptions(d dsn, query string, bad func(string, ...any) (dsn, error)) (dsn, error) {
	d.synchronous, d.connections = "FULL", max(4, runtime.GOMAXPROCS(0))
	options, err := url.ParseQuery(query)
	if err != nil {
		return bad("options %q: %v", query, err)
	}
	for key, values := range options {
		switch key {
		case "synchronous":
			d.synchronous = strings.ToUpper(values[0])
			if d.synchronous != "FULL" && d.synchronous != "NORMAL" {
				return bad("synchronous is FULL or NORMAL, not %q", values[0])
			}
		case "readers":
			if d.connections, err = boundedInt(values[0], 1, 64); err != nil {
				return bad("readers: %v", err)
			}
		default:
			return bad("option %q is unknown; there are synchronous and readers", key)
		}
	}
	return d, nil
}

func boundedInt(s string, low, high int) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < low || n > high {
		return 0, fmt.Errorf("%q is not a number in %d..%d", s, low, high)
	}
	return n, nil
}
