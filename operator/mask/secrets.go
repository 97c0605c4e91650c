package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// The access key ID is none of them: it is public, and tells which credentials a log speaks of.
var secretVariables = []string{"AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN"}

const (
	credentialsFile = "credentials.json"

	// mostValues bounds what is remembered of renewals: two values each, so that the oldest died hours ago.
	mostValues = 128

	// mostOthers bounds what a command may add; each value costs memory and time.
	mostOthers = 1000

	// lookEvery is how often the file is looked at while nothing is printed: a value that came and went in
	// silence may still be printed.
	lookEvery = 5 * time.Second
)

// secrets knows the values that must not be printed, those of the past included.
type secrets struct {
	path string // of the file that is replaced at every renewal; empty: there is none

	mutex   sync.Mutex
	seen    fileIdentity
	values  []string
	others  []string // what the Run or the command itself wants masked; kept for good
	current *matcher
}

// fileIdentity changes when the file is replaced, as the kubelet does it or otherwise.
type fileIdentity struct {
	device, inode uint64
	size          int64
	modified      syscall.Timespec
}

// newSecrets reads the values of the environment and of the folder's credentials.json. A file that cannot be read
// is an error: nothing of it could be masked. One that is missing is not: there is nothing to mask yet.
func newSecrets(folder string, getenv func(string) string) (*secrets, error) {
	s := &secrets{}
	for _, name := range secretVariables {
		s.add(getenv(name))
	}
	s.current = newMatcher(s.values)
	if folder == "" {
		return s, nil
	}
	s.path = filepath.Join(folder, credentialsFile)
	if err := s.look(); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return s, nil
}

// matcher finds all values that a command may have read by now.
func (s *secrets) matcher() *matcher {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.path != "" {
		// What cannot be read at this moment is tried again with the next output.
		_ = s.look()
	}
	return s.current
}

// watch looks at the file for as long as the process lives.
func (s *secrets) watch() {
	if s.path == "" {
		return
	}
	for range time.Tick(lookEvery) {
		s.matcher()
	}
}

// look reads the file if it is another one than the last time.
func (s *secrets) look() error {
	var now syscall.Stat_t
	if err := syscall.Stat(s.path, &now); err != nil {
		return &fs.PathError{Op: "look at", Path: s.path, Err: err}
	}
	if identityOf(&now) == s.seen {
		return nil
	}
	file, err := os.Open(s.path)
	if err != nil {
		return err
	}
	defer file.Close()
	// It may have been replaced between the two: what counts is what is read.
	if err := syscall.Fstat(int(file.Fd()), &now); err != nil {
		return err
	}
	var credentials struct{ SecretAccessKey, SessionToken string }
	if err := json.NewDecoder(file).Decode(&credentials); err != nil {
		// Not the error itself, which may quote what was read.
		return fmt.Errorf("%s is not the JSON of a credential process", s.path)
	}
	s.add(credentials.SecretAccessKey)
	s.add(credentials.SessionToken)
	s.current, s.seen = newMatcher(slices.Concat(s.values, s.others)), identityOf(&now)
	return nil
}

// addOthers adds a value that is not AWS's: as a whole if it is one line, otherwise each of its lines, because writers
// indent them. It answers whether anything of it is masked: what is too short would be found where nobody meant it.
func (s *secrets) addOthers(value string) bool {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	masked := false
	for line := range strings.Lines(value) {
		line = strings.TrimSpace(line)
		if len(line) < shortest || len(s.others) >= mostOthers {
			continue
		}
		masked = true
		if !slices.Contains(s.others, line) {
			s.others = append(s.others, line)
			s.current = s.current.with(line)
		}
	}
	return masked
}

func (s *secrets) add(value string) {
	if value == "" || slices.Contains(s.values, value) {
		return
	}
	s.values = append(s.values, value)
	s.values = s.values[max(0, len(s.values)-mostValues):]
}

func identityOf(stat *syscall.Stat_t) fileIdentity {
	return fileIdentity{device: uint64(stat.Dev), inode: stat.Ino, size: stat.Size, modified: stat.Mtim}
}
