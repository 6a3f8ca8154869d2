// Package crash kills the server at every point of the flows on guests, and
// its plugins in the middle of them, and then looks for what was lost or left
// behind. It has tests only.
package crash
