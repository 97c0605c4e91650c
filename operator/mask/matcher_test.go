package main

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	secretKey    = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
	sessionToken = "IQoJb3JpZ2luX2VjEHUaCXVzLWVhc3QtMSJHMEUCIQDq+Ky3/bz5JHZDzJn0Lw7xWvPpZ1mBqE3YtYb6dVhcPQIgE" +
		"7rAqvHNh+t8vXlU1mPzIhEHd1eYFJQk/Zx0aRtYQksqkwMIvv//////////ARABGgwxMjM0NTY3ODkwMTIiDPk3q/XvYzVZ8FqN0SrnAg=="
)

func maskWhole(values []string, text string) string {
	masked, rest := newMatcher(values).mask(nil, []byte(text), true)
	return string(masked) + string(rest)
}

func logLines(size int) []byte {
	random := rand.New(rand.NewPCG(1, 2))
	var text bytes.Buffer
	for text.Len() < size {
		fmt.Fprintf(&text, "2026-11-25T02:%02d:%02dZ [INFO] aws_instance.web[%d]: Still creating... [id=i-%016x, %ds elapsed]\n",
			random.IntN(60), random.IntN(60), random.IntN(100), random.Uint64(), random.IntN(600))
	}
	return text.Bytes()[:size]
}

func nearValues(size int) []byte {
	near := strings.Repeat(secretKey[:39]+"-"+sessionToken[:len(sessionToken)-3]+"\n"+secretKey[:8]+sessionToken[:20], 100)
	return bytes.Repeat([]byte(near), size/len(near)+1)[:size]
}

func allValues(size int) []byte {
	text := append(logLines(100), secretKey+"\n"+sessionToken+"\n"...)
	return bytes.Repeat(text, size/len(text)+1)[:size]
}

func BenchmarkMask(b *testing.B) {
	m := newMatcher([]string{secretKey, sessionToken})
	for name, data := range map[string][]byte{
		"log":    logLines(bufferSize),
		"base64": base64Text(bufferSize),
		"near":   nearValues(bufferSize),
		"values": allValues(bufferSize),
	} {
		b.Run(name, func(b *testing.B) {
			out := make([]byte, 0, 2*bufferSize)
			b.SetBytes(int64(len(data)))
			began := cpuTime()
			for b.Loop() {
				out, _ = m.mask(out[:0], data, false)
			}
			b.ReportMetric(float64(b.N*len(data))/1e6/(cpuTime()-began).Seconds(), "MB/cpu-s")
		})
	}
}

func base64Text(size int) []byte {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	random := rand.New(rand.NewPCG(3, 4))
	text := make([]byte, size)
	for i := range text {
		text[i] = alphabet[random.IntN(64)]
	}
	return text
}

// Whatever stands before a value in something that is in base64, and however that is broken into lines.
func TestAValueInsideOfBase64(t *testing.T) {
	for before := range 7 {
		for after := range 4 {
			text := []byte("user:pw:"[:before] + sessionToken + "\ntail"[:after])
			for _, alphabet := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding, base64.RawStdEncoding} {
				for _, width := range []int{1 << 20, 76, 64, 60} {
					form := broken(alphabet.EncodeToString(text), width, "\n")
					got := maskWhole([]string{secretKey, sessionToken}, "Authorization: Basic "+form+"\n")
					left := strings.NewReplacer("Authorization: Basic ", "", "*****", "", "\n", "").Replace(got)
					if most := (before+after)*4/3 + 4 + 2 + 3; len(left) > most || !strings.Contains(got, "*****") {
						t.Errorf("%d before, %d after, lines of %d: %q", before, after, width, got)
					}
				}
			}
		}
	}
}

func TestAFoldedValueWhereverItIsFolded(t *testing.T) {
	for at := 1; at < len(secretKey); at++ {
		for _, lineBreak := range []string{"\n", "\r\n  ", "=\r\n", "\\\n    ", `\n`, `\\r\\n`, "%0A"} {
			got := maskWhole([]string{secretKey}, "key: "+secretKey[:at]+lineBreak+secretKey[at:]+"\nnext")
			left := strings.TrimSuffix(strings.TrimPrefix(got, "key: "), "\nnext")
			if visible := strings.ReplaceAll(left, "*****", ""); !strings.Contains(left, "*****") || len(visible) > len(lineBreak)+3 {
				t.Errorf("folded after %d by %q: %q", at, lineBreak, got)
			}
		}
	}
}

func TestALineThatEndsLikeTheBeginningOfAValueIsNotHeldBack(t *testing.T) {
	for known := 1; known < unbroken; known++ {
		text := "done " + secretKey[:known] + "\n"
		if _, rest := newMatcher([]string{secretKey}).mask(nil, []byte(text), false); len(rest) != 0 {
			t.Errorf("%q waits", rest)
		}
	}
}

func TestValuesThatHoldEscapes(t *testing.T) {
	const value = `p&ss%w0rd\of"mine"<1>`
	for _, form := range []string{
		value, `p&ss%w0rd\\of\"mine\"<1>`, `p\u0026ss%w0rd\\of\"mine\"\u003c1\u003e`, "p%26ss%25w0rd%5Cof%22mine%22%3C1%3E",
		`p&amp;ss%w0rd\of&#34;mine&#34;&lt;1&gt;`,
	} {
		if got := maskWhole([]string{value}, "it is "+form+" here"); got != "it is ***** here" {
			t.Errorf("%q: %q", form, got)
		}
	}
}

// Twice costs twice where beginnings of values are printed, and shows nowhere else.
func TestAPatternIsTriedOnceWhereItMayBegin(t *testing.T) {
	m := newMatcher([]string{secretKey, sessionToken, `%p&ss\w0rd`, `\another&one`})
	for first, patterns := range m.patterns {
		seen := map[string]bool{}
		for _, p := range patterns {
			known := fmt.Sprint(p)
			if seen[known] {
				t.Errorf("twice where a text begins with %q: %q", rune(first), p.text)
			}
			seen[known] = true
		}
	}
}

func BenchmarkNewMatcher(b *testing.B) {
	for b.Loop() {
		newMatcher([]string{secretKey, sessionToken})
	}
}

// cpuTime is what this process has used, whoever else uses the machine.
func cpuTime() time.Duration {
	var used syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &used)
	return time.Duration(used.Utime.Nano())
}
