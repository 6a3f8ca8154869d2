// Package catalog is what the command line knows of the API: its nouns, their
// verbs and the parameters of these, as data. Commands, flags, completion and
// tables are made from it. It must not import anything of the project.
package catalog
