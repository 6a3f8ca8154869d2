package cli

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kumo-cloud/kumo/web/cli/client"
	"github.com/kumo-cloud/kumo/web/cli/schema"
)

const (
	// freshTime is how long the cached schema is used without asking the server
	// whether it is current. An unknown word asks at once.
	freshTime = time.Minute
	// helpTime is that of help and completion, which work offline.
	helpTime = 30 * 24 * time.Hour
	// askTime bounds the question whether a cached schema is current, and
	// fetchTime the reading of one without which nothing works.
	askTime, fetchTime = 2 * time.Second, 30 * time.Second
)

// commandLine is what must be known of the arguments before the commands are made.
type commandLine struct {
	// words are the arguments that are no flags, beginning with the noun.
	words []string
	// offline: help and completion.
	offline, completes, version bool
}

// read looks through the arguments for the server and the words. It need not
// understand them: a value of a flag among the words does no harm.
func (a *App) read(args []string) commandLine {
	var line commandLine
	a.server = a.defaultServer()
	for i := 0; i < len(args); i++ {
		name, value, has := strings.Cut(args[i], "=")
		switch {
		case args[i] == "--":
			line.words = append(line.words, args[i+1:]...)
			i = len(args)
		case name == "--server" || args[i] == "--output" || args[i] == "-o":
			if !has && i+1 < len(args) {
				i++
				value = args[i]
			}
			if name == "--server" {
				a.server = value
			}
		case args[i] == "--help" || args[i] == "-h":
			line.offline = true
		case args[i] == "--version" || args[i] == "-v":
			line.version = true
		case !strings.HasPrefix(args[i], "-"):
			line.words = append(line.words, args[i])
		}
	}
	if len(line.words) > 0 && slices.Contains([]string{"help", cobra.ShellCompRequestCmd, cobra.ShellCompNoDescRequestCmd}, line.words[0]) {
		line.completes = line.words[0] != "help"
		line.words, line.offline = line.words[1:], true
	}
	return line
}

// age is how old a cached schema may be.
func (l commandLine) age() time.Duration {
	if l.offline || len(l.words) == 0 {
		return helpTime
	}
	return freshTime
}

// needsSchema tells whether the line is none of the commands that root has.
func (l commandLine) needsSchema(root *cobra.Command) bool {
	if len(l.words) == 0 {
		return !l.version
	}
	if l.words[0] == "completion" {
		return false
	}
	c, _, err := root.Find(l.words[:1])
	if err != nil || c == root || c.Name() == "query" {
		return true
	}
	if !c.HasSubCommands() {
		return false
	}
	sub, _, err := c.Find(l.words[1:min(len(l.words), 2)])
	return err != nil || sub == c
}

// cache is where schemas are kept; nowhere when no folder is known.
func (a *App) cache() client.SchemaCache {
	switch {
	case a.Env("KUMO_CACHE_DIR") != "":
		return client.SchemaCache{Dir: a.Env("KUMO_CACHE_DIR")}
	case a.Env("XDG_CACHE_HOME") != "":
		return client.SchemaCache{Dir: filepath.Join(a.Env("XDG_CACHE_HOME"), "kumo")}
	case a.Env("HOME") != "":
		return client.SchemaCache{Dir: filepath.Join(a.Env("HOME"), ".cache", "kumo")}
	}
	return client.SchemaCache{}
}

// schemaOf returns what the server says of itself: from the cache while that was
// found current within age, else from the server, else from the cache after all.
func (a *App) schemaOf(ctx context.Context, age time.Duration) (*schema.Document, error) {
	unsigned, err := client.New(a.server)
	if err != nil {
		return nil, err
	}
	cache, limit := a.cache(), fetchTime
	kept := cache.Load(unsigned.Server)
	var old *schema.Document
	if kept != nil {
		if old, err = schema.Parse(kept.Text); err != nil {
			kept = nil // damaged, or of another version of kumo
		} else if limit = askTime; time.Since(kept.Checked) < age {
			return old, nil
		}
	}
	c, err := a.client()
	if err != nil {
		return orElse(old, err)
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	got, err := c.Schema(ctx, kept)
	if err != nil {
		return orElse(old, err)
	}
	// A cache that cannot be written makes the next command slower, not wrong.
	if kept != nil && got.ETag == kept.ETag {
		_ = cache.Touch(c.Server, got.Checked)
		return old, nil
	}
	doc, err := schema.Parse(got.Text)
	if err != nil {
		return nil, err
	}
	_ = cache.Save(c.Server, got)
	return doc, nil
}

func orElse(old *schema.Document, err error) (*schema.Document, error) {
	if old != nil {
		return old, nil
	}
	return nil, err
}
