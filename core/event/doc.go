// Package event tells who asks what happened to which resource: observers,
// the task centre, web hooks, the audit log. Publishing never waits for a
// subscriber: a slow one loses its oldest events and is told how many.
//
// Events are published after the change they tell of is committed. They live
// in memory only; what must not be lost belongs in the database.
//
// It imports nothing of core.
package event
