package journal

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"
)

// maxBlock bounds what a compressed block may unpack to: the frames between two
// points are at most a block and one frame long.
const maxBlock = 2 << 20

// compress writes a rotated segment's compressed twin and puts it in the raw
// one's place. Readers that have the raw one open go on reading it.
func (j *Journal) compress(seg *segment, enc *zstd.Encoder) error {
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
	if err = writeCompressed(tmp, raw, seg, enc); err == nil {
		err = tmp.Sync()
	}
	if cerr := tmp.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		// Read it back before the raw one goes.
		_, _, err = readTrailer(name + tmpSuffix)
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

func writeCompressed(dst io.Writer, raw io.ReaderAt, seg *segment, enc *zstd.Encoder) error {
	w := bufio.NewWriterSize(dst, 256<<10)
	points := append([]point(nil), seg.points...)
	if last := len(points) - 1; points[last].offset == seg.size {
		points = points[:last]
	}
	var in, out []byte
	pos := int64(0)
	for i := range points {
		points[i].pos = pos
		end := seg.size
		if i+1 < len(points) {
			end = points[i+1].offset
		}
		n := int(end - points[i].offset)
		if cap(in) < n {
			in = make([]byte, n)
		}
		if _, err := raw.ReadAt(in[:n], points[i].offset); err != nil {
			return err
		}
		out = enc.EncodeAll(in[:n], out[:0])
		if _, err := w.Write(out); err != nil {
			return err
		}
		pos += int64(len(out))
	}
	if _, err := w.Write(appendTrailer(nil, seg.summary, points)); err != nil {
		return err
	}
	return w.Flush()
}

func newEncoder() (*zstd.Encoder, error) {
	return zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
}

func newDecoder() (*zstd.Decoder, error) {
	return zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxBlock))
}

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

// readTrailer reads the index at a compressed segment's end.
func readTrailer(name string) (summary, []point, error) {
	f, err := os.Open(name)
	if err != nil {
		return summary{}, nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return summary{}, nil, err
	}
	if info.Size() < footerLen+skippableLen {
		return summary{}, nil, errIndex
	}
	foot := make([]byte, footerLen)
	if _, err := f.ReadAt(foot, info.Size()-footerLen); err != nil {
		return summary{}, nil, err
	}
	_, count, err := footer(foot)
	if err != nil {
		return summary{}, nil, err
	}
	payload := int64(count)*sealedPointLen + footerLen
	if payload+skippableLen > info.Size() {
		return summary{}, nil, errIndex
	}
	b := make([]byte, payload)
	if _, err := f.ReadAt(b, info.Size()-payload); err != nil {
		return summary{}, nil, err
	}
	sum, points, err := sealedPoints(b)
	if err == nil && points[len(points)-1].pos >= info.Size()-payload-skippableLen {
		err = errIndex
	}
	return sum, points, err
}
