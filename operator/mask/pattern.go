package main

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"html"
	"math/bits"
	"net/url"
	"slices"
	"strings"
)

const (
	// shortest is how long what is looked for must be, in characters, where it is not the value itself.
	shortest = 8

	// unbroken is how many characters stand on a line before a value may be folded. A line that ends with fewer of a
	// value's characters is passed on at once.
	unbroken = 4

	// wide is how long all patterns have to be for the search to step over what begins nothing.
	wide = stride + 2
)

// A pattern is one way in which a value that must not be printed is written.
type pattern struct {
	// head is what of the value stands before the text, three bytes in the upper part; 0 for nothing.
	head uint32
	text []byte
	// tail may follow, as far as it goes: the padding, and base64's last character, which depends on what comes next.
	tail []byte
	code code
	// four are the first bytes of the text if they can be written in one way only, else 0.
	four uint32
}

// A code says which other characters may stand for those of a pattern.
type code int

const (
	plain       code = iota
	inBase64         // the other alphabet's `-` and `_`
	hexadecimal      // digits in the other case
)

// patternsOf returns all that is looked for because of one value, which has no line break.
func patternsOf(value string) []pattern {
	var found []pattern
	for _, text := range spelled(value) {
		stripped := strings.TrimRight(text, "=")
		if len(stripped) < shortest {
			stripped = text
		}
		found = append(found, pattern{text: []byte(stripped), tail: []byte(text[len(stripped):])})
	}
	for before := range 3 {
		if p := within64(value, before); before == 0 || len(p.text) >= shortest {
			found = append(found, p)
		}
	}
	if len(value)*2 >= shortest {
		found = append(found, pattern{text: []byte(hex.EncodeToString([]byte(value))), code: hexadecimal})
	}
	// Folded after less than `unbroken` characters, the rest is found by itself.
	for _, p := range slices.Clone(found) {
		if len(p.text) >= wide+unbroken-1 {
			found = append(found, pattern{head: binary.LittleEndian.Uint32(p.text) << 8, text: p.text[unbroken-1:], tail: p.tail, code: p.code})
		}
	}
	for i := range found {
		found[i].four = found[i].onlyFour()
	}
	return found
}

// onlyFour returns a pattern's first four bytes if they can be written in one way only, else 0.
func (p *pattern) onlyFour() uint32 {
	if len(p.text) < unbroken {
		return 0
	}
	for _, character := range p.text[:unbroken] {
		if escapable(character) || p.other(character) != character {
			return 0
		}
	}
	return binary.LittleEndian.Uint32(p.text)
}

// spelled returns the value and, where it holds what begins an escape itself, how encoders write it.
func spelled(value string) []string {
	found := []string{value}
	special := func(r rune) bool { return r < ' ' || r > '~' || strings.ContainsRune(`\%&`, r) }
	if strings.IndexFunc(value, special) < 0 {
		return found
	}
	for _, other := range []string{
		inJSON(value, false), inJSON(value, true), url.QueryEscape(value), url.PathEscape(value), html.EscapeString(value),
	} {
		if !slices.Contains(found, other) {
			found = append(found, other)
		}
	}
	return found
}

// inJSON returns a value as it stands between quotation marks, with or without `&`, `<` and `>` escaped for web pages.
func inJSON(value string, forPages bool) string {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(forPages)
	_ = encoder.Encode(value) // a string always can be
	return strings.TrimSuffix(strings.TrimPrefix(text.String(), `"`), "\"\n")
}

// within64 returns what a value looks like in something that is in base64 and has so many bytes before it, modulo 3:
// the characters that depend on the value alone.
func within64(value string, before int) pattern {
	encoded := base64.StdEncoding.EncodeToString(append(make([]byte, before), value...))
	from, to := (8*before+5)/6, 8*(before+len(value))/6
	return pattern{text: []byte(encoded[from:max(from, to)]), tail: []byte(encoded[max(from, to):]), code: inBase64}
}

// read reads the pattern from the beginning of data. It answers how many bytes it takes there, 0 if it is not there,
// and whether data ends too early to know: then what follows may complete or lengthen it.
func (p *pattern) read(data []byte) (length int, open bool) {
	at := 0
	if n := len(p.text); n <= len(data) && data[n-1] == p.text[n-1] && string(data[:n]) == string(p.text) {
		at = n // as it is, which is most likely
	}
	for i := at; i < len(p.text); {
		if n := common(p.text[i:], data[at:]); n > 0 {
			i, at = i+n, at+n
			continue
		}
		n := p.readOtherwise(i, data[at:])
		if n <= 0 {
			return 0, n < 0
		}
		i, at = i+1, at+n
	}
	for _, character := range p.tail {
		n := p.readCharacter(character, data[at:])
		if n <= 0 {
			return at, n < 0
		}
		at += n
	}
	return at, false
}

// readOtherwise reads the character i where it does not stand by itself: on the next line, or written otherwise. It
// answers the number of bytes, 0 if it is not there, or tooShort.
func (p *pattern) readOtherwise(i int, data []byte) int {
	if len(data) > 0 && !special[data[0]] && data[0] != p.other(p.text[i]) {
		return 0
	}
	fold := 0
	if i >= unbroken && mayFollowFold(p.text[i]) {
		fold = readFold(data)
		if fold == tooShort {
			return tooShort
		}
	}
	n := p.readCharacter(p.text[i], data[fold:])
	if n <= 0 {
		return n
	}
	return fold + n
}

// special are the bytes that escapes and line breaks begin with.
var special = func() (found [256]bool) {
	for _, first := range []byte(escaping + foldFirsts) {
		found[first] = true
	}
	return found
}()

// readCharacter reads one character in any way that the pattern allows.
func (p *pattern) readCharacter(character byte, data []byte) int {
	if len(data) > 0 && data[0] == p.other(character) {
		return 1
	}
	return readEscaped(character, data)
}

// other returns the character that may stand for this one, itself if there is none.
func (p *pattern) other(character byte) byte {
	switch {
	case p.code == inBase64 && character == '+':
		return '-'
	case p.code == inBase64 && character == '/':
		return '_'
	case p.code == hexadecimal && 'a' <= character && character <= 'f':
		return character - 'a' + 'A'
	}
	return character
}

// firsts returns the bytes that the character i may begin with, each once: any, where the pattern has ended.
func (p *pattern) firsts(i int) []byte {
	if i == len(p.text) {
		return anyByte
	}
	found := []byte{p.text[i], p.other(p.text[i])}
	if escapable(p.text[i]) {
		found = append(found, escaping...)
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// lasts returns the bytes that the character i may end with.
func (p *pattern) lasts(i int) []byte {
	found := []byte{p.text[i], p.other(p.text[i])}
	if escapable(p.text[i]) {
		digits := digitsOf(p.text[i])
		found = append(found, ';', digits[0][1], digits[1][1])
	}
	return found
}

var anyByte = func() []byte {
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	return all
}()

// common returns how many bytes two texts have in common at their beginning.
func common(a, b []byte) int {
	n := min(len(a), len(b))
	a, b = a[:n], b[:n]
	i := 0
	for i+64 <= n && string(a[i:i+64]) == string(b[i:i+64]) { // by the machine's own comparison
		i += 64
	}
	for ; i+8 <= n; i += 8 {
		if differ := binary.LittleEndian.Uint64(a[i:i+8]) ^ binary.LittleEndian.Uint64(b[i:i+8]); differ != 0 {
			return i + bits.TrailingZeros64(differ)/8
		}
	}
	for i < n && a[i] == b[i] {
		i++
	}
	return i
}
