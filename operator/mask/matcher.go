package main

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
)

const replacement = "*****"

// stride is how far the search steps: a value covers two pairs of bytes, one after the other, at one of so many places
// in a row, and most pairs are in no value.
const stride = 8

// known says what is known of the patterns in which a pair of bytes stands.
type known byte

const (
	covered  known = 1 << iota // it may stand among a pattern's first, at one of `stride` places
	byStarts                   // patterns begin with it whose first four bytes are in `starts`
	anyStart                   // others begin with it too: escapes are of all lengths
)

// A matcher finds values in what a command prints. It is never changed, so that all streams may share it.
type matcher struct {
	patterns [256][]pattern // by each byte that they may begin with
	pairs    [1 << 16]known // what is known of two bytes in a row
	starts   [1 << 16]bool  // by `hash`: whether a pattern may begin with these four, none of them escaped
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

// with returns a matcher that finds one value more.
func (m *matcher) with(value string) *matcher {
	more := *m
	for i := range more.patterns {
		more.patterns[i] = slices.Clip(more.patterns[i]) // not shared with what is added to another
	}
	for _, p := range patternsOf(value) {
		more.add(p)
	}
	return &more
}

func (m *matcher) add(p pattern) {
	for _, first := range p.firsts(0) {
		m.patterns[first] = append(m.patterns[first], p)
	}
	m.start(p)
	for i := range min(stride+1, len(p.text)) {
		for _, both := range escapes[p.text[i]]() {
			m.pairs[both] |= covered
			if i == 0 && strings.IndexByte(escaping, byte(both>>8)) >= 0 {
				m.pairs[both] |= anyStart
			}
		}
		m.join(p.lasts(i), p.firsts(i+1))
		if i+1 >= unbroken && i+1 < len(p.text) {
			m.join(p.lasts(i), []byte(foldFirsts))
			m.join([]byte(foldLasts), p.firsts(i+1))
		}
	}
	if len(p.text) > unbroken {
		for _, both := range foldPairs() {
			m.pairs[both] |= covered
		}
	}
	if len(p.text) < wide {
		m.striding = false
	}
}

// start notes what the pattern begins with.
func (m *matcher) start(p pattern) {
	texts := [][]byte{nil}
	for i := 0; i < unbroken && texts != nil; i++ {
		if i >= len(p.text) || escapable(p.text[i]) {
			texts = nil
			break
		}
		var longer [][]byte
		for _, text := range texts {
			for _, next := range p.firsts(i) {
				longer = append(longer, append(bytes.Clone(text), next))
			}
		}
		texts = longer
	}
	for _, text := range texts {
		m.starts[hash(text, 0)] = true
	}
	for _, first := range p.firsts(0) {
		for _, second := range p.firsts(1) {
			both := uint16(first)<<8 | uint16(second)
			if texts == nil {
				m.pairs[both] |= anyStart
			} else {
				m.pairs[both] |= byStarts
			}
		}
	}
}

// hash tells four bytes apart from most others.
func hash(data []byte, at int) uint16 {
	return uint16(binary.LittleEndian.Uint32(data[at:]) * 2654435761 >> 16)
}

// join notes that each of the first bytes may be followed by each of the others.
func (m *matcher) join(lasts, firsts []byte) {
	for _, last := range lasts {
		for _, first := range firsts {
			m.pairs[uint16(last)<<8|uint16(first)] |= covered
		}
	}
}

// mask appends to out what can be said of data: every value replaced, of those that begin at the same place the
// longest, everything else as it is. The rest that it answers may be the beginning of a value: it belongs in front of
// what is read next. With end nothing comes next, and there is no rest.
func (m *matcher) mask(out, data []byte, end bool) (masked, rest []byte) {
	kept := 0 // where what is not appended yet begins
	for at := m.candidate(data, 0); at < len(data); {
		length, open := m.longest(data, kept, at)
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
	for m.striding && at+stride+1 < len(data) {
		// Whatever begins before at+stride covers the pair in front of it and the next one.
		if m.pairs[pair(data, at+stride-1)]&covered == 0 || m.pairs[pair(data, at+stride)]&covered == 0 {
			at += stride
			continue
		}
		for end := at + stride; at < end; at++ {
			if m.mayBegin(data, at) {
				return at
			}
		}
	}
	for ; at < last; at++ {
		if m.mayBegin(data, at) {
			return at
		}
	}
	if at == last && len(m.patterns[data[at]]) > 0 {
		return at
	}
	return len(data)
}

// mayBegin tells whether a value may begin with what stands there, two bytes at least.
func (m *matcher) mayBegin(data []byte, at int) bool {
	here := m.pairs[pair(data, at)] &^ covered
	return here != 0 && (here&anyStart != 0 || at+unbroken > len(data) || m.starts[hash(data, at)])
}

func pair(data []byte, at int) int {
	return int(data[at])<<8 | int(data[at+1])
}

// longest returns the length of the longest value that begins at `at`, 0 for none, and whether what follows may make a
// longer one. What begins between `kept` and there was looked at already.
func (m *matcher) longest(data []byte, kept, at int) (length int, open bool) {
	var before, first uint32
	if at >= unbroken && at >= kept+unbroken-1 {
		before = binary.LittleEndian.Uint32(data[at-unbroken:]) &^ 0xff
	}
	data = data[at:]
	if len(data) >= unbroken {
		first = binary.LittleEndian.Uint32(data)
	}
	patterns := m.patterns[data[0]]
	for i := range patterns {
		p := &patterns[i]
		// With its head it would have been found, and was not.
		if p.four != 0 && first != 0 && first != p.four || p.head != 0 && p.head == before {
			continue
		}
		n, unfinished := p.read(data)
		length = max(length, n)
		open = open || unfinished
	}
	return length, open
}
