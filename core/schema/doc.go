// Package schema makes the document that describes the cloud to its clients:
// types, fields, edges, states, actions and settings, with captions. The command
// line and the console are made from it. All of it comes from the declarations
// (resource.Type, action.Action, config.Setting, plugins' manifests); what one
// leaves out is derived here by rules about names, kinds and paths, never by a
// list of types. It must not import core/query, core/kernel or any service.
package schema
