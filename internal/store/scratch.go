package store

// OpenScratch opens a new database that nobody will want after a crash: it waits for no
// disk.
func OpenScratch(path string) (*Store, error) {
	s, err := Open(path, nil)
	if err != nil {
		return nil, err
	}
	if _, err := s.w.Exec("PRAGMA synchronous = OFF"); err != nil {
		s.Close()
		return nil, err
	}
	s.scratch = true
	return s, nil
}
