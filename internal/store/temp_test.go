package store

import "testing"

// What a transaction notes besides the database's own files stays in memory: the
// worker may make files in few places. Package faults has a process that can't.
func TestTransactionsNeedNoTemporaryFiles(t *testing.T) {
	s := openTest(t)
	const memory = 2
	var where int
	if err := s.w.QueryRow("PRAGMA temp_store").Scan(&where); err != nil || where != memory {
		t.Errorf("temp_store is %d, %v", where, err)
	}
}
