// Package badinput proves that wrong input and broken surroundings get an
// error that names object, cause and advice, in the right shape, and change
// nothing. It has tests only.
package badinput
