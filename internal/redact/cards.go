package redact

// Cards have so many digits.
const (
	minCard = 13
	maxCard = 19
)

// cards adds the numbers of credit cards: digits of an issuer's, with a valid check digit,
// together or in groups with one blank or hyphen between.
func cards(text []byte, spans []Span) []Span {
	for n := 0; n < len(text); n++ {
		if !isDigit(text[n]) || n > 0 && (isWord(text[n-1]) || text[n-1] == '.') { // or it is a fraction's
			continue
		}
		if to := card(text[n:]); to > 0 {
			spans = append(spans, Span{n, n + to})
			n += to - 1
		}
	}
	return spans
}

// card is the length of the card's number with which a text begins; 0 for none.
func card(text []byte) int {
	var digits [maxCard]byte
	var sizes [maxCard]int // of groups
	n, group := 0, 0
	for at := 0; at < len(text); at++ {
		c := text[at]
		switch {
		case isDigit(c):
			if n == maxCard {
				return 0
			}
			digits[n] = c - '0'
			n++
			sizes[group]++
			continue
		case n >= minCard && !isWord(c) && (c != '.' || at+1 == len(text) || !isDigit(text[at+1])) && isCard(digits[:n], sizes[:group+1]):
			return at
		case (c != ' ' && c != '-') || sizes[group] < 4 || group > 0 && c != text[sizes[0]]:
			return 0
		}
		if group++; group >= 5 {
			return 0
		}
	}
	if n >= minCard && isCard(digits[:n], sizes[:group+1]) {
		return len(text)
	}
	return 0
}

// isCard reports whether digits are a card's; sizes are those of the groups in which they
// are written.
func isCard(digits []byte, sizes []int) bool {
	switch len(sizes) {
	case 1:
	case 3: // of 15 or 14 digits
		if sizes[0] != 4 || sizes[1] != 6 {
			return false
		}
	case 4, 5:
		for _, n := range sizes[:3] {
			if n != 4 {
				return false
			}
		}
	default:
		return false
	}
	head := func(n int) (v int) {
		for _, d := range digits[:n] {
			v = 10*v + int(d)
		}
		return v
	}
	issued, n := false, len(digits)
	switch two, four := head(2), head(4); {
	case digits[0] == 4:
		issued = n == 13 || n == 16 || n == 19
	case two >= 51 && two <= 55, four >= 2221 && four <= 2720:
		issued = n == 16
	case two == 34 || two == 37:
		issued = n == 15
	case two == 36 || two == 38 || two == 39 || four >= 3000 && four <= 3059:
		issued = n == 14
	case four == 6011 || two == 65 || four >= 6440 && four <= 6499 || two == 35 || two == 62:
		issued = n >= 16
	}
	return issued && isChecked(digits)
}

// isChecked reports whether the last digit is the check digit of those before (Luhn).
func isChecked(digits []byte) bool {
	sum := 0
	for n, d := range digits {
		v := int(d)
		if (len(digits)-n)%2 == 0 {
			if v *= 2; v > 9 {
				v -= 9
			}
		}
		sum += v
	}
	return sum%10 == 0
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// isWord reports whether a number doesn't begin behind a byte, or end before it.
func isWord(c byte) bool {
	return isDigit(c) || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || c >= 0x80
}
