// Package inventory brings what there is outside, at an endpoint such as an account of a
// cloud, into rows of plugins' types, and keeps them up to date. The plugin tells all
// that there is, page by page (pluginsdk.InventorySync); the difference to the rows is
// made here.
//
// A run (InventorySync) goes through an endpoint once, under the endpoint's key: one
// after another. Each page is merged in one transaction with the cursor behind it, so
// that a run which was interrupted goes on from there, and a page that comes twice
// changes nothing. What is new becomes a row of the endpoint's owner, with its origin;
// of what was known the fields change that come from outside, while a name or
// description that a person has given, tags and owners stay. What is new, changed, gone
// or passed over is an item of the run (InventorySyncItem).
//
// Only a run that has met the last page knows what is gone: what it has not met, and had
// a row when it began. That waits until somebody applies the run, unless the run was
// asked to do it, or was made at an interval and not more is gone than a setting allows
// (inventory/removal.share). The row then goes by its cascade, and its plugin is not
// called; one on which others depend stays, and its item says so.
//
// A thing that is just being made here (core/origin, Claim) is passed over until its
// creation is over, so that it has one row. It must not import the services.
package inventory
