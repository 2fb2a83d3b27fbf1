package shape

// logfmtPatience is how many pairs are read before one has to be known.
const logfmtPatience = 6

// logfmt scans the line as logfmt, whose pairs begin at i. It is false where the line
// is none.
func (s *scanner) logfmt(line []byte, i int) bool {
	line = line[:min(len(line), Reach)]
	var r record
	if !r.readLogfmt(line, i) {
		return false
	}
	r.nstatuses = min(r.nstatuses, 1) // fp1 counts the first alone
	s.record(line, &r)
	return true
}

// readLogfmt reads the pairs from line[i] on: key=value and key="value". It is false
// where no message is among them.
func (r *record) readLogfmt(line []byte, i int) bool {
	seen := false
	for pairs := 0; i < len(line); {
		i = skipSpace(line, i)
		key := span{i, i}
		for i < len(line) && line[i] != '=' && line[i] != '"' && !is(line[i], space) {
			i++
		}
		if i == len(line) || line[i] != '=' { // a word without a value
			if pairs == 0 {
				return false
			}
			if i < len(line) && line[i] == '"' {
				i++
			}
			continue
		}
		key.b = i
		pairs++
		i++
		v := span{i, i}
		if i < len(line) && line[i] == '"' {
			v = span{i + 1, stringEnd(line, i+1)}
			i = v.b + 1
		} else {
			for i < len(line) && !is(line[i], space) {
				i++
			}
			v.b = i
		}
		f := known(key.of(line))
		if f == template {
			f = message
		}
		if f != other {
			seen = true
			r.add(f, v)
		}
		if pairs >= logfmtPatience && !seen {
			return false
		}
	}
	return r.message().b > 0
}
