package where

import "bytes"

const (
	headReach  = 256 // bytes of a line in which its level may stand
	headTokens = 24
	maxTags    = 2
)

// head looks for the level at the begin of a text line: behind timestamps, brackets,
// pairs, the names of hosts, programs and loggers. It stops at the first word of a
// message.
type head struct {
	text []byte
	i    int

	dated  bool  // there was a timestamp, or a number of as many digits
	begun  bool  // there was anything
	plain  bool  // a word in capitals is a level though nothing marks it as one
	time   bool  // the latest token was a time or date, or belongs to one
	syslog int   // tokens of the timestamp "Jan  2 15:04:05" that there were
	redis  bool  // the line begins as Redis's do
	npm    bool  // and as npm's
	tags   int   // names that there were
	pri    level // of a syslog priority
}

// textLevel returns the level that the begin of a text line says, and the one of its
// syslog priority.
func textLevel(text []byte) (l, priority level) {
	h := head{text: text[:min(len(text), headReach)], plain: true}
	h.priority()
	if l := h.letters(); l != noLevel {
		return l, h.pri
	}
	for range headTokens {
		h.blank()
		if h.i >= len(h.text) {
			break
		}
		l, more := h.token()
		if l != noLevel || !more {
			return l, h.pri
		}
		h.begun = true
	}
	return noLevel, h.pri
}

// priority takes syslog's <PRI>.
func (h *head) priority() {
	if len(h.text) < 3 || h.text[0] != '<' {
		return
	}
	if n := digits(h.text[1:]); 0 < n && n <= 3 && 1+n < len(h.text) && h.text[1+n] == '>' {
		if pri := int(mantissa(h.text[1 : 1+n])); pri < 192 {
			h.pri, h.i = syslogLevel(pri), n+2
		}
	}
}

// letters takes the formats that begin with a letter for the level: glog's
// "E0102 15:04:05" and Ruby's "E, [2006-01-02T".
func (h *head) letters() level {
	t := h.text[h.i:]
	if len(t) < 8 {
		return noLevel
	}
	glog := digits(t[1:]) == 4 && t[5] == ' ' && digits(t[6:]) == 2
	ruby := t[1] == ',' && t[2] == ' ' && t[3] == '[' && digits(t[4:]) == 4
	if glog && bytes.IndexByte([]byte("DIWEF"), t[0]) >= 0 || ruby && bytes.IndexByte([]byte("DIWEFA"), t[0]) >= 0 {
		return levelLetter(t[0])
	}
	return noLevel
}

// blank passes over blanks and escape sequences.
func (h *head) blank() {
	for h.i < len(h.text) {
		switch c := h.text[h.i]; c {
		case ' ', '\t', '\n':
			h.i++
		case escape:
			h.i += escapeLength(h.text[h.i:])
		default:
			return
		}
	}
}

// token takes what stands at h.i; more says whether a level may yet come.
func (h *head) token() (l level, more bool) {
	switch c := h.text[h.i]; c {
	case '"', '\'', '`':
		return noLevel, false
	case '[', '(', '{', '<':
		return h.bracket()
	case '|':
		h.i++
		h.plain, h.time = true, false
		return noLevel, true
	}
	end := h.i
	for end < len(h.text) && !ends(h.text[end]) {
		end++
	}
	token := h.text[h.i:end]
	if len(token) == 0 { // a closing bracket, a quote
		return noLevel, false
	}
	if at := bytes.IndexByte(token, '='); at > 0 {
		return h.pair(at, end)
	}
	if l, is := h.word(token, end); is {
		return l, false
	}
	h.i = end
	return noLevel, h.passes(token)
}

// ends reports whether a character ends a token of a line's head.
func ends(c byte) bool {
	switch c {
	case ' ', '\t', '\n', '|', '[', '(', ']', ')', '"', escape:
		return true
	}
	return false
}

// word decides about a token that begins with a level's name, or is a letter that
// stands for one; is says whether it does: then there is no message to come.
func (h *head) word(token []byte, end int) (l level, is bool) {
	next := h.text[end:]
	if l := h.letter(token, next); l != noLevel {
		return l, true
	}
	n := 0
	for n < len(token) && isLetter(token[n]) {
		n++
	}
	word := token[:n]
	l = levelNamed(word)
	if l == noLevel {
		// Laravel's production.ERROR:
		if last := len(token) - 1; token[last] == ':' {
			if dot := bytes.LastIndexByte(token, '.'); dot > 0 && capitals(token[dot+1:last]) {
				l = levelNamed(token[dot+1 : last])
				return l, l != noLevel
			}
		}
		return noLevel, false
	}
	if n == len(token) {
		if h.marked(word, next) {
			return l, true
		}
		return noLevel, true
	}
	upper := capitals(word)
	switch token[n] {
	case ':':
		if !upper && ambiguous(word) && l < levelError {
			return noLevel, false // a name
		}
		return l, true
	case '!':
		return l, h.npm || upper
	case ',', ';':
		if upper || h.dated {
			return l, true
		}
	}
	return noLevel, false
}

// marked reports whether what follows a level's name, or how it is written, makes it
// one.
func (h *head) marked(word, next []byte) bool {
	upper := capitals(word)
	next = skipColors(next)
	switch {
	case h.npm:
		return true
	case len(next) == 0:
		return upper && h.plain && !ambiguous(word)
	case next[0] == '|', next[0] == ':' && !ambiguous(word):
		return true
	case next[0] == '[':
		return upper && len(next) > 1 && isDigit(next[1])
	case next[0] == '\t':
		return upper || h.dated || !h.begun
	case next[0] != ' ' || len(next) < 2:
		return upper && h.plain && !ambiguous(word)
	}
	rest := bytes.TrimLeft(next, " ")
	switch {
	case len(rest) == 0:
	case rest[0] == '|':
		return true
	case rest[0] == '-' && len(rest) > 1 && (rest[1] == ' ' || rest[1] == '-'), rest[0] == ':' && len(rest) > 1 && (rest[1] == ' ' || rest[1] == ':'):
		return upper || h.dated
	case next[1] == ' ' && (upper || h.dated || !h.begun):
		return true // a column
	case levelNamed(word) == levelFatal && len(rest) > 6 && bytes.EqualFold(rest[:6], []byte("error:")):
		return true
	case !h.begun && isDated(rest[:tokenEnd(rest)]):
		return true
	}
	return upper && h.plain && !ambiguous(word)
}

// letter decides about a letter that stands for a level: "E! ", "E/Tag(123):" and "E "
// behind a timestamp and before a name.
func (h *head) letter(token, next []byte) level {
	switch {
	case len(token) == 2 && token[1] == '!' && (!h.begun || h.dated):
		return levelLetter(token[0])
	case len(token) > 2 && token[1] == '/' && isLetter(token[2]) && (!h.begun || h.dated) && bytes.IndexByte([]byte("VDIWEF"), token[0]) >= 0 && bytes.IndexByte(h.text, ':') > 0:
		return levelLetter(token[0])
	case len(token) == 1 && h.dated && len(next) > 1 && next[0] == ' ' && isUpper(bytes.TrimLeft(next, " ")) && bytes.IndexByte([]byte("VDIWEF"), token[0]) >= 0:
		return levelLetter(token[0])
	case len(token) == 1 && h.redis && h.dated:
		switch token[0] {
		case '.', '-':
			return levelDebug
		case '*':
			return levelInfo
		case '#':
			return levelWarn
		}
	}
	return noLevel
}

// passes reports whether a token is none of a message's words, and notes what it is.
func (h *head) passes(token []byte) bool {
	after := h.time
	h.time = false
	last := token[len(token)-1]
	next := h.text[h.i:]
	isTag := last == ':' && isName(token[:len(token)-1])
	switch {
	case punctuation(token):
		h.time = after && len(token) == 1
		return true
	case !h.begun && string(token) == "npm":
		h.npm = true
		return true
	case !h.begun && string(token) == "PHP":
		return true
	case !h.begun && len(token) > 2 && token[len(token)-2] == ':' && digits(token) == len(token)-2:
		h.redis = true
		return true
	case isTag && !h.dated || isTag && !hasDigit(token):
		h.tags++
		h.plain = false
		return h.tags <= maxTags
	case hasDigit(token):
		if isDated(token) {
			h.dated, h.plain = true, true
		} else if !h.begun {
			h.plain = false
		}
		h.time = true
		if h.syslog > 0 {
			h.syslog++
		}
		return true
	case calendar(token):
		if h.syslog = 0; !h.begun && len(token) == 3 {
			h.syslog = 1
		}
		h.time = true
		return true
	case h.syslog == 3:
		h.syslog = 0 // the host
		return true
	case after && len(token) <= 5 && capitals(token): // a time zone
		return true
	}
	rest := bytes.TrimLeft(next, " ")
	switch {
	case len(next) > 0 && next[0] == '[' && isTagged(next): // a program, with its process
		h.tags++
		h.i += bytes.IndexByte(next, ':') + 1
		h.plain = true
		return h.tags <= maxTags
	case len(rest) > 0 && rest[0] == '|' && isName(token),
		h.dated && len(rest) > 1 && rest[0] == '-' && rest[1] == ' ' && isName(token),
		h.dated && bytes.IndexAny(token, ".@/$:") > 0 && isName(token) && last != '.':
		h.tags++
		return h.tags <= maxTags+1
	}
	if h.dated && h.tags == 0 && isName(token) { // a host before a program
		if n := tokenEnd(rest); n > 0 && n < len(rest) && rest[n] == '[' && isTagged(rest[n:]) {
			return true
		}
	}
	return false
}

// pair takes key=value.
func (h *head) pair(at, end int) (level, bool) {
	key, value := h.text[h.i:h.i+at], h.text[h.i+at+1:end]
	if len(value) == 0 && end < len(h.text) && h.text[end] == '"' {
		n, _ := quoted(h.text, end+1)
		if n < 0 {
			return noLevel, false
		}
		value, end = h.text[end+1:n-1], n
	}
	h.i = end
	h.time = false
	if k := levelKeyOf(key); k == namedKey || k == otelKey || k == pythonKey {
		if l := levelValue(k, value); l != noLevel {
			return l, false
		}
	}
	return noLevel, true
}

// bracket takes what stands in brackets.
func (h *head) bracket() (level, bool) {
	depth := 0
	for end := h.i; end < len(h.text); end++ {
		switch h.text[end] {
		case '[', '(', '{', '<':
			depth++
			continue
		case ']', ')', '}', '>':
			depth--
		default:
			continue
		}
		if depth > 0 {
			continue
		}
		inside := bytes.Trim(h.text[h.i+1:end], " ")
		h.i = end + 1
		h.time = false
		l, dated := bracketLevel(inside)
		if string(inside) == "System" && bytes.HasPrefix(h.text[h.i:], []byte(" [MY-")) {
			l = levelInfo // as MySQL calls it
		}
		h.dated = h.dated || dated
		h.plain = true
		if h.i < len(h.text) && h.text[h.i] == ':' {
			h.i++
		}
		return l, true
	}
	return noLevel, false
}

// bracketLevel returns the level that brackets hold, and whether they hold a timestamp.
func bracketLevel(inside []byte) (l level, dated bool) {
	inside = withoutColors(inside)
	if len(inside) == 0 {
		return noLevel, false
	}
	if len(inside) == 1 || inside[1] == ' ' && len(inside) > 2 && isDigit(inside[2]) {
		return levelLetter(inside[0]), false
	}
	for first := true; len(inside) > 0; first = false {
		token := inside[:tokenEnd(inside)]
		if len(token) == 0 {
			break
		}
		inside = inside[len(token):]
		rest := bytes.TrimLeft(inside, " ")
		n := 0
		for n < len(token) && isLetter(token[n]) {
			n++
		}
		word := token[:n]
		if l := levelNamed(word); l != noLevel && (capitals(word) || !ambiguous(word) || string(word) == "Note") {
			switch {
			case n < len(token):
				if bytes.IndexByte([]byte(":/|,"), token[n]) >= 0 {
					return l, dated
				}
			case len(rest) == 0:
				if first || dated || capitals(word) {
					return l, dated
				}
			case first && isDigit(rest[0]), dated && capitals(word):
				return l, dated
			}
			return noLevel, dated
		}
		if first && len(rest) == 0 {
			// Apache's php:error
			if at := bytes.LastIndexByte(token, ':'); at > 0 && isLetter(token[0]) {
				if word := token[at+1:]; !ambiguous(word) {
					return levelNamed(word), false
				}
			}
		}
		switch {
		case hasDigit(token):
			dated = dated || isDated(token)
		case punctuation(token), calendar(token), dated && capitals(token) && len(token) <= 5:
		default:
			return noLevel, dated
		}
		inside = rest
	}
	return noLevel, dated
}

// ambiguous reports whether a level's name is as often another word.
func ambiguous(word []byte) bool {
	switch levelNamed(word) {
	case levelTrace:
		return bytes.EqualFold(word, []byte("silly")) || word[0]|0x20 == 'f' // finer, finest
	case levelDebug:
		return bytes.EqualFold(word, []byte("fine")) || bytes.EqualFold(word, []byte("config"))
	case levelInfo:
		return bytes.EqualFold(word, []byte("log")) || bytes.EqualFold(word, []byte("note")) || bytes.EqualFold(word, []byte("success"))
	case levelError:
		return len(word) == 4 && word[0]|0x20 == 'f' // fail
	}
	return false
}
