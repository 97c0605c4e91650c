package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html"
	"maps"
	"math/rand/v2"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// reference is the meaning of masking, written a second time and as plainly as possible: on the whole text at once,
// by Go's regular expressions, the leftmost match, and of those the longest.
func reference(values []string, text []byte) []byte {
	var all []*regexp.Regexp
	for _, value := range values {
		if value != "" {
			for _, each := range expressions(value) { // all in one would be too large
				all = append(all, regexp.MustCompile("(?s)"+each))
				all[len(all)-1].Longest()
			}
		}
	}
	var out []byte
	for {
		found := []int{len(text), len(text)}
		for _, expression := range all {
			match := expression.FindIndex(text)
			if match != nil && (match[0] < found[0] || match[0] == found[0] && match[1] > found[1]) {
				found = match
			}
		}
		out = append(out, text[:found[0]]...)
		if found[0] == len(text) {
			return out
		}
		out, text = append(out, "*****"...), text[found[1]:]
	}
}

func expressions(value string) []string {
	var found []string
	add := func(text, tail string, others map[byte]string) {
		found = append(found, eachCharacter(text, tail, others))
		if len(text) >= 13 {
			found = append(found, eachCharacter(text[3:], tail, others))
		}
	}
	for _, text := range encoded(value) {
		stripped := strings.TrimRight(text, "=")
		if len(stripped) < 8 {
			stripped = text
		}
		add(stripped, text[len(stripped):], nil)
	}
	alphabets := map[byte]string{'+': "-", '/': "_"}
	for _, c := range []struct{ before, from, bits int }{{0, 0, 0}, {1, 2, 8}, {2, 3, 16}} {
		whole := base64.StdEncoding.EncodeToString([]byte("\x00\x00"[:c.before] + value))
		if to := (c.bits + 8*len(value)) / 6; c.before == 0 || to-c.from >= 8 {
			add(whole[c.from:to], whole[to:], alphabets)
		}
	}
	if len(value) >= 4 {
		digits := map[byte]string{'a': "A", 'b': "B", 'c': "C", 'd': "D", 'e': "E", 'f': "F"}
		add(fmt.Sprintf("%x", value), "", digits)
	}
	return found
}

// encoded are a value's writings where it holds what begins an escape: each character by itself will not do.
func encoded(value string) []string {
	if regexp.MustCompile(`^[!-$'-\[\]-~ ]*$`).MatchString(value) {
		return []string{value}
	}
	inJSON, _ := json.Marshal(value)
	forPages := string(inJSON[1 : len(inJSON)-1])
	for _, c := range []string{"<", ">", "&"} { // JSON for web pages alone escapes them
		inJSON = bytes.ReplaceAll(inJSON, fmt.Appendf(nil, `\u%04x`, c[0]), []byte(c))
	}
	texts := map[string]bool{}
	for _, text := range []string{
		value, forPages, string(inJSON[1 : len(inJSON)-1]), url.QueryEscape(value), url.PathEscape(value), html.EscapeString(value),
	} {
		texts[text] = true
	}
	return slices.Collect(maps.Keys(texts))
}

const (
	percent   = `%(?:25){0,3}`
	lineBreak = `(?:(?:\\|=)?\r?\n[ \t]{0,40}|\\{1,15}(?:r\\{1,15})?n|` + percent + `0(?:[dD]` + percent + `0)?[aA])`
)

func eachCharacter(text, tail string, others map[byte]string) string {
	var expression strings.Builder
	for i := range len(text) {
		if i >= 4 && !strings.Contains(" \t\\%&=", text[i:i+1]) {
			expression.WriteString(lineBreak + "?")
		}
		expression.WriteString(oneCharacter(text[i], others))
	}
	for i := range len(tail) {
		expression.WriteString("(?:" + oneCharacter(tail[i], others))
	}
	return expression.String() + strings.Repeat(")?", len(tail))
}

func oneCharacter(character byte, others map[byte]string) string {
	forms := []string{regexp.QuoteMeta(string(character))}
	if other, ok := others[character]; ok {
		forms = append(forms, other)
	}
	if !regexp.MustCompile(`[A-Za-z0-9\\%&]`).Match([]byte{character}) {
		digits := fmt.Sprintf(`(?i:%02x)`, character)
		forms = append(forms,
			percent+digits,
			`\\{1,15}(?:u00|x)`+digits,
			fmt.Sprintf(`&(?:amp;){0,2}#(?:0{0,4}%d|[xX]0{0,4}(?i:%x));`, character, character))
		if character == '/' || character == '"' {
			forms = append(forms, `\\{1,15}`+string(character))
		}
		names := map[byte]string{'+': "plus", '/': "sol", '=': "equals", '"': "quot", '\'': "apos", '<': "lt", '>': "gt"}
		if name, ok := names[character]; ok {
			forms = append(forms, `&(?:amp;){0,2}`+name+";")
		}
	}
	return "(?:" + strings.Join(forms, "|") + ")"
}

// inPieces masks a text that arrives in pieces, as a stream does it.
func inPieces(values []string, text []byte, pieces func() int) []byte {
	m := newMatcher(values)
	var out, held []byte
	for len(text) > 0 {
		n := min(max(1, pieces()), len(text))
		data := append(bytes.Clone(held), text[:n]...)
		text = text[n:]
		out, held = m.mask(out, data, false)
		held = bytes.Clone(held)
	}
	out, held = m.mask(out, held, true)
	return append(out, held...)
}

// writings are the ways of printing a value that must all be masked.
func writings(value string) []string {
	standard := base64.StdEncoding.EncodeToString([]byte(value))
	urlSafe := base64.URLEncoding.EncodeToString([]byte(value))
	found := []string{
		value,
		strings.ReplaceAll(value, "/", `\/`),
		strings.ReplaceAll(value, "/", `\\\/`),
		escaped(value, "/+=", `\u00%02x`),
		escaped(value, "/+=", `\u00%02X`),
		escaped(value, "+=", `\u00%02x`),
		escaped(value, "/+=", `\\u00%02x`),
		escaped(value, "/+=", `\\\\u00%02X`),
		escaped(value, "/+=", `\x%02x`),
		url.QueryEscape(value),
		url.PathEscape(value),
		url.QueryEscape(url.QueryEscape(value)),
		url.QueryEscape(url.QueryEscape(url.QueryEscape(value))),
		escaped(value, "+=", "%%%02x"),
		escaped(value, "/+=", "%%%02x"),
		escaped(value, "+/=", "&#%d;"),
		escaped(value, "+/=", "&#x%X;"),
		escaped(value, "+/=", "&#x%04x;"),
		escaped(value, "+/=", "&amp;#%d;"),
		strings.NewReplacer("+", "&plus;", "/", "&sol;", "=", "&equals;").Replace(value),
		standard, urlSafe, strings.TrimRight(standard, "="), strings.TrimRight(urlSafe, "="),
		url.QueryEscape(standard),
		strings.ReplaceAll(standard, "/", `\\\/`),
		broken(standard, 76, "\n"), broken(standard, 64, "\r\n"),
		broken(standard, 60, `\n`), broken(standard, 64, `\\r\\n`), broken(standard, 76, "%0A"),
	}
	// No line is broken before `=`: quoted-printable would write it otherwise.
	if !strings.Contains(strings.TrimRight(value, "="), "=") {
		found = append(found, broken(value, 76, "\n  "), broken(value, 72, "=\r\n"), broken(value, 70, "\\\n\t"), broken(value, 4, "\n"))
	}
	if len(value) >= 4 {
		found = append(found, fmt.Sprintf("%x", value), fmt.Sprintf("%X", value), broken(fmt.Sprintf("%x", value), 60, "\n"))
	}
	if stripped := strings.TrimRight(value, "="); len(stripped) >= 8 {
		found = append(found, stripped)
	}
	return found
}

func escaped(value, characters, format string) string {
	var text strings.Builder
	for _, character := range value {
		if strings.ContainsRune(characters, character) {
			fmt.Fprintf(&text, format, character)
		} else {
			text.WriteRune(character)
		}
	}
	return text.String()
}

func broken(text string, width int, lineBreak string) string {
	var lines []string
	for len(text) > width {
		lines, text = append(lines, text[:width]), text[width:]
	}
	return strings.Join(append(lines, text), lineBreak)
}

const valueAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789/+="

// randomValues makes values that are hard to tell apart: short alphabets, prefixes of one another, copies in base64.
func randomValues(random *rand.Rand) []string {
	var values []string
	for range 1 + random.IntN(5) {
		alphabet := valueAlphabet[len(valueAlphabet)-1-random.IntN(len(valueAlphabet)):]
		value := make([]byte, 1+random.IntN(120))
		for i := range value {
			value[i] = alphabet[random.IntN(len(alphabet))]
		}
		values = append(values, string(value))
		switch other := values[random.IntN(len(values))]; random.IntN(4) {
		case 0:
			values = append(values, other[:1+random.IntN(len(other))])
		case 1:
			values = append(values, other+string(value))
		case 2:
			values = append(values, base64.StdEncoding.EncodeToString([]byte(other)))
		}
	}
	return values
}

// randomText plants values, beginnings of them and confusable characters among random bytes.
func randomText(random *rand.Rand, values []string) []byte {
	var text []byte
	for range random.IntN(40) {
		forms := writings(values[random.IntN(len(values))])
		form := forms[random.IntN(len(forms))]
		switch random.IntN(6) {
		case 0, 1:
			text = append(text, form...)
		case 2:
			text = append(text, form[:random.IntN(len(form)+1)]...)
		case 3:
			text = append(text, form[random.IntN(len(form)):]...)
		case 4:
			text = append(text, []string{"\\", "%", "=", "\n", "\r\n", "\\u00", "%2", "*", "%25", "&", "&#", "amp;", "\n ", "\\n", "=\n"}[random.IntN(15)]...)
		case 5:
			for range random.IntN(20) {
				text = append(text, byte(random.IntN(256)))
			}
		}
	}
	return text
}

func TestTextInPiecesIsMaskedAsTheWholeTextIs(t *testing.T) {
	cases := 25 // each takes a third of a second to build the reference; fuzzing plays as many as it is given time for
	if testing.Short() {
		cases = 10
	}
	for seed := range uint64(cases) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(seed, 0))
			values := randomValues(random)
			text := randomText(random, values)
			want := reference(values, text)
			longest := 1 + random.IntN(200)
			got := inPieces(values, text, func() int { return 1 + random.IntN(longest) })
			if !bytes.Equal(got, want) {
				t.Fatalf("values %q\ntext   %q\ngot    %q\nwant   %q", values, text, got, want)
			}
			expectNoValue(t, values, got)
		})
	}
}

// expectNoValue looks for the values by no rule but their own: in every writing.
func expectNoValue(t *testing.T, values []string, masked []byte) {
	t.Helper()
	for _, value := range values {
		if strings.Trim(value, valueAlphabet) != "" {
			continue // none of AWS's, and its encodings may be others
		}
		for _, form := range writings(value) {
			if bytes.Contains(masked, []byte(form)) && !strings.Contains("*****", form) {
				t.Fatalf("%q of value %q went through in %q", form, value, masked)
			}
		}
	}
}

func FuzzMask(f *testing.F) {
	f.Add(uint64(1), []byte("\x01\x07\x03"), secretKey, sessionToken, []byte("export X="))
	f.Add(uint64(2), []byte{1}, "a/+=", "a/", []byte("a%2F%2b\\u003da/"))
	f.Add(uint64(3), []byte{200}, "\x00\xff", "==", []byte("\x00\xff=\r\n="))
	f.Fuzz(func(t *testing.T, seed uint64, pieces []byte, first, second string, text []byte) {
		values := withinReason(first, second)
		if len(values) == 0 || len(text) > 4096 {
			return
		}
		random := rand.New(rand.NewPCG(seed, 1))
		text = append(text, randomText(random, values)...)
		want := reference(values, text)
		at := 0
		got := inPieces(values, text, func() int {
			if len(pieces) == 0 {
				return len(text)
			}
			at++
			return int(pieces[at%len(pieces)])
		})
		if !bytes.Equal(got, want) {
			t.Fatalf("values %q\ntext %q\ngot  %q\nwant %q", values, text, got, want)
		}
		expectNoValue(t, values, got)
	})
}

// withinReason leaves out what the reference cannot express: regular expressions read UTF-8.
func withinReason(candidates ...string) []string {
	var values []string
	for _, value := range candidates {
		ascii := strings.IndexFunc(value, func(r rune) bool { return r >= 0x80 }) < 0
		if ascii && len(value) > 0 && len(value) <= 300 && !strings.ContainsAny(value, "*\r\n") {
			values = append(values, value)
		}
	}
	return values
}
