package main

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math/bits"
)

// A pattern is a value that must not be printed, either as it is or in base64.
type pattern struct {
	text []byte
	// base64 allows the other alphabet's `-` and `_`, and lines as long as programs break them.
	base64 bool
	// padding is how many `=` may follow.
	padding int
}

// patternsOf returns all that is looked for because of one value.
func patternsOf(value string) []pattern {
	encoded := base64.StdEncoding.EncodeToString([]byte(value))
	text := bytes.TrimRight([]byte(encoded), "=")
	return []pattern{
		{text: []byte(value)},
		{text: text, base64: true, padding: len(encoded) - len(text)},
	}
}

// read reads the pattern from the beginning of data. It answers how many bytes it takes there, 0 if it is not there,
// and whether data ends too early to know: then what follows may complete or lengthen it.
func (p *pattern) read(data []byte) (length int, open bool) {
	at := 0
	for i := 0; i < len(p.text); {
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
	for range p.padding {
		n := readCharacter('=', data[at:])
		if n <= 0 {
			return at, n < 0
		}
		at += n
	}
	return at, false
}

const tooShort = -1

// readOtherwise reads the character i where it does not stand by itself: escaped, on the next line, or of the other
// alphabet. It answers the number of bytes, 0 if it is not there, or tooShort.
func (p *pattern) readOtherwise(i int, data []byte) int {
	if !p.base64 {
		return readCharacter(p.text[i], data)
	}
	lineBreak := 0
	if endsLine(i) {
		lineBreak = readLineBreak(data)
		if lineBreak == tooShort {
			return tooShort
		}
	}
	n := readCharacter(p.text[i], data[lineBreak:])
	if other := otherAlphabet(p.text[i]); n == 0 && other != 0 && data[lineBreak] == other {
		n = 1
	}
	if n <= 0 {
		return n
	}
	return lineBreak + n
}

// forms returns all that the character i may be read as, but for line breaks.
func (p *pattern) forms(i int) []string {
	character := p.text[i]
	found := []string{string(p.text[i : i+1])}
	if other := otherAlphabet(character); p.base64 && other != 0 {
		found = append(found, string(rune(other)))
	}
	if !escapable(character) {
		return found
	}
	if escapedBySlash(character) {
		found = append(found, "\\"+string(rune(character)))
	}
	for _, prefix := range []string{urlEscape, jsonEscape} {
		for _, format := range []string{"%02x", "%02X"} {
			found = append(found, prefix+fmt.Sprintf(format, character))
		}
	}
	return found
}

// beginnings returns the bytes that the character i may begin with: any, where the pattern has ended.
func (p *pattern) beginnings(i int) map[byte]bool {
	found := map[byte]bool{}
	if i == len(p.text) {
		for any := range 256 {
			found[byte(any)] = true
		}
		return found
	}
	for _, form := range p.forms(i) {
		found[form[0]] = true
	}
	return found
}

// common returns how many bytes two texts have in common at their beginning.
func common(a, b []byte) int {
	n := min(len(a), len(b))
	i := 0
	for ; i+8 <= n; i += 8 {
		if differ := binary.LittleEndian.Uint64(a[i:]) ^ binary.LittleEndian.Uint64(b[i:]); differ != 0 {
			return i + bits.TrailingZeros64(differ)/8
		}
	}
	for i < n && a[i] == b[i] {
		i++
	}
	return i
}

// endsLine tells whether base64 is broken before the character i: after 76 in MIME and by base64(1), after 64 in PEM
// and by OpenSSL.
func endsLine(i int) bool {
	return i > 0 && (i%76 == 0 || i%64 == 0)
}

func readLineBreak(data []byte) int {
	switch {
	case len(data) == 0:
		return tooShort
	case data[0] == '\n':
		return 1
	case data[0] != '\r':
		return 0
	case len(data) == 1:
		return tooShort
	case data[1] == '\n':
		return 2
	}
	return 0
}

func otherAlphabet(character byte) byte {
	switch character {
	case '+':
		return '-'
	case '/':
		return '_'
	}
	return 0
}

// What stands before a character's two hexadecimal digits.
const (
	urlEscape  = "%"
	jsonEscape = `\u00`
)

// escapedBySlash tells whether JSON may have a backslash in front of the character.
func escapedBySlash(character byte) bool {
	return character == '/' || character == '"'
}

// escapable tells whether encoders of URLs or JSON may write the character in another way. Letters and digits they
// leave alone, and what begins an escape itself is in no value of AWS's.
func escapable(character byte) bool {
	switch {
	case 'a' <= character && character <= 'z', 'A' <= character && character <= 'Z', '0' <= character && character <= '9':
		return false
	}
	return character != '\\' && character != '%'
}

// readCharacter reads one character, plain (`/`), URL-escaped (`%2F`) or JSON-escaped (`\/`, `\u002f`). It answers the
// number of bytes, 0 if it is not there, or tooShort.
func readCharacter(character byte, data []byte) int {
	if len(data) == 0 {
		return tooShort
	}
	if data[0] == character {
		return 1
	}
	if !escapable(character) {
		return 0
	}
	switch data[0] {
	case '%':
		return readEscape(urlEscape, character, data)
	case '\\':
		if len(data) > 1 && data[1] == character && escapedBySlash(character) {
			return 2
		}
		return readEscape(jsonEscape, character, data)
	}
	return 0
}

// readEscape reads prefix and the character's two hexadecimal digits, in either case.
func readEscape(prefix string, character byte, data []byte) int {
	const digits = "0123456789abcdef"
	for i := range len(prefix) + 2 {
		if i == len(data) {
			return tooShort
		}
		switch {
		case i < len(prefix) && data[i] != prefix[i],
			i == len(prefix) && lower(data[i]) != digits[character>>4],
			i == len(prefix)+1 && lower(data[i]) != digits[character&15]:
			return 0
		}
	}
	return len(prefix) + 2
}

func lower(digit byte) byte {
	if 'A' <= digit && digit <= 'F' {
		return digit + 'a' - 'A'
	}
	return digit
}
