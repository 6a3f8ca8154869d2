// Package house holds the tests that keep the project's shape: which package
// may import which, how long a file may grow, that each package says what it is
// for, and what lies at the top level. It imports nothing of the project; it
// reads the source.
package house
