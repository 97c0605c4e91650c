package main

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Encodings are written into one another: JSON in JSON doubles each backslash, a URL in a URL each percent sign.
const (
	mostBackslashes = 15 // four times in one another
	mostPercents    = 3  // further times
	mostAmpersands  = 2  // further times
	mostZeros       = 4
	mostIndentation = 40
)

const tooShort = -1

var named = map[byte]string{'+': "plus", '/': "sol", '=': "equals", '"': "quot", '\'': "apos", '<': "lt", '>': "gt"}

// escapable tells whether encoders may write the character in another way. Letters and digits they leave alone, and
// what begins an escape itself is never escaped here: it stands in `spelled` as encoders write it.
func escapable(character byte) bool {
	switch {
	case 'a' <= character && character <= 'z', 'A' <= character && character <= 'Z', '0' <= character && character <= '9':
		return false
	}
	return character != '\\' && character != '%' && character != '&'
}

// escapedBySlash tells whether JSON may have a backslash in front of the character.
func escapedBySlash(character byte) bool {
	return character == '/' || character == '"'
}

// spellings returns writings of a character that have among them every pair of bytes of any.
func spellings(character byte) []string {
	found := []string{string([]byte{character})}
	if !escapable(character) {
		return found
	}
	for _, slashes := range []string{`\`, `\\`} {
		if escapedBySlash(character) {
			found = append(found, slashes+string([]byte{character}))
		}
		for _, digits := range digitsOf(character) {
			found = append(found, slashes+"u00"+digits, slashes+"x"+digits)
		}
	}
	for _, digits := range digitsOf(character) {
		found = append(found, "%"+digits, "%25"+digits, "%2525"+digits)
	}
	for _, start := range []string{"&", "&amp;", "&amp;amp;"} {
		for _, number := range numbersOf(character) {
			for _, zeros := range []string{"", "0", "00"} {
				found = append(found, start+"#"+number[:len(number)-len(strings.TrimLeft(number, "xX"))]+zeros+strings.TrimLeft(number, "xX")+";")
			}
		}
		if name := named[character]; name != "" {
			found = append(found, start+name+";")
		}
	}
	return found
}

// escaping are the bytes that escapes begin with.
const escaping = `\%&`

// escapes are the pairs of bytes in a character's escapes.
var escapes = func() (all [256]func() []uint16) {
	for character := range all {
		all[character] = sync.OnceValue(func() []uint16 { return pairsOf(spellings(byte(character))) })
	}
	return all
}()

// foldPairs are those in line breaks; foldFirsts and foldLasts what these begin and end with.
var foldPairs = sync.OnceValue(func() []uint16 { return pairsOf(folds) })

const (
	foldFirsts = "\n\r\\=%"
	foldLasts  = "\n \tnaA"
)

func pairsOf(texts []string) []uint16 {
	var found []uint16
	for _, text := range texts {
		for at := range len(text) - 1 {
			found = append(found, uint16(text[at])<<8|uint16(text[at+1]))
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// digitsOf returns a character's two hexadecimal digits, in each case.
func digitsOf(character byte) []string {
	lower := fmt.Sprintf("%02x", character)
	upper := strings.ToUpper(lower)
	return []string{lower, upper, lower[:1] + upper[1:], upper[:1] + lower[1:]}
}

// numbersOf returns the numbers of HTML's `&#43;` and `&#x2B;`.
func numbersOf(character byte) []string {
	lower := fmt.Sprintf("%x", character)
	upper := strings.ToUpper(lower)
	found := []string{strconv.Itoa(int(character))}
	for _, x := range []string{"x", "X"} {
		found = append(found, x+lower, x+upper, x+lower[:1]+upper[1:], x+upper[:1]+lower[1:])
	}
	return found
}

// readEscaped reads one character, by itself or escaped. It answers the number of bytes, 0 if it is not there, or
// tooShort.
func readEscaped(character byte, data []byte) int {
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
		return readPercent(character, data)
	case '\\':
		return readBackslash(character, data)
	case '&':
		return readEntity(character, data)
	}
	return 0
}

// A cursor reads an escape piece by piece. Once something else stands there, or the data have ended, it reads no more.
type cursor struct {
	data []byte
	at   int
	end  int // 0, or what the answer is: tooShort, or that it is not there
}

const notThere = -2

// answer returns how many bytes were read, 0 if it is something else, or tooShort.
func (c *cursor) answer() int {
	switch c.end {
	case 0:
		return c.at
	case tooShort:
		return tooShort
	}
	return 0
}

// peek returns the next byte, and whether there is one.
func (c *cursor) peek() (byte, bool) {
	if c.end == 0 && c.at == len(c.data) {
		c.end = tooShort
	}
	if c.end != 0 {
		return 0, false
	}
	return c.data[c.at], true
}

// one reads one byte that must be among these.
func (c *cursor) one(allowed string) {
	if next, ok := c.peek(); ok {
		if strings.IndexByte(allowed, next) < 0 {
			c.end = notThere
			return
		}
		c.at++
	}
}

// all reads a text, its letters in any case if they are hexadecimal digits.
func (c *cursor) all(text string, anyCase bool) {
	for i := range len(text) {
		if anyCase {
			c.one(strings.ToLower(text[i:i+1]) + strings.ToUpper(text[i:i+1]))
		} else {
			c.one(text[i : i+1])
		}
	}
}

// run reads a byte as often as it stands there, up to so many times.
func (c *cursor) run(allowed string, most int) {
	for range most {
		next, ok := c.peek()
		if !ok || strings.IndexByte(allowed, next) < 0 {
			return
		}
		c.at++
	}
}

// repeat reads a text again and again as long as it goes on, up to so many times. What begins like it must be it.
func (c *cursor) repeat(text string, most int) {
	for range most {
		if next, ok := c.peek(); !ok || next != text[0] {
			return
		}
		rest := c.data[c.at:]
		if len(rest) < len(text) && bytes.HasPrefix([]byte(text), rest) {
			c.end = tooShort
			return
		}
		if !bytes.HasPrefix(rest, []byte(text)) {
			return
		}
		c.at += len(text)
	}
}

func readPercent(character byte, data []byte) int {
	c := &cursor{data: data, at: 1}
	c.repeat("25", mostPercents)
	c.all(digitsOf(character)[0], true)
	return c.answer()
}

func readBackslash(character byte, data []byte) int {
	c := &cursor{data: data, at: 1}
	c.run(`\`, mostBackslashes-1)
	next, _ := c.peek()
	switch {
	case next == character && escapedBySlash(character):
		c.one(string([]byte{character}))
		return c.answer()
	case next == 'x':
		c.one("x")
	default:
		c.all("u00", false)
	}
	c.all(digitsOf(character)[0], true)
	return c.answer()
}

func readEntity(character byte, data []byte) int {
	c := &cursor{data: data, at: 1}
	c.repeat("amp;", mostAmpersands)
	if next, ok := c.peek(); ok && next != '#' {
		if named[character] == "" {
			return 0
		}
		c.all(named[character]+";", false)
		return c.answer()
	}
	c.one("#")
	number := numbersOf(character)[0]
	if next, _ := c.peek(); next == 'x' || next == 'X' {
		c.one("xX")
		number = strings.TrimPrefix(numbersOf(character)[1], "x")
	}
	c.run("0", mostZeros)
	c.all(number+";", true)
	return c.answer()
}

// mayFollowFold tells whether a line may be broken before the character. Not where it would begin like the break.
func mayFollowFold(character byte) bool {
	return strings.IndexByte(" \t\\%&=", character) < 0
}

// folds are the ways of a line break that have among them every pair of bytes of any, but for what stands around it.
var folds = []string{
	"\n", "\r\n", "\n ", "\n\t", "\n  ", "\n \t", "\n\t ", "\n\t\t", "\\\n", "\\\r\n", "=\n", "=\r\n",
	`\n`, `\\n`, `\r\n`, `\\r\\n`, "%0a", "%0A", "%250a", "%25250A", "%0d%0a", "%0D%0A", "%0d%250a", "%0D%250A",
}

// readFold reads a line break inside a value, as MIME, YAML, base64(1) and others make it: with what stands before it
// (quoted-printable's `=`, YAML's `\`) and the next line's indentation, or escaped by JSON or a URL. It answers the
// number of bytes, 0 if there is none, or tooShort.
func readFold(data []byte) int {
	if len(data) == 0 {
		return tooShort
	}
	switch data[0] {
	case '\n':
		return readIndentation(data, 1)
	case '\\', '%', '=', '\r':
	default:
		return 0
	}
	c := &cursor{data: data}
	switch data[0] {
	case '\\':
		c.run(`\`, mostBackslashes)
		next, _ := c.peek()
		if c.at > 1 || next == 'n' || next == 'r' {
			return readEscapedBreak(c)
		}
	case '%':
		return readPercentBreak(data)
	case '=':
		c.at++
	}
	c.run("\r", 1)
	c.one("\n")
	if n := c.answer(); n <= 0 {
		return n
	}
	return readIndentation(data, c.at)
}

// readIndentation reads what stands before the text of a line that begins there.
func readIndentation(data []byte, begin int) int {
	for at := begin; at < len(data); at++ {
		if at == begin+mostIndentation || data[at] != ' ' && data[at] != '\t' {
			return at
		}
	}
	if len(data) == begin+mostIndentation {
		return len(data)
	}
	return tooShort
}

// readEscapedBreak reads `\n` or `\r\n`, the first backslashes read already.
func readEscapedBreak(c *cursor) int {
	if next, _ := c.peek(); next == 'r' {
		c.one("r")
		c.one(`\`)
		c.run(`\`, mostBackslashes-1)
	}
	c.one("n")
	return c.answer()
}

func readPercentBreak(data []byte) int {
	c := &cursor{data: data, at: 1}
	c.repeat("25", mostPercents)
	c.one("0")
	if next, _ := c.peek(); next == 'd' || next == 'D' {
		c.one("dD")
		c.one("%")
		c.repeat("25", mostPercents)
		c.one("0")
	}
	c.one("aA")
	return c.answer()
}
