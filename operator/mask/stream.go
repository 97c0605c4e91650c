package main

import (
	"errors"
	"os"
	"sync"
	"syscall"
	"time"
	"unsafe"
)

// bufferSize is what is read at once: more than a pipe holds by default, so that a fast writer costs few calls.
const bufferSize = 128 << 10

// longestWait is how long what was said on stderr waits for a stdout that does not move on: nobody may read ours.
const longestWait = 5 * time.Second

// A stream is one output of the command on its way to ours.
type stream struct {
	from, to *os.File
	// commands is set where lines that add a value are meant: on stdout.
	commands *commands
	// first is the stream whose commands count for what is said here after them.
	first *stream

	draining bool
	left     int // bytes still to come while draining

	mutex   sync.Mutex // held while bytes are on their way from the pipe to being obeyed
	taken   int        // bytes whose commands were obeyed
	stuckAt int        // bytes of the first stream when it was waited for in vain; -1: never
}

// forward forwards until the command's output ends, or ours is read by nobody any more. Whoever writes faster than we
// can waits, as it would have to without us.
func (s *stream) forward(secrets *secrets) {
	// Whoever goes on writing is told by SIGPIPE, as it would be without us.
	defer s.from.Close()
	buffer, out, held := make([]byte, bufferSize), make([]byte, 0, bufferSize), 0
	for {
		fresh, end := s.take(buffer[held:], secrets)
		if len(fresh) > 0 && &fresh[0] != &buffer[held] {
			buffer = append(buffer[:held], fresh...)
			buffer = buffer[:cap(buffer)]
		}
		if s.first != nil && len(fresh) > 0 {
			s.letPass(s.first)
		}
		// Only now: what was read may have been printed because the file was replaced a moment ago.
		masked, rest := secrets.matcher().mask(out[:0], buffer[:held+len(fresh)], end)
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

// take reads what is there, waiting for a first byte, and returns what of it is to be passed on once its commands were
// obeyed; end says that nothing follows.
func (s *stream) take(buffer []byte, secrets *secrets) (fresh []byte, end bool) {
	if s.draining {
		buffer = buffer[:min(len(buffer), s.left)]
	}
	// Not with Read, after which nobody could tell what was read and is not obeyed yet.
	connection, err := s.from.SyscallConn()
	if err != nil {
		return nil, true
	}
	err = connection.Read(func(fd uintptr) bool {
		s.mutex.Lock()
		defer s.mutex.Unlock()
		n, err := syscall.Read(int(fd), buffer)
		for err == syscall.EINTR {
			n, err = syscall.Read(int(fd), buffer)
		}
		if err == syscall.EAGAIN {
			return false
		}
		n = max(n, 0)
		s.left -= n
		end = n == 0 || s.draining && s.left == 0
		fresh = s.obey(buffer[:n], end, secrets)
		s.taken += n
		return true
	})
	if errors.Is(err, os.ErrDeadlineExceeded) {
		s.draining, s.left = true, bytesIn(s.from)
		if err = s.from.SetReadDeadline(time.Time{}); err == nil && s.left > 0 {
			return nil, false
		}
		return s.obey(nil, true, secrets), true
	}
	return fresh, end || err != nil
}

func (s *stream) obey(data []byte, end bool, secrets *secrets) []byte {
	if s.commands == nil {
		return data
	}
	return s.commands.strip(data, end, func(value string) { secrets.addOthers(value) })
}

// drain makes the stream end with what is in the pipe now. Without it, it would last as long as any process has the
// other end open, such as one that the command left behind.
func (s *stream) drain() {
	_ = s.from.SetReadDeadline(time.Unix(1, 0))
}

// letPass waits until all that was said on the first stream by now is taken. Once nothing of it was taken for too long,
// it is waited for again only when more was.
func (s *stream) letPass(first *stream) {
	taken, waiting := first.progress()
	said := taken + waiting
	for moved := time.Now(); waiting > 0 && taken < said && taken != s.stuckAt; {
		if time.Since(moved) > longestWait {
			s.stuckAt = taken
			return
		}
		time.Sleep(time.Millisecond)
		before := taken
		if taken, waiting = first.progress(); taken > before {
			moved = time.Now()
		}
	}
}

// progress returns how many bytes were taken, and how many wait to be.
func (s *stream) progress() (taken, waiting int) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.taken, bytesIn(s.from)
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
