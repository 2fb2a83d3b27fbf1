package journal

import (
	"errors"
	"io"
	"math"
	"os"
	"sort"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"

	"logscan/internal/blockfilter"
	"logscan/internal/entry"
)

// readSize is how much a Reader takes from a file at once, in bytes.
const readSize = 256 << 10

// Reader reads whole frames in order. It never blocks: at the end it returns
// io.EOF, and goes on when called again after the journal has grown. One
// goroutine uses it at a time.
type Reader struct {
	j       *Journal
	pos     int64 // offset of the next frame
	Skipped int64 // bytes that were no longer there, or not readable
	Patient bool  // a disk that fails is tried again for a while: Next returns the error
	// Aside leaves memory to others: what is there for the first who comes to it, and
	// the room in the page cache that reading would take.
	Aside bool

	seg    segment // what file belongs to
	file   *os.File
	mapped []byte  // the file, where it is compressed and Aside holds; never read
	index  trailer // of seg where it is compressed
	in     []byte
	buf    []byte
	lent   *[]byte   // what buf is of buffers, if it is
	end    []byte    // of the journal's tail
	skip   int64     // bytes that are no frame, with errDamaged
	logged int64     // base of the last segment, plus 1, that had a bad place
	fault  diskFault // for a Patient one
}

// errDamaged means that no frame is at the reader's position.
var errDamaged = errors.New("journal: damaged log entries")

// NewReader returns a reader from the frame at offset from, which comes from
// Bounds, a Seek, or an earlier Reader.
func (j *Journal) NewReader(from int64) *Reader { return &Reader{j: j, pos: from} }

// Offset returns where the next block begins.
func (r *Reader) Offset() int64 { return r.pos }

// SetOffset makes the reader go on at off, a frame's offset that it has passed.
func (r *Reader) SetOffset(off int64) { r.pos = off }

// GoTo makes the reader go on at off, the offset of any frame.
func (r *Reader) GoTo(off int64) {
	if r.file != nil && off < r.seg.base {
		r.closeFile()
	}
	r.pos = off
}

// Close releases the reader's file.
func (r *Reader) Close() error {
	r.Release()
	r.closeFile()
	return nil
}

// Release gives back the memory of the last block, which is no longer valid, for
// as long as there is nothing to read: most readers wait most of the time.
func (r *Reader) Release() {
	if r.lent != nil {
		buffers.Put(r.lent)
	}
	r.buf, r.lent = nil, nil
}

func (r *Reader) closeFile() {
	if r.file != nil {
		if r.mapped != nil {
			_ = unix.Munmap(r.mapped)
			r.mapped = nil
		}
		r.file.Close()
		r.file = nil
	}
}

// Next returns the next whole frames, about 256 KiB of them at most, and the
// offset of the first. They are valid until the next call, or Release. Where
// retention has removed what came next, or it can't be read, the reader goes on
// behind it, as the offset shows; a Patient one not before it has tried for some
// seconds.
func (r *Reader) Next() (block []byte, off int64, err error) {
	if b := r.next(); len(b) > 0 {
		off = r.pos
		r.pos += int64(len(b))
		return b, off, nil
	}
	for {
		if r.file == nil || r.pos >= r.seg.end() {
			if err := r.open(); err != nil {
				r.Release()
				return nil, r.pos, err
			}
		}
		if r.pos < r.seg.base {
			r.skipTo(r.seg.base)
		}
		if r.seg.compressed {
			block, err = r.unpack()
		} else {
			block, err = r.read()
		}
		if r.Patient && r.logged != r.seg.base+1 && r.fault.withinGrace(err, r.j.dir.gracePeriod) {
			r.closeFile()
			r.Release()
			return nil, r.pos, err
		}
		if err == nil && len(block) > 0 {
			off = r.pos
			r.pos += int64(len(block))
			return block, off, nil
		}
		if r.logged != r.seg.base+1 { // a segment may have many such places
			r.logged = r.seg.base + 1
			r.j.log.Error("log not readable here; going on behind it", "container", r.j.id, "segment", r.seg.base, "offset", r.pos, "err", err)
		}
		if err == errDamaged {
			r.skipTo(r.pos + r.skip)
		} else {
			r.skipBad()
		}
	}
}

// next reads what the journal has in memory.
func (r *Reader) next() (block []byte) {
	r.j.mu.Lock()
	defer r.j.mu.Unlock()
	if r.pos < r.j.state.First {
		return nil
	}
	var b []byte
	var buf *[]byte
	if !r.Aside {
		b, buf = r.j.fresh.from(r.pos)
	}
	if buf == nil {
		b = r.j.tail.from(r.pos)
	}
	if len(b) == 0 {
		return nil
	}
	if newest := r.j.segments[len(r.j.segments)-1]; r.file != nil && newest.base != r.seg.base {
		r.closeFile() // held open, it would take its room on the disk when it is removed
	}
	if buf != nil {
		r.Release()
		r.buf, r.lent = *buf, buf
		return b
	}
	r.end = append(r.end[:0], b...)
	return r.end
}

// open finds the segment for pos and opens its file.
func (r *Reader) open() error {
	var gone segment // whose file was not there
	for {
		seg, from, ok := r.j.lookup(r.pos)
		if r.pos = from; !ok {
			r.skipTo(max(r.pos, seg.base))
			return io.EOF
		}
		if r.file != nil && seg.base == r.seg.base && seg.compressed == r.seg.compressed {
			r.seg = seg // the active one has grown
			return nil
		}
		r.closeFile()
		name := r.j.nameOf(&seg)
		file, err := openSegment(name, os.O_RDONLY)
		if errors.Is(err, os.ErrNotExist) {
			// Compressed or removed just now: look again. Where it is still said to
			// be there, somebody else has removed it.
			if seg.size > 0 && seg.base == gone.base && seg.compressed == gone.compressed && gone.size > 0 {
				r.j.dropGone(seg.base)
			}
			gone = seg
			continue
		}
		if err != nil {
			return err
		}
		r.seg, r.file, r.index = seg, file, trailer{}
		if r.Aside {
			forgetting(file)
		}
		if r.Aside && seg.compressed {
			r.mapped = mapWhole(file)
		}
		if seg.compressed {
			if r.index, err = trailerOf(file); r.Patient && r.fault.withinGrace(err, r.j.dir.gracePeriod) {
				r.closeFile()
				return err
			} else if err != nil {
				r.index.points = nil // unpack fails, and the segment is passed over
			}
		}
		return nil
	}
}

func (r *Reader) skipTo(off int64) {
	r.Skipped += off - r.pos
	r.pos = off
}

// skipBad passes over what can't be read, up to the next point of the index.
func (r *Reader) skipBad() {
	points := r.seg.points
	if r.seg.compressed {
		points = r.index.points
	}
	rel := r.pos - r.seg.base
	i := sort.Search(len(points), func(i int) bool { return points[i].offset > rel })
	if i < len(points) && points[i].offset < r.seg.size {
		r.skipTo(r.seg.base + points[i].offset)
		return
	}
	r.skipTo(r.seg.end())
}

func (r *Reader) grow(n int) []byte {
	switch {
	case n <= cap(r.buf):
	case n <= readSize && r.lent == nil:
		r.lent = buffers.Get().(*[]byte)
		r.buf = *r.lent
	default:
		r.buf = make([]byte, n)
	}
	return r.buf[:n]
}

// read takes whole frames from a raw segment, up to a known boundary.
func (r *Reader) read() ([]byte, error) {
	rel := r.pos - r.seg.base
	far := sort.Search(len(r.seg.points), func(i int) bool { return r.seg.points[i].offset > rel+readSize }) - 1
	near := sort.Search(len(r.seg.points), func(i int) bool { return r.seg.points[i].offset > rel })
	end := r.seg.size
	switch {
	case end-rel <= readSize:
	case far >= near: // several blocks
		end = r.seg.points[far].offset
	case near < len(r.seg.points):
		end = r.seg.points[near].offset
	}
	b := r.grow(int(min(end-rel, maxBlock)))
	if err := r.readAt(b, rel); err != nil {
		return nil, err
	}
	if end-rel > maxBlock { // rubbish; a frame would be whole
		if n, _, _ := entry.Skip(b, math.MaxInt64); n > 0 {
			return b[:n], nil
		}
	}
	if _, _, err := entry.Skip(b, math.MaxInt64); err == nil {
		return b, nil
	}
	if near < len(r.seg.points) && r.seg.points[near].offset < end {
		b = b[:r.seg.points[near].offset-rel] // what is wrong may lie in a later block
	}
	return r.run(b)
}

// run returns the frames at the beginning of b, which ends at a boundary. If b
// is not made of frames, one is damaged, and only those that decode are trusted;
// errDamaged means that there are none up to where r.skip points.
func (r *Reader) run(b []byte) ([]byte, error) {
	if _, _, err := entry.Skip(b, math.MaxInt64); err == nil {
		return b, nil
	}
	rest := b
	for {
		frame, next, err := entry.Next(rest)
		var e entry.Entry
		if err != nil || entry.Decode(frame[entry.HeaderLen:], &e) != nil {
			break
		}
		rest = next
	}
	if n := len(b) - len(rest); n > 0 {
		return b[:n], nil
	}
	n, _ := entry.Sync(b[1:])
	r.skip = int64(n + 1)
	return nil, errDamaged
}

// unpack decompresses the block that holds pos.
func (r *Reader) unpack() ([]byte, error) {
	points := r.index.points
	if len(points) == 0 {
		return nil, errIndex
	}
	rel := r.pos - r.seg.base
	i := sort.Search(len(points), func(i int) bool { return points[i].offset > rel }) - 1
	p := points[i]
	end, unpacked := r.index.pos, r.seg.size-p.offset
	if i+1 < len(points) {
		end, unpacked = points[i+1].pos, points[i+1].offset-p.offset
	}
	if n := end - p.pos; n <= 0 || n > maxBlock+4096+blockfilter.MaxLen || unpacked > maxBlock {
		return nil, errIndex
	}
	if cap(r.in) < int(end-p.pos) {
		r.in = make([]byte, end-p.pos)
	}
	in := r.in[:end-p.pos]
	if err := r.readAt(in, p.pos); err != nil {
		return nil, err
	}
	dec := decoders.Get().(*zstd.Decoder)
	b, err := dec.DecodeAll(in, r.grow(int(unpacked))[:0])
	decoders.Put(dec)
	if err != nil {
		return nil, err
	}
	r.buf = b
	if int64(len(b)) != unpacked {
		return nil, errIndex
	}
	return r.run(b[rel-p.offset:])
}
