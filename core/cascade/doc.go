// Package cascade deletes a resource with everything that depends on it. The
// edges of the resource types are data; one walker serves every type.
//
// Plan is pure: it follows the edges from a root and answers what is deleted,
// children before parents, what is detached, and who objects. Engine.Delete
// runs a plan as a durable flow: it marks what will be gone, so that nobody
// adds a child to it (Guard), asks every check before anything is changed, and
// deletes layer by layer. The flow's state is the root alone: after a crash
// the plan is made anew, since the rows that are left are the progress.
//
// Plugins that contribute to the point <Type>.delete.begin do their steps for each row
// of that type, once the checks have passed and before anything is deleted; when the
// delete fails they undo them for the rows that stay.
//
// The package must not import anything of core but resource, store, flow, hook and
// errtext.
package cascade
