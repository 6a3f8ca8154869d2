// Package house holds the tests that keep the project's shape: who may
// use whom, how long a file may grow, that each package says what it is for and
// keeps to it, and what lies at the top level. It must not import anything of the
// project: it reads the source.
package house
