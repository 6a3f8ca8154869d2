package dispatch

// linked is a pointer to a value that carries its own link, so that listing it
// costs no memory. A value stands in one list at a time.
type linked[T any] interface {
	*T
	link() **T
}

// list is a first-in first-out list.
type list[T any, P linked[T]] struct{ head, tail P }

func (l *list[T, P]) empty() bool { return l.head == nil }

// push appends v.
func (l *list[T, P]) push(v P) {
	*v.link() = nil
	if l.head == nil {
		l.head, l.tail = v, v
		return
	}
	*l.tail.link() = v
	l.tail = v
}

// pop removes the first value; nil when there is none.
func (l *list[T, P]) pop() P {
	v := l.head
	if v == nil {
		return nil
	}
	l.head = *v.link()
	*v.link() = nil
	if l.head == nil {
		l.tail = nil
	}
	return v
}

func (q *queue) link() **queue { return &q.next }

func (k *kind) link() **kind { return &k.next }
