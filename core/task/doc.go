// Package task is what people see of work: the flows that are stuck, what deletes
// have left outside, what waits in the queues, and what the flows of a job did.
// It has the messages about them and no state of its own; the lists of flows,
// garbage and jobs are queries of their types.
//
// It must not import any service.
package task
