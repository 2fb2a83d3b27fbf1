package where

import (
	"bytes"
	"math"
	"math/big"
	"math/bits"
	"strconv"
)

// kind is what a quantity is one of; quantities of different kinds don't compare.
type kind uint8

const (
	noNumber kind = iota
	plain
	duration // in nanoseconds
	size     // in bytes
)

// quantity is a number, or one with a unit. Whole numbers that fit an int64 are exact,
// others are the nearest float64.
type quantity struct {
	kind    kind
	inexact bool    // it is f
	i       int64   // otherwise
	f       float64 // set in any case
}

// compare compares quantities of the same kind.
func (q quantity) compare(with quantity) int {
	if !q.inexact && !with.inexact {
		switch {
		case q.i < with.i:
			return -1
		case q.i > with.i:
			return 1
		}
		return 0
	}
	switch {
	case q.f < with.f:
		return -1
	case q.f > with.f:
		return 1
	}
	return 0
}

const (
	// maxNumber is how long a number may be, in bytes. What is longer is text.
	maxNumber = 64
	// maxExponent is how many digits an exponent may have.
	maxExponent = 3
)

// unitOf returns what a unit is in the least one of its kind.
func unitOf(name []byte) (kind, uint64) {
	switch string(name) {
	case "ns":
		return duration, 1
	case "us", "µs", "μs":
		return duration, 1e3
	case "ms":
		return duration, 1e6
	case "s":
		return duration, 1e9
	case "m", "min":
		return duration, 60e9
	case "h":
		return duration, 3600e9
	case "d":
		return duration, 86400e9
	case "B":
		return size, 1
	case "kB", "KB":
		return size, 1e3
	case "MB":
		return size, 1e6
	case "GB":
		return size, 1e9
	case "TB":
		return size, 1e12
	case "PB":
		return size, 1e15
	case "KiB":
		return size, 1 << 10
	case "MiB":
		return size, 1 << 20
	case "GiB":
		return size, 1 << 30
	case "TiB":
		return size, 1 << 40
	case "PiB":
		return size, 1 << 50
	}
	return noNumber, 0
}

var tens = [...]float64{1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18}

// parseQuantity reads a number such as 500, -0.5 or 1e3, or one with a unit such as
// 1.5s, 12 ms, 1m30s or 10MB. What isn't one is of the kind noNumber.
func parseQuantity(text []byte) quantity {
	if len(text) == 0 || len(text) > maxNumber || text[0] > '9' {
		return quantity{}
	}
	rest, negative := text, false
	if c := rest[0]; c == '-' || c == '+' {
		rest, negative = rest[1:], c == '-'
	}
	q := quantity{}
	total, exact := uint64(0), true // in the least unit
	for part := 0; part == 0 || len(rest) > 0; part++ {
		whole := digits(rest)
		if whole == 0 {
			return quantity{}
		}
		end, fraction := whole, 0
		if len(rest) > whole+1 && rest[whole] == '.' {
			if fraction = digits(rest[whole+1:]); fraction > 0 {
				end += 1 + fraction
			}
		}
		number := rest[:end]
		rest = rest[end:]
		if part == 0 && len(rest) == 0 {
			q.kind = plain
			if whole+fraction > 18 {
				return precise(text)
			}
			m, scale := mantissa(number), uint64(tens[fraction])
			switch {
			case m%scale == 0:
				total = m / scale
			case m < 1<<53:
				f := float64(m) / tens[fraction]
				if negative {
					f = -f
				}
				return quantity{kind: plain, inexact: true, f: f}
			default:
				return precise(text)
			}
			break
		}
		if part == 0 && (rest[0] == 'e' || rest[0] == 'E') {
			return exponential(text, rest[1:])
		}
		if part == 0 && rest[0] == ' ' {
			rest = rest[1:]
		}
		n := bytes.IndexAny(rest, "0123456789. +-")
		if n < 0 {
			n = len(rest)
		}
		of, unit := unitOf(rest[:n])
		if of == noNumber || part > 0 && (of != duration || q.kind != duration) {
			return quantity{}
		}
		q.kind = of
		rest = rest[n:]
		if whole+fraction > 18 || !exact {
			exact = false
			continue
		}
		high, low := bits.Mul64(mantissa(number), unit)
		scale := uint64(tens[fraction])
		if high != 0 || low%scale != 0 || low/scale > math.MaxInt64/4 || total > math.MaxInt64/4 {
			exact = false
			continue
		}
		total += low / scale
	}
	if !exact {
		return precise(text)
	}
	if q.i = int64(total); negative {
		q.i = -q.i
	}
	q.f = float64(q.i)
	return q
}

// mantissa is the digits of a number without its dot, at most 18 of them.
func mantissa(number []byte) (m uint64) {
	for _, c := range number {
		if c != '.' {
			m = m*10 + uint64(c-'0')
		}
	}
	return m
}

func digits(text []byte) (n int) {
	for n < len(text) && '0' <= text[n] && text[n] <= '9' {
		n++
	}
	return n
}

// exponential reads a plain number with an exponent, which is given too.
func exponential(text, exponent []byte) quantity {
	if len(exponent) > 0 && (exponent[0] == '-' || exponent[0] == '+') {
		exponent = exponent[1:]
	}
	if n := len(exponent); n == 0 || n > maxExponent || digits(exponent) < n {
		return quantity{}
	}
	f, _ := strconv.ParseFloat(string(text), 64) // what is out of range is infinite, or 0
	return quantity{kind: plain, inexact: true, f: f}
}

// precise reads what parseQuantity has found to be a quantity, without an exponent.
func precise(text []byte) quantity {
	q := quantity{kind: plain}
	sum, rest := new(big.Rat), bytes.TrimLeft(text, "+-")
	for len(rest) > 0 {
		n := len(rest) - len(bytes.TrimLeft(rest, "0123456789."))
		part, _ := new(big.Rat).SetString(string(rest[:n]))
		rest = bytes.TrimLeft(rest[n:], " ")
		n = bytes.IndexAny(rest, "0123456789.")
		if n < 0 {
			n = len(rest)
		}
		if n > 0 {
			var unit uint64
			q.kind, unit = unitOf(rest[:n])
			part.Mul(part, new(big.Rat).SetInt(new(big.Int).SetUint64(unit)))
		}
		sum.Add(sum, part)
		rest = rest[n:]
	}
	if text[0] == '-' {
		sum.Neg(sum)
	}
	q.f, _ = sum.Float64()
	if q.inexact = !sum.IsInt() || !sum.Num().IsInt64(); !q.inexact {
		q.i = sum.Num().Int64()
	}
	return q
}
