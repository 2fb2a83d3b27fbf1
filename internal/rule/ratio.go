package rule

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// What rules of KindRatio and KindSpike have where nothing is said.
const (
	DefaultWindow     int64 = 300 // seconds
	DefaultLeastLines int64 = 100 // of a ratio
	DefaultLeastSpike int64 = 20  // matches
	DefaultFactor           = "3"
)

// Bounds of them.
const (
	MinRatioWindow = 10 * time.Second
	MinSpikeWindow = time.Minute
	MaxWindow      = 24 * time.Hour
	MaxFactor      = 1000

	// WindowBuckets is how many times a ratio is told anew in a window.
	WindowBuckets = 50

	// Whole is all of a share.
	Whole int64 = 100_000_000
)

// Window is how long the lines are that are looked at together.
func (r *Rule) Window() time.Duration { return time.Duration(r.WindowSeconds) * time.Second }

// Bucket is how long the lines are, of kind ratio, that are counted together.
func (r *Rule) Bucket() time.Duration { return r.Window() / WindowBuckets }

// Slot numbers the stretches of time of a length, from the epoch on: that of a time in
// nanoseconds.
func Slot(nano int64, length time.Duration) int64 {
	n := nano / int64(length)
	if nano%int64(length) < 0 {
		n--
	}
	return n
}

// Least is AtLeast, or what it is where nothing is said.
func (r *Rule) Least() int64 {
	switch {
	case r.AtLeast != 0:
		return r.AtLeast
	case r.Kind == KindRatio:
		return DefaultLeastLines
	case r.Kind == KindSpike:
		return DefaultLeastSpike
	}
	return 0
}

// Share is Over, of Whole; 0 where it isn't readable.
func (r *Rule) Share() int64 {
	share, _ := parseShare(r.Over)
	return share
}

// Hundredths is Factor, in hundredths; 0 where it isn't readable.
func (r *Rule) Hundredths() int64 {
	n, _ := decimal(r.Factor, 2)
	return n
}

// Percent writes a share of Whole as "5 %" or "0.25 %".
func Percent(share int64) string {
	const percent = Whole / 100
	s := strconv.FormatInt(share/percent, 10)
	if rest := share % percent; rest > 0 {
		s += "." + strings.TrimRight(fmt.Sprintf("%06d", rest), "0")
	}
	return s + " %"
}

// Thousands writes a number as "1,234,567".
func Thousands(n int64) string {
	s := strconv.FormatInt(n, 10)
	for at := len(s) - 3; at > 0; at -= 3 {
		s = s[:at] + "," + s[at:]
	}
	return s
}

var decimals = regexp.MustCompile(`^([0-9]{1,9})(?:\.([0-9]+))?$`)

// decimal reads a number with up to so many places behind its point, of which the last
// one is 1.
func decimal(s string, places int) (int64, error) {
	m := decimals.FindStringSubmatch(s)
	if m == nil || len(m[2]) > places {
		return 0, fmt.Errorf("%.64q is no number with up to %d places behind the point", s, places)
	}
	return strconv.ParseInt(m[1]+m[2]+strings.Repeat("0", places-len(m[2])), 10, 64)
}

// parseShare reads a share such as 5% or 0.05.
func parseShare(s string) (int64, error) {
	number, places := strings.TrimSpace(s), 8
	if n, ok := strings.CutSuffix(number, "%"); ok {
		number, places = strings.TrimSpace(n), 6
	}
	share, err := decimal(number, places)
	if err != nil || share >= Whole {
		return 0, fmt.Errorf("%.64q is no share below 100 %%, such as 5%% or 0.05", s)
	}
	return share, nil
}

func checkOf(r Rule) error {
	if err := ofKinds(r, r.Of != "", true, KindRatio); err != nil {
		return err
	}
	return checkParts(r, "of")
}

func checkOver(r Rule) error {
	if err := ofKinds(r, r.Over != "", true, KindRatio); err != nil || r.Over == "" {
		return err
	}
	_, err := parseShare(r.Over)
	return err
}

func checkWindow(r Rule) error {
	if err := ofKinds(r, r.WindowSeconds != DefaultWindow, false, KindRatio, KindSpike); err != nil {
		return err
	}
	least := MinRatioWindow
	if r.Kind == KindSpike {
		least = MinSpikeWindow
	}
	switch {
	case r.Window() < least, r.Window() > MaxWindow:
		return fmt.Errorf("must be from %s to %s of kind %s", least, MaxWindow, r.Kind)
	case r.Kind == KindSpike && MaxWindow%r.Window() != 0:
		return errors.New("must be a part of a day, such as 1m, 5m, 10m, 15m or 1h: windows of different days are compared")
	}
	return nil
}

func checkFactor(r Rule) error {
	if err := ofKinds(r, r.Factor != DefaultFactor, false, KindSpike); err != nil {
		return err
	}
	if n, err := decimal(r.Factor, 2); err != nil || n < 100 || n > MaxFactor*100 {
		return fmt.Errorf("must be a number from 1 to %d, such as 3 or 2.5", MaxFactor)
	}
	return nil
}
