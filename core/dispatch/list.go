package dispatch

// node is a place in a list. It is part of the value that is listed, so that
// listing it costs no memory; a value stands in one list at a time.
type node[T any] struct {
	value *T
	next  *node[T]
}

// list is a first-in first-out list.
type list[T any] struct{ head, tail *node[T] }

func (l *list[T]) empty() bool { return l.head == nil }

// push appends v, whose place is n.
func (l *list[T]) push(v *T, n *node[T]) {
	n.value, n.next = v, nil
	if l.head == nil {
		l.head, l.tail = n, n
		return
	}
	l.tail.next = n
	l.tail = n
}

// pop removes the first value; nil when there is none.
func (l *list[T]) pop() *T {
	n := l.head
	if n == nil {
		return nil
	}
	l.head, n.next = n.next, nil
	if l.head == nil {
		l.tail = nil
	}
	return n.value
}
