package main

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"net/url"
	"regexp"
	"strings"
	"testing"
)

// reference is the meaning of masking, written a second time and as plainly as possible: on the whole text at once,
// by Go's regular expressions, the leftmost match, and of those the longest.
func reference(values []string, text []byte) []byte {
	var all []string
	for _, value := range values {
		if value != "" {
			all = append(all, eachCharacter(value, false), inBase64(value))
		}
	}
	if len(all) == 0 {
		return text
	}
	expression := regexp.MustCompile(strings.Join(all, "|"))
	expression.Longest()
	return expression.ReplaceAllLiteral(text, []byte("*****"))
}

func inBase64(value string) string {
	text := base64.RawStdEncoding.EncodeToString([]byte(value))
	padding := []string{"", "", "(?:=(?:=)?)?", "(?:=)?"}[len(text)%4]
	return eachCharacter(text, true) + strings.ReplaceAll(padding, "=", oneCharacter('=', false))
}

func eachCharacter(text string, inBase64 bool) string {
	var expression strings.Builder
	for i := range len(text) {
		if inBase64 && i > 0 && (i%64 == 0 || i%76 == 0) {
			expression.WriteString(`(?:\r?\n)?`)
		}
		expression.WriteString(oneCharacter(text[i], inBase64))
	}
	return expression.String()
}

func oneCharacter(character byte, inBase64 bool) string {
	plain := regexp.QuoteMeta(string(character))
	if regexp.MustCompile(`[A-Za-z0-9\\%]`).Match([]byte{character}) {
		return plain
	}
	forms := []string{plain, fmt.Sprintf(`(?i:%%%02x|\\u00%02x)`, character, character)}
	// The escape's own letters have one case only.
	forms[1] = strings.Replace(forms[1], `\\u00`, `\\(?-i:u)00`, 1)
	if character == '/' || character == '"' {
		forms = append(forms, `\\`+plain)
	}
	if other, ok := map[byte]string{'+': "-", '/': "_"}[character]; ok && inBase64 {
		forms = append(forms, other)
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
	return []string{
		value,
		strings.ReplaceAll(value, "/", `\/`),
		escaped(value, "/+=", `\u00%02x`),
		escaped(value, "/+=", `\u00%02X`),
		escaped(value, "+=", `\u00%02x`),
		url.QueryEscape(value),
		url.PathEscape(value),
		escaped(value, "+=", "%%%02x"),
		escaped(value, "/+=", "%%%02x"),
		standard, urlSafe, strings.TrimRight(standard, "="), strings.TrimRight(urlSafe, "="),
		url.QueryEscape(standard),
		broken(standard, 76, "\n"), broken(standard, 64, "\r\n"),
	}
}

func escaped(value, characters, format string) string {
	for _, character := range characters {
		value = strings.ReplaceAll(value, string(character), fmt.Sprintf(format, character))
	}
	return value
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
			text = append(text, []string{"\\", "%", "=", "\n", "\r\n", "\\u00", "%2", "*"}[random.IntN(8)]...)
		case 5:
			for range random.IntN(20) {
				text = append(text, byte(random.IntN(256)))
			}
		}
	}
	return text
}

func TestTextInPiecesIsMaskedAsTheWholeTextIs(t *testing.T) {
	cases := 1000
	if testing.Short() {
		cases = 100
	}
	for seed := range uint64(cases) {
		random := rand.New(rand.NewPCG(seed, 0))
		values := randomValues(random)
		text := randomText(random, values)
		want := reference(values, text)
		longest := 1 + random.IntN(200)
		got := inPieces(values, text, func() int { return 1 + random.IntN(longest) })
		if !bytes.Equal(got, want) {
			t.Fatalf("seed %d\nvalues %q\ntext   %q\ngot    %q\nwant   %q", seed, values, text, got, want)
		}
		expectNoValue(t, values, got)
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
		if ascii && len(value) > 0 && len(value) <= 300 && !strings.Contains(value, "*") {
			values = append(values, value)
		}
	}
	return values
}
