package shape

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/cespare/xxhash/v2"
)

// Version is the algorithm's. Fingerprints of different versions don't compare.
const Version = 1

// Reach is how many bytes of a line are looked at. What is behind them changes
// nothing.
const Reach = 8192

// prefix has the Version. It begins each fingerprint's text and each normal form.
const prefix = "fp1"

// Shape is what a line is known by.
type Shape struct {
	Sum       uint64 // the fingerprint
	Words     int    // how many words the fingerprint is made of
	Continues bool   // whether the line begins with a space or a tab, as those do that go on an earlier one
}

// Of returns the shape of a line, which is without its line break.
func Of(line []byte) Shape {
	var s scanner
	s.scan(line)
	return Shape{
		Sum:       xxhash.Sum64(s.form[:s.n]),
		Words:     s.words - s.taken,
		Continues: len(line) > 0 && (line[0] == ' ' || line[0] == '\t'),
	}
}

// String returns the fingerprint as "fp1:" and 16 hexadecimal digits.
func (s Shape) String() string { return fmt.Sprintf("%s:%016x", prefix, s.Sum) }

// Parse returns a shape of which it knows the fingerprint alone, from what String
// returns.
func Parse(text string) (Shape, error) {
	digits, _ := strings.CutPrefix(text, prefix+":")
	sum, err := strconv.ParseUint(digits, 16, 64)
	s := Shape{Sum: sum}
	if err != nil || s.String() != text {
		return Shape{}, fmt.Errorf("%q is no fingerprint: it has to be %s: and 16 hexadecimal digits in lower case", text, prefix)
	}
	return s, nil
}
