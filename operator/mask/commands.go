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
	start := 0
	if c.midLine {
		start = bytes.IndexByte(data, '\n') + 1
		if start == 0 {
			return len(data)
		}
	}
	if begins(data[start:]) {
		return start
	}
	// Such a line, with the break before it, covers one of its pairs at one of eight places in a row.
	for at := start + 7; at+1 < len(data); at += 8 {
		if !inAddMask[pair(data, at)] {
			continue
		}
		found := bytes.Index(data[at-7:min(len(data), at+3)], []byte("\n::"))
		if line := at - 7 + found + 1; found >= 0 && begins(data[line:]) {
			return line
		}
	}
	// The last line may be cut short before its second colon.
	if last := bytes.LastIndexByte(data, '\n') + 1; last >= start && last < len(data) && begins(data[last:]) {
		return last
	}
	return len(data)
}

// inAddMask are the first pairs of bytes of such a line and the break before it.
var inAddMask = func() (found [1 << 16]bool) {
	for _, both := range pairsOf([]string{"\n" + addMask[:8]}) {
		found[both] = true
	}
	return found
}()

// begins tells whether data begin with such a line, or end before that can be said.
func begins(data []byte) bool {
	n := min(len(data), len(addMask))
	return n > 0 && string(data[:n]) == addMask[:n]
}

// unescape reads a value as GitHub's toolkit writes it: a line break would end the line.
func unescape(value string) string {
	return strings.NewReplacer("%0D", "\r", "%0A", "\n", "%25", "%").Replace(value)
}
