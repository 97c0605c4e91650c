package main

import (
	"bytes"
	"strings"
)

const (
	addMask = "::add-mask::"

	// longestCommand bounds how long a line is waited for.
	longestCommand = 64 << 10
)

// commands takes lines `::add-mask::VALUE` out of what a command prints, and has their values masked from there on.
type commands struct {
	pending []byte // the beginning of a line that is, or may become, such a line
	midLine bool   // what comes next does not begin a line
}

// strip returns what is to be passed on of what was read next. With end nothing comes next.
func (c *commands) strip(data []byte, end bool, add func(value string)) []byte {
	if len(c.pending) > 0 {
		data = append(c.pending, data...)
		c.pending = nil
	}
	var kept []byte
	for {
		at := c.next(data)
		line, rest, whole := bytes.Cut(data[at:], []byte("\n"))
		command, found := bytes.CutPrefix(line, []byte(addMask))
		switch {
		case found && (whole || end):
			add(unescape(strings.TrimSuffix(string(command), "\r")))
			kept, data = append(kept, data[:at]...), rest
			c.midLine = false
			continue
		case at < len(data) && !end && len(line) < longestCommand:
			c.pending = bytes.Clone(line)
			data = data[:at]
		}
		if len(data) > 0 {
			c.midLine = data[len(data)-1] != '\n'
		}
		if kept == nil {
			return data
		}
		return append(kept, data...)
	}
}

// next returns where a line begins that is such a line or, at the end of data, may become one; len(data) if none does.
func (c *commands) next(data []byte) int {
	if !c.midLine && begins(data) {
		return 0
	}
	// From break to break is the fastest way: lines are longer than what a search for more bytes steps over at once.
	for at := 0; ; {
		found := bytes.IndexByte(data[at:], '\n')
		if found < 0 {
			return len(data)
		}
		at += found + 1
		if at < len(data) && data[at] == addMask[0] && begins(data[at:]) {
			return at
		}
	}
}

// begins tells whether data begin with such a line, or end before that can be said.
func begins(data []byte) bool {
	n := min(len(data), len(addMask))
	return n > 0 && string(data[:n]) == addMask[:n]
}

// unescape reads a value as GitHub's toolkit writes it: a line break would end the line.
func unescape(value string) string {
	return strings.NewReplacer("%0D", "\r", "%0A", "\n", "%25", "%").Replace(value)
}
