//go:build ignore

// Gen writes testdata/catalogue.json: the facts of the API's catalogue that
// Check compares actions with. Its argument is the folder that has the whole
// catalogue (endpoints.json and endpoints-sdk-only.json):
//
//	go run gen.go FOLDER
//
// All open endpoints are taken, and those known from the SDK only that a client
// uses.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

type param struct {
	Name          string   `json:"name"`
	Type          string   `json:"type"`
	In            string   `json:"in,omitempty"`
	Required      bool     `json:"required,omitempty"`
	MaxLength     int      `json:"maxLength,omitempty"`
	MinLength     int      `json:"minLength,omitempty"`
	ValidValues   []string `json:"validValues,omitempty"`
	NumberRange   []int64  `json:"numberRange,omitempty"`
	ResourceType  string   `json:"resourceType,omitempty"`
	NonEmpty      bool     `json:"nonempty,omitempty"`
	EmptyString   *bool    `json:"emptyString,omitempty"`
	SuccessIfGone bool     `json:"successIfResourceNotExisting,omitempty"`
	Default       any      `json:"default,omitempty"`
}

type field struct {
	Name string `json:"name"`
	Type string `json:"type"`
	From string `json:"from,omitempty"`
}

type endpoint struct {
	API           string   `json:"api"`
	Method        string   `json:"method"`
	Path          string   `json:"path,omitempty"`
	OptionalPaths []string `json:"optionalPaths,omitempty"`
	Key           string   `json:"parameterName,omitempty"`
	Async         bool     `json:"async,omitempty"`
	Access        string   `json:"access,omitempty"`
	Base          string   `json:"base,omitempty"`
	Query         bool     `json:"query,omitempty"`
	Inventory     string   `json:"inventory,omitempty"`
	Params        []param  `json:"params,omitempty"`
	Response      struct {
		Fields []field `json:"fields,omitempty"`
		AllTo  string  `json:"allTo,omitempty"`
	} `json:"response"`
	SDKOnly bool     `json:"sdkOnly,omitempty"`
	UsedBy  []string `json:"usedBy,omitempty"`
}

func main() {
	if len(os.Args) != 2 {
		fail(fmt.Errorf("usage: go run gen.go FOLDER"))
	}
	var all []endpoint
	for _, name := range []string{"endpoints.json", "endpoints-sdk-only.json"} {
		b, err := os.ReadFile(filepath.Join(os.Args[1], name))
		if err != nil {
			fail(err)
		}
		var doc struct{ Endpoints []endpoint }
		if err := json.Unmarshal(b, &doc); err != nil {
			fail(fmt.Errorf("%s: %w", name, err))
		}
		for _, e := range doc.Endpoints {
			e.SDKOnly = name != "endpoints.json"
			if e.SDKOnly && len(e.UsedBy) == 0 && e.API != "APIChangeAccessKeyStateMsg" {
				continue
			}
			e.UsedBy = nil
			all = append(all, e)
		}
	}
	var out bytes.Buffer
	out.WriteString("{\"note\":\"written by core/action/catalogue/gen.go, which says how; do not edit\",\n\"endpoints\":[\n")
	for i, e := range all {
		line, err := json.Marshal(e)
		if err != nil {
			fail(err)
		}
		out.Write(line)
		if i < len(all)-1 {
			out.WriteByte(',')
		}
		out.WriteByte('\n')
	}
	out.WriteString("]}\n")
	if err := os.WriteFile("testdata/catalogue.json", out.Bytes(), 0o644); err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
