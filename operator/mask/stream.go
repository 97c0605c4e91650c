package main

import (
	"errors"
	"os"
	"syscall"
	"time"
	"unsafe"
)

// bufferSize is what is read at once: more than a pipe holds by default, so that a fast writer costs few calls.
const bufferSize = 128 << 10

// A stream is one output of the command on its way to ours.
type stream struct {
	from, to *os.File
	// commands is set where lines that add a value are meant: on stdout.
	commands *commands

	draining bool
	left     int // bytes still to come while draining
}

// forward forwards until the command's output ends, or ours is read by nobody any more. Whoever writes faster than we
// can waits, as it would have to without us.
func (s *stream) forward(secrets *secrets) {
	// Whoever goes on writing is told by SIGPIPE, as it would be without us.
	defer s.from.Close()
	buffer, out, held := make([]byte, bufferSize), make([]byte, 0, bufferSize), 0
	for {
		n, end := s.read(buffer[held:])
		if s.commands != nil {
			kept := s.commands.strip(buffer[held:held+n], end, func(value string) { secrets.addOthers(value) })
			if n = len(kept); n > 0 && &kept[0] != &buffer[held] {
				buffer = append(buffer[:held], kept...)
				buffer = buffer[:cap(buffer)]
			}
		}
		// Only now: what was read may have been printed because the file was replaced a moment ago.
		masked, rest := secrets.matcher().mask(out[:0], buffer[:held+n], end)
		if _, err := s.to.Write(masked); err != nil || end {
			return
		}
		out = masked
		// The rest is no longer than a value can be written, and has to be read whole.
		if len(rest) > len(buffer)/2 {
			buffer = append(make([]byte, 0, 2*len(buffer)), rest...)[:2*len(buffer)]
		} else {
			copy(buffer, rest)
		}
		held = len(rest)
	}
}

// drain makes the stream end with what is in the pipe now. Without it, it would last as long as any process has the
// other end open, such as one that the command left behind.
func (s *stream) drain() {
	_ = s.from.SetReadDeadline(time.Unix(1, 0))
}

// read reads what is there, waiting for a first byte; end says that nothing follows.
func (s *stream) read(buffer []byte) (n int, end bool) {
	if s.draining {
		buffer = buffer[:min(len(buffer), s.left)]
	}
	n, err := s.from.Read(buffer)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		s.draining, s.left = true, bytesIn(s.from)
		_ = s.from.SetReadDeadline(time.Time{})
		return 0, s.left == 0
	}
	if s.draining {
		s.left -= n
	}
	return n, err != nil || s.draining && s.left == 0
}

// bytesIn returns how much a pipe holds.
func bytesIn(pipe *os.File) int {
	const fionread = 0x541B // FIONREAD of asm-generic/ioctls.h, which amd64 and arm64 use
	var held int32
	connection, err := pipe.SyscallConn()
	if err != nil {
		return 0
	}
	err = connection.Control(func(fd uintptr) {
		syscall.Syscall(syscall.SYS_IOCTL, fd, fionread, uintptr(unsafe.Pointer(&held)))
	})
	if err != nil {
		return 0
	}
	return int(held)
}
