package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
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

func BenchmarkMask(b *testing.B) {
	m := newMatcher([]string{secretKey, sessionToken})
	for name, data := range map[string][]byte{
		"log":    logLines(bufferSize),
		"base64": base64Text(bufferSize),
		"near":   nearValues(bufferSize),
	} {
		b.Run(name, func(b *testing.B) {
			out := make([]byte, 0, 2*bufferSize)
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				out, _ = m.mask(out[:0], data, false)
			}
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
