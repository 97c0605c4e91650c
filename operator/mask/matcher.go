package main

const replacement = "*****"

// stride is how far the search steps: a value covers the pair of bytes at one of so many places in a row, and most
// pairs are in no value.
const stride = 8

// A matcher finds values in what a command prints. It is never changed, so that all streams may share it.
type matcher struct {
	patterns [256][]pattern // by each byte that they may begin with
	begins   [1 << 16]bool  // whether a pattern may begin with these two bytes
	covers   [1 << 16]bool  // whether these two may stand among a pattern's first, at one of `stride` places
	striding bool           // no pattern is too short for it
}

func newMatcher(values []string) *matcher {
	m := &matcher{striding: true}
	for _, value := range values {
		for _, p := range patternsOf(value) {
			m.add(p)
		}
	}
	return m
}

func (m *matcher) add(p pattern) {
	for first := range p.beginnings(0) {
		m.patterns[first] = append(m.patterns[first], p)
	}
	for i := range min(stride, len(p.text)) {
		for _, form := range p.forms(i) {
			for next := range p.beginnings(i + 1) {
				text := append([]byte(form), next)
				m.cover(text)
				if i == 0 {
					m.begins[pair(text, 0)] = true
				}
			}
		}
	}
	for i := unbroken; i <= min(stride, len(p.text)-1); i++ {
		for _, form := range p.forms(i - 1) {
			for _, fold := range folds {
				for next := range p.beginnings(i) {
					m.cover([]byte(form[len(form)-1:] + fold + string([]byte{next})))
				}
			}
		}
	}
	if len(p.text) < stride {
		m.striding = false
	}
}

func (m *matcher) cover(text []byte) {
	for at := range len(text) - 1 {
		m.covers[pair(text, at)] = true
	}
}

// mask appends to out what can be said of data: every value replaced, of those that begin at the same place the
// longest, everything else as it is. The rest that it answers may be the beginning of a value: it belongs in front of
// what is read next. With end nothing comes next, and there is no rest.
func (m *matcher) mask(out, data []byte, end bool) (masked, rest []byte) {
	kept := 0 // where what is not appended yet begins
	for at := m.candidate(data, 0); at < len(data); {
		length, open := m.longest(data[at:])
		if open && !end {
			return append(out, data[kept:at]...), data[at:]
		}
		if length == 0 {
			at = m.candidate(data, at+1)
			continue
		}
		out = append(out, data[kept:at]...)
		out = append(out, replacement...)
		kept = at + length
		at = m.candidate(data, kept)
	}
	return append(out, data[kept:]...), nil
}

// candidate returns the first place from `from` on where a value may begin, len(data) if there is none.
func (m *matcher) candidate(data []byte, from int) int {
	at, last := from, len(data)-1
	for m.striding && at+stride < len(data) {
		// Whatever begins before at+stride covers the pair in front of it.
		if m.covers[pair(data, at+stride-1)] {
			for end := at + stride; at < end; at++ {
				if m.begins[pair(data, at)] {
					return at
				}
			}
			continue
		}
		at += stride
	}
	for ; at < last; at++ {
		if m.begins[pair(data, at)] {
			return at
		}
	}
	if at == last && len(m.patterns[data[at]]) > 0 {
		return at
	}
	return len(data)
}

func pair(data []byte, at int) int {
	return int(data[at])<<8 | int(data[at+1])
}

// longest returns the length of the longest value at the beginning of data, 0 for none, and whether what follows may
// make a longer one.
func (m *matcher) longest(data []byte) (length int, open bool) {
	patterns := m.patterns[data[0]]
	for i := range patterns {
		n, unfinished := patterns[i].read(data)
		length = max(length, n)
		open = open || unfinished
	}
	return length, open
}
