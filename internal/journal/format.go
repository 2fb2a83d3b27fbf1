package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"path/filepath"
	"strconv"
	"strings"
)

// blockSize is how many bytes of frames lie between two points of an index;
// the last frame of a block may reach beyond it.
const blockSize = 64 << 10

// maxPoints bounds what is read of an index before it is allocated: a segment
// of 16 TiB has no more.
const maxPoints = 1 << 28

// noTime is the running maximum before the first entry.
const noTime = math.MinInt64

// point is what an index knows about the start of a block.
type point struct {
	offset  int64 // uncompressed bytes since the segment's start
	frames  int64 // frames of the segment before it
	maxTime int64 // greatest time_nano of those frames; noTime without any
	pos     int64 // position of the block in the file; equals offset where it is not compressed
}

const (
	rawPointLen    = 28 // offset, frames, maxTime, crc32c
	sealedPointLen = 32 // offset, frames, maxTime, pos
	footerLen      = 40 // size, frames, maxTime, count (uint32), crc32c, magic
	skippableMagic = 0x184D2A50
	skippableLen   = 8
)

var (
	castagnoli  = crc32.MakeTable(crc32.Castagnoli)
	footerMagic = [8]byte{'l', 'o', 'g', 's', 'c', 'a', 'n', '1'}
	errIndex    = errors.New("journal: bad index")
)

// appendRawPoint encodes one record of an .idx file:
//
//	appended as the segment grows, integers big-endian:
//	+---------------+---------------+-----------------+----------+
//	| offset uint64 | frames uint64 | max time int64  | crc32c   |  28 bytes a point
//	+---------------+---------------+-----------------+----------+
//
// All are relative to the segment; max time is the greatest time_nano so far,
// because clocks may step back.
func appendRawPoint(b []byte, p point) []byte {
	start := len(b)
	b = binary.BigEndian.AppendUint64(b, uint64(p.offset))
	b = binary.BigEndian.AppendUint64(b, uint64(p.frames))
	b = binary.BigEndian.AppendUint64(b, uint64(p.maxTime))
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b[start:], castagnoli))
}

// rawPoints decodes an .idx file for a segment of size bytes, up to the first
// record that cannot be right. The first point is always the segment's start.
func rawPoints(b []byte, size int64) []point {
	ps := []point{{maxTime: noTime}}
	for ; len(b) >= rawPointLen; b = b[rawPointLen:] {
		if crc32.Checksum(b[:rawPointLen-4], castagnoli) != binary.BigEndian.Uint32(b[rawPointLen-4:]) {
			break
		}
		p := point{
			offset:  int64(binary.BigEndian.Uint64(b)),
			frames:  int64(binary.BigEndian.Uint64(b[8:])),
			maxTime: int64(binary.BigEndian.Uint64(b[16:])),
		}
		p.pos = p.offset
		// Blocks are never larger than what is unpacked at once.
		if last := ps[len(ps)-1]; !follows(last, p) || p.offset > size || p.offset-last.offset > maxBlock {
			break
		}
		ps = append(ps, p)
	}
	return ps
}

// follows reports whether q can be the point after p.
func follows(p, q point) bool {
	return q.offset > p.offset && q.frames > p.frames && q.maxTime >= p.maxTime && q.pos > p.pos &&
		q.frames-p.frames <= q.offset-p.offset
}

// summary is what is known of a whole segment.
type summary struct {
	size    int64 // uncompressed bytes
	frames  int64
	maxTime int64
}

// appendTrailer encodes the skippable zstd frame that ends a compressed segment:
//
//	+--------+--------+-----+------------------------------------------------+
//	| zstd   | zstd   | ... | 0x184D2A50, length (both little-endian uint32) |
//	| block  | block  |     | points: offset, frames, max time, file pos     |
//	+--------+--------+-----+ (4 × 8 bytes each)                             |
//	                        | size, frames, max time (3 × 8), count uint32,  |
//	                        | crc32c of all before it, "logscan1"            |
//	                        +------------------------------------------------+
//
// A block's frame ends where the next one's begins, or the trailer: with it may come a
// filter, which zstd passes over.
func appendTrailer(b []byte, s summary, ps []point) []byte {
	b = binary.LittleEndian.AppendUint32(b, skippableMagic)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(ps)*sealedPointLen+footerLen))
	start := len(b)
	for _, p := range ps {
		b = binary.BigEndian.AppendUint64(b, uint64(p.offset))
		b = binary.BigEndian.AppendUint64(b, uint64(p.frames))
		b = binary.BigEndian.AppendUint64(b, uint64(p.maxTime))
		b = binary.BigEndian.AppendUint64(b, uint64(p.pos))
	}
	b = binary.BigEndian.AppendUint64(b, uint64(s.size))
	b = binary.BigEndian.AppendUint64(b, uint64(s.frames))
	b = binary.BigEndian.AppendUint64(b, uint64(s.maxTime))
	b = binary.BigEndian.AppendUint32(b, uint32(len(ps)))
	b = binary.BigEndian.AppendUint32(b, crc32.Checksum(b[start:], castagnoli))
	return append(b, footerMagic[:]...)
}

// footer decodes the last footerLen bytes of a compressed segment; count is the
// number of points that lie before it.
func footer(b []byte) (s summary, count int, err error) {
	if len(b) != footerLen || [8]byte(b[32:]) != footerMagic {
		return s, 0, errIndex
	}
	s.size = int64(binary.BigEndian.Uint64(b))
	s.frames = int64(binary.BigEndian.Uint64(b[8:]))
	s.maxTime = int64(binary.BigEndian.Uint64(b[16:]))
	count = int(binary.BigEndian.Uint32(b[24:]))
	if s.size <= 0 || s.frames <= 0 || count < 1 || count > maxPoints {
		return s, 0, errIndex
	}
	return s, count, nil
}

// sealedPoints decodes the payload of a trailer: count points and the footer.
func sealedPoints(b []byte) (summary, []point, error) {
	if len(b) < footerLen {
		return summary{}, nil, errIndex
	}
	foot := b[len(b)-footerLen:]
	s, count, err := footer(foot)
	if err != nil {
		return s, nil, err
	}
	if len(b) != count*sealedPointLen+footerLen ||
		crc32.Checksum(b[:len(b)-12], castagnoli) != binary.BigEndian.Uint32(foot[28:]) {
		return s, nil, errIndex
	}
	ps := make([]point, count)
	for i := range ps {
		r := b[i*sealedPointLen:]
		ps[i] = point{
			offset:  int64(binary.BigEndian.Uint64(r)),
			frames:  int64(binary.BigEndian.Uint64(r[8:])),
			maxTime: int64(binary.BigEndian.Uint64(r[16:])),
			pos:     int64(binary.BigEndian.Uint64(r[24:])),
		}
		if i == 0 && (ps[0] != point{maxTime: noTime}) || i > 0 && !follows(ps[i-1], ps[i]) || ps[i].offset >= s.size {
			return s, nil, errIndex
		}
	}
	return s, ps, nil
}

// File names. The number is the segment's base: its first byte's offset.
const (
	rawSuffix        = ".seg"
	compressedSuffix = ".seg.zst"
	indexSuffix      = ".idx"
	tmpSuffix        = ".tmp"
	asideSuffix      = ".bad"
	metaName         = "container.json"
	noteName         = "transfer"
)

func segmentPath(dir string, base int64, suffix string) string {
	return filepath.Join(dir, fmt.Sprintf("%020d%s", base, suffix))
}

// parseName splits a file's name into base and suffix.
func parseName(name string) (base int64, suffix string, ok bool) {
	digits, suffix, ok := strings.Cut(name, ".")
	if !ok || len(digits) != 20 {
		return 0, "", false
	}
	base, err := strconv.ParseInt(digits, 10, 64)
	return base, "." + suffix, err == nil && base >= 0
}
