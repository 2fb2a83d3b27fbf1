//go:build vectorscan

package main

/*
#cgo pkg-config: libhs
#include <hs.h>
#include <stdlib.h>

// hits counts (line, rule) pairs once each. For a block last has, by rule, the
// end of the last line that it hit.
struct hits {
	unsigned long long n;
	const char *text;
	unsigned long long *last;
	unsigned long long size;
};

static int count(unsigned int id, unsigned long long from, unsigned long long to, unsigned int flags, void *p) {
	((struct hits *)p)->n++;
	return 0;
}

// A match that ends at to is in the line that ends at the next newline.
static int countInBlock(unsigned int id, unsigned long long from, unsigned long long to, unsigned int flags, void *p) {
	struct hits *h = p;
	if (to < h->last[id])
		return 0;
	unsigned long long end = to > 0 && h->text[to - 1] == '\n' ? to - 1 : to;
	while (end < h->size && h->text[end] != '\n')
		end++;
	h->last[id] = end + 1;
	h->n++;
	return 0;
}

static unsigned long long scanLines(hs_database_t *db, hs_scratch_t *s, const char *text, const unsigned int *ends, int n) {
	struct hits h = {0};
	unsigned int from = 0;
	for (int i = 0; i < n; i++) {
		hs_scan(db, text + from, ends[i] - from, 0, s, count, &h);
		from = ends[i] + 1;
	}
	return h.n;
}

static unsigned long long scanBlock(hs_database_t *db, hs_scratch_t *s, const char *text, unsigned int size, unsigned long long *last) {
	struct hits h = {0, text, last, size};
	hs_scan(db, text, size, 0, s, countInBlock, &h);
	return h.n;
}
*/
import "C"

import (
	"fmt"
	"unsafe"
)

// vectorscan is patterns compiled by it: for lines, with each pattern reported
// once, or for blocks of lines.
type vectorscan struct {
	db      *C.hs_database_t
	scratch *C.hs_scratch_t
	last    []C.ulonglong
}

// peer compiles patterns. Those that vectorscan doesn't take are left out and
// counted.
func peer(patterns []string, block bool) (*vectorscan, int, error) {
	var exprs []*C.char
	var flags, ids []C.uint
	flag := C.uint(C.HS_FLAG_ALLOWEMPTY | C.HS_FLAG_SINGLEMATCH)
	if block {
		flag = C.HS_FLAG_ALLOWEMPTY | C.HS_FLAG_MULTILINE
	}
	defer func() {
		for _, e := range exprs {
			C.free(unsafe.Pointer(e))
		}
	}()
	for i, p := range patterns {
		exprs = append(exprs, C.CString(p))
		flags = append(flags, flag)
		ids = append(ids, C.uint(i))
	}
	v := &vectorscan{last: make([]C.ulonglong, len(patterns))}
	left := 0
	for len(exprs) > 0 {
		var e *C.hs_compile_error_t
		if C.hs_compile_multi(&exprs[0], &flags[0], &ids[0], C.uint(len(exprs)), C.HS_MODE_BLOCK, nil, &v.db, &e) == C.HS_SUCCESS {
			break
		}
		i, reason := int(e.expression), C.GoString(e.message)
		C.hs_free_compile_error(e)
		if i < 0 {
			return nil, 0, fmt.Errorf("vectorscan: %s", reason)
		}
		C.free(unsafe.Pointer(exprs[i]))
		exprs = append(exprs[:i], exprs[i+1:]...)
		flags = append(flags[:i], flags[i+1:]...)
		ids = append(ids[:i], ids[i+1:]...)
		left++
	}
	if C.hs_alloc_scratch(v.db, &v.scratch) != C.HS_SUCCESS {
		return nil, 0, fmt.Errorf("vectorscan: no memory")
	}
	return v, left, nil
}

func (v *vectorscan) close() {
	C.hs_free_scratch(v.scratch)
	C.hs_free_database(v.db)
}

// lines scans a text line by line, in one call from Go, and returns the hits.
// ends are the offsets of the newlines.
func (v *vectorscan) lines(text []byte, ends []uint32) int {
	return int(C.scanLines(v.db, v.scratch, (*C.char)(unsafe.Pointer(&text[0])), (*C.uint)(unsafe.Pointer(&ends[0])), C.int(len(ends))))
}

// block scans a text in one go.
func (v *vectorscan) block(text []byte) int {
	clear(v.last)
	return int(C.scanBlock(v.db, v.scratch, (*C.char)(unsafe.Pointer(&text[0])), C.uint(len(text)), &v.last[0]))
}

func vectorscanVersion() string { return C.GoString(C.hs_version()) }
