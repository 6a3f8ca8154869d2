// Package schema is what a client knows of a server: the document of
// GET /zstack/v1/schema, and the words of the command line that follow from it
// (nouns, verbs, flags). It holds no type's name, does no I/O and must not
// import anything of the project but pluginsdk/errs.
package schema
