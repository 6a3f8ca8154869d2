package store

// SetTestHook has f called before each statement that reads or writes rows, by
// any goroutine that runs one; its error takes the place of the statement. nil
// takes it away again. It is for tests of what becomes of a broken database.
func SetTestHook(s *Store, f func(query string) error) {
	if f == nil {
		s.probe.Store(nil)
		return
	}
	s.probe.Store(&f)
}

// probed asks the test's hook, if there is one.
func (s *Store) probed(query string) error {
	if f := s.probe.Load(); f != nil {
		return (*f)(query)
	}
	return nil
}
