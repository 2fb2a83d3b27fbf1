package journal

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"

	"logscan/internal/blockfilter"
)

// maxBlock bounds what a compressed block may unpack to: the frames between two
// points are at most a block and one frame long.
const maxBlock = 2 << 20

// compress writes a rotated segment's compressed twin and puts it in the raw
// one's place. Readers that have the raw one open go on reading it.
func (j *Journal) compress(seg *segment, with *compressor) error {
	for i := 1; i <= len(seg.points); i++ {
		end := seg.size
		if i < len(seg.points) {
			end = seg.points[i].offset
		}
		if end-seg.points[i-1].offset > maxBlock {
			j.mu.Lock()
			seg.keepRaw = true
			j.mu.Unlock()
			return errIndex
		}
	}
	raw, err := os.Open(segmentPath(j.path, seg.base, rawSuffix))
	if err != nil {
		return err
	}
	defer raw.Close()
	name := segmentPath(j.path, seg.base, compressedSuffix)
	tmp, err := os.OpenFile(name+tmpSuffix, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if err = with.write(tmp, raw, seg); err == nil {
		err = tmp.Sync()
	}
	if cerr := tmp.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		// Read it back before the raw one goes.
		_, err = readTrailer(name + tmpSuffix)
	}
	if err != nil {
		os.Remove(name + tmpSuffix)
		return fmt.Errorf("compress: %w", err)
	}
	// It is as old as its lines are.
	info, err := raw.Stat()
	if err == nil {
		err = os.Chtimes(name+tmpSuffix, info.ModTime(), info.ModTime())
	}
	if err != nil {
		j.log.Warn("time of a container's last line not noted", "container", j.id, "err", err)
	}

	j.mu.Lock()
	defer j.mu.Unlock()
	for i, s := range j.segments {
		if s != seg {
			continue
		}
		if err := os.Rename(name+tmpSuffix, name); err != nil {
			os.Remove(name + tmpSuffix)
			return fmt.Errorf("compress: %w", err)
		}
		j.segments[i] = &segment{summary: seg.summary, base: seg.base, compressed: true}
		os.Remove(segmentPath(j.path, seg.base, rawSuffix))
		os.Remove(segmentPath(j.path, seg.base, indexSuffix))
		j.onDisk.Store(false)
		return nil
	}
	return os.Remove(name + tmpSuffix) // retention was faster
}

// filterShare is how much of its blocks' compressed size a filter takes, at most.
const filterShare = 1.5 / 100

// compressor compresses segments, one after the other.
type compressor struct {
	enc     *zstd.Encoder
	filter  blockfilter.Builder
	in, out []byte
}

func newCompressor() (*compressor, error) {
	enc, err := newEncoder()
	return &compressor{enc: enc}, err
}

func (c *compressor) close() { c.enc.Close() }

// write writes the blocks of a raw segment, each so many with their filter, and the index.
func (c *compressor) write(dst io.Writer, raw io.ReaderAt, seg *segment) error {
	w := bufio.NewWriterSize(dst, 256<<10)
	points := append([]point(nil), seg.points...)
	if last := len(points) - 1; points[last].offset == seg.size {
		points = points[:last]
	}
	c.filter.Reset()
	pos, filtered := int64(0), int64(0) // filtered: up to where there are filters
	for i := range points {
		points[i].pos = pos
		end := seg.size
		if i+1 < len(points) {
			end = points[i+1].offset
		}
		n := int(end - points[i].offset)
		if cap(c.in) < n {
			c.in = make([]byte, n)
		}
		in := c.in[:n]
		if _, err := raw.ReadAt(in, points[i].offset); err != nil {
			return err
		}
		c.out = c.enc.EncodeAll(in, c.out[:0])
		c.filter.Add(in)
		size := pos + int64(len(c.out)) - filtered
		if c.filter.Len() == blockfilter.MaxBlocks || i == len(points)-1 {
			c.out = c.filter.Append(c.out, int(float64(size)*filterShare), c.enc)
			filtered = pos + int64(len(c.out))
		}
		if _, err := w.Write(c.out); err != nil {
			return err
		}
		pos += int64(len(c.out))
	}
	if _, err := w.Write(appendTrailer(nil, seg.summary, points)); err != nil {
		return err
	}
	return w.Flush()
}

func newEncoder() (*zstd.Encoder, error) {
	return zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
}

// decoders are to be had by one who unpacks a block.
var decoders = sync.Pool{New: func() any {
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxBlock))
	if err != nil {
		panic(err) // its options are wrong
	}
	return d
}}

// restoreRaw unpacks a compressed segment whose index is damaged, as far as that
// goes, into a raw one of at most limit bytes.
func restoreRaw(path string, base, limit int64) error {
	f, err := os.Open(segmentPath(path, base, compressedSuffix))
	if err != nil {
		return err
	}
	defer f.Close()
	dec, err := zstd.NewReader(f, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(8<<20))
	if err != nil {
		return err
	}
	defer dec.Close()
	name := segmentPath(path, base, rawSuffix)
	tmp, err := os.OpenFile(name+tmpSuffix, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	n, bad := io.Copy(tmp, io.LimitReader(dec, limit))
	if n > 0 && !errors.Is(bad, unix.ENOSPC) {
		bad = nil // the rest has to do without
	} else if bad == nil {
		bad = errIndex
	}
	if err := errors.Join(bad, tmp.Sync(), tmp.Close()); err != nil {
		os.Remove(name + tmpSuffix)
		return err
	}
	return os.Rename(name+tmpSuffix, name)
}

// trailer is what lies behind a compressed segment's blocks.
type trailer struct {
	summary
	points []point
	pos    int64 // where it begins in the file
}

// readTrailer reads the index at a compressed segment's end.
func readTrailer(name string) (trailer, error) {
	f, err := os.Open(name)
	if err != nil {
		return trailer{}, err
	}
	defer f.Close()
	return trailerOf(f)
}

func trailerOf(f *os.File) (t trailer, err error) {
	info, err := f.Stat()
	if err != nil {
		return t, err
	}
	if info.Size() < footerLen+skippableLen {
		return t, errIndex
	}
	foot := make([]byte, footerLen)
	if _, err := f.ReadAt(foot, info.Size()-footerLen); err != nil {
		return t, err
	}
	_, count, err := footer(foot)
	if err != nil {
		return t, err
	}
	payload := int64(count)*sealedPointLen + footerLen
	if t.pos = info.Size() - payload - skippableLen; t.pos < 0 {
		return t, errIndex
	}
	b := make([]byte, payload)
	if _, err := f.ReadAt(b, info.Size()-payload); err != nil {
		return t, err
	}
	t.summary, t.points, err = sealedPoints(b)
	if err == nil && t.points[len(t.points)-1].pos >= t.pos {
		err = errIndex
	}
	return t, err
}

// holding returns the blocks of a compressed segment that may hold what is wanted; a
// filter that can't be used tells nothing.
func (t *trailer) holding(f io.ReaderAt, wanted *blockfilter.Wanted) func(block int) bool {
	var sets []*blockfilter.Set
	for from := 0; from < len(t.points); from += blockfilter.MaxBlocks {
		to, end := min(from+blockfilter.MaxBlocks, len(t.points)), t.pos
		if to < len(t.points) {
			end = t.points[to].pos
		}
		var set *blockfilter.Set
		if filter, err := blockfilter.Read(f, end, to-from); err == nil {
			holding := filter.Holding(wanted)
			set = &holding
		}
		sets = append(sets, set)
	}
	return func(block int) bool {
		set := sets[block/blockfilter.MaxBlocks]
		return set == nil || set.Has(block%blockfilter.MaxBlocks)
	}
}
