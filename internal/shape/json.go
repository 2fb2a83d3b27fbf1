package shape

// json scans the line as JSON, whose object begins at i. It is false where the line
// is none.
func (s *scanner) json(line []byte, i int) bool {
	line = line[:min(len(line), Reach)]
	var r record
	if !r.readJSON(line, i) {
		return false
	}
	s.record(line, &r)
	return true
}

// readJSON reads the object that begins at line[i], as far as it is there. It is false
// where that is no object, or an empty one.
func (r *record) readJSON(line []byte, i int) bool {
	inError := false
	for i++; ; {
		i = skipSpace(line, i)
		if i >= len(line) {
			return r.nkeys > 0
		}
		switch line[i] {
		case ',':
			i++
			continue
		case '}':
			if !inError {
				return r.nkeys > 0
			}
			inError = false
			i++
			continue
		case '"':
		default:
			return false
		}
		key := span{i + 1, stringEnd(line, i+1)}
		i = skipSpace(line, key.b+1)
		if i < len(line) && line[i] != ':' {
			return false
		}
		i = skipSpace(line, i+1)
		if i >= len(line) {
			return r.nkeys > 0
		}
		f := known(key.of(line))
		if inError {
			f = knownOfError(key.of(line))
		} else if r.nkeys < len(r.keys) {
			r.keys[r.nkeys] = key
			r.nkeys++
		}
		if f == failure && line[i] == '{' && !inError {
			inError = true
			i++
			continue
		}
		i = r.readValue(line, i, f)
	}
}

// readValue takes the value of a field at line[i], and returns where it ends.
func (r *record) readValue(line []byte, i int, f field) int {
	switch line[i] {
	case '{', '[':
		return nestedEnd(line, i)
	case '"':
		v := span{i + 1, stringEnd(line, i+1)}
		if f != other {
			r.add(f, v)
		}
		return v.b + 1
	}
	v := span{i, i}
	for v.b < len(line) && line[v.b] != ',' && line[v.b] != '}' && !is(line[v.b], space) {
		v.b++
	}
	if f == level || f == status {
		r.add(f, v)
	}
	return v.b
}

// stringEnd returns where the string ends that begins at line[i], behind its quote.
func stringEnd(line []byte, i int) int {
	for ; i < len(line) && line[i] != '"'; i++ {
		if line[i] == '\\' {
			i++
		}
	}
	return min(i, len(line))
}

// nestedEnd returns where the object or array ends that begins at line[i].
func nestedEnd(line []byte, i int) int {
	for depth := 0; i < len(line); i++ {
		switch line[i] {
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return i + 1
			}
		case '"':
			i = stringEnd(line, i+1)
		}
	}
	return len(line)
}
