package journal

import (
	"errors"
	"io"
	"os"
	"sort"

	"github.com/klauspost/compress/zstd"

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

	seg    segment // what file belongs to
	file   *os.File
	points []point // of seg where it is compressed
	dec    *zstd.Decoder
	in     []byte
	buf    []byte
}

// NewReader returns a reader from the frame at offset from, which comes from
// Bounds, a Seek, or an earlier Reader.
func (j *Journal) NewReader(from int64) *Reader { return &Reader{j: j, pos: from} }

// Offset returns where the next block begins.
func (r *Reader) Offset() int64 { return r.pos }

// SetOffset makes the reader go on at off, a frame's offset that it has passed.
func (r *Reader) SetOffset(off int64) { r.pos = off }

// Close releases the reader's file.
func (r *Reader) Close() error {
	r.closeFile()
	if r.dec != nil {
		r.dec.Close()
	}
	return nil
}

func (r *Reader) closeFile() {
	if r.file != nil {
		r.file.Close()
		r.file = nil
	}
}

// Next returns the next whole frames, about 256 KiB of them at most, and the
// offset of the first. They are valid until the next call. Where retention has
// removed what came next, or it can't be read, the reader goes on behind it,
// as the offset shows.
func (r *Reader) Next() (block []byte, off int64, err error) {
	for {
		if r.file == nil || r.pos >= r.seg.end() {
			if err := r.open(); err != nil {
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
		if err == nil && len(block) > 0 {
			off = r.pos
			r.pos += int64(len(block))
			return block, off, nil
		}
		r.j.log.Error("log not readable here; going on behind it", "container", r.j.id, "segment", r.seg.base, "offset", r.pos, "err", err)
		r.skipBad()
	}
}

// open finds the segment for pos and opens its file.
func (r *Reader) open() error {
	for range 3 {
		seg, ok := r.j.lookup(r.pos)
		if !ok {
			return io.EOF
		}
		if r.file != nil && seg.base == r.seg.base && seg.compressed == r.seg.compressed {
			r.seg = seg // the active one has grown
			return nil
		}
		r.closeFile()
		suffix := rawSuffix
		if seg.compressed {
			suffix = compressedSuffix
		}
		name := segmentPath(r.j.path, seg.base, suffix)
		file, err := os.Open(name)
		if errors.Is(err, os.ErrNotExist) {
			continue // compressed or removed just now: look again
		}
		if err != nil {
			return err
		}
		r.seg, r.file, r.points = seg, file, nil
		if seg.compressed {
			if _, r.points, err = readTrailer(name); err != nil {
				r.points = nil // unpack fails, and the segment is passed over
			}
		}
		return nil
	}
	return io.EOF
}

func (r *Reader) skipTo(off int64) {
	r.Skipped += off - r.pos
	r.pos = off
}

// skipBad passes over what can't be read, up to the next point of the index.
func (r *Reader) skipBad() {
	points := r.seg.points
	if r.seg.compressed {
		points = r.points
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
	if cap(r.buf) < n {
		r.buf = make([]byte, n)
	}
	return r.buf[:n]
}

// read takes whole frames from a raw segment.
func (r *Reader) read() ([]byte, error) {
	rel := r.pos - r.seg.base
	b := r.grow(int(min(readSize, r.seg.size-rel)))
	if _, err := r.file.ReadAt(b, rel); err != nil {
		return nil, err
	}
	whole, err := wholeFrames(b)
	if whole > 0 || err != entry.ErrShort {
		return b[:whole], err
	}
	if len(b) < entry.HeaderLen {
		return nil, entry.ErrShort
	}
	// A frame larger than the buffer.
	n, err := entry.BodyLen(b)
	if err != nil {
		return nil, err
	}
	if rel+int64(entry.HeaderLen+n) > r.seg.size {
		return nil, entry.ErrFrame
	}
	b = r.grow(entry.HeaderLen + n)
	if _, err := r.file.ReadAt(b, rel); err != nil {
		return nil, err
	}
	return b, nil
}

// wholeFrames returns how many bytes of b are whole frames. The error, nil when
// there are some, says why there are none.
func wholeFrames(b []byte) (int, error) {
	rest := b
	for len(rest) > 0 {
		var err error
		if _, rest, err = entry.Next(rest); err != nil {
			n := len(b) - len(rest)
			if n > 0 {
				err = nil
			}
			return n, err
		}
	}
	return len(b), nil
}

// unpack decompresses the block that holds pos.
func (r *Reader) unpack() ([]byte, error) {
	if len(r.points) == 0 {
		return nil, errIndex
	}
	rel := r.pos - r.seg.base
	i := sort.Search(len(r.points), func(i int) bool { return r.points[i].offset > rel }) - 1
	p := r.points[i]
	end, unpacked := int64(-1), r.seg.size-p.offset
	if i+1 < len(r.points) {
		end, unpacked = r.points[i+1].pos, r.points[i+1].offset-p.offset
	} else if info, err := r.file.Stat(); err == nil {
		end = info.Size() - int64(len(r.points)*sealedPointLen+footerLen+skippableLen)
	}
	if n := end - p.pos; n <= 0 || n > maxBlock+4096 || unpacked > maxBlock {
		return nil, errIndex
	}
	if cap(r.in) < int(end-p.pos) {
		r.in = make([]byte, end-p.pos)
	}
	in := r.in[:end-p.pos]
	if _, err := r.file.ReadAt(in, p.pos); err != nil {
		return nil, err
	}
	if r.dec == nil {
		var err error
		if r.dec, err = newDecoder(); err != nil {
			return nil, err
		}
	}
	b, err := r.dec.DecodeAll(in, r.grow(int(unpacked))[:0])
	if err != nil {
		return nil, err
	}
	r.buf = b
	if int64(len(b)) != unpacked {
		return nil, errIndex
	}
	b = b[rel-p.offset:]
	n, err := wholeFrames(b)
	return b[:n], err
}
