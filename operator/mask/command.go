package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
)

// The shell's exit codes for what cannot be started.
const (
	notExecutable = 126
	notFound      = 127
	killedBy      = 128 // and the signal's number
)

// defaultPath is where runtimes look for a command if the image says nothing.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// run runs the command with its output masked, and returns its exit code. An error tells why it was not started.
func run(command []string, secrets *secrets) (code int, err error) {
	path, err := find(command[0])
	if err != nil {
		return codeOf(err), err
	}
	signals, children := catch(), watchChildren()
	adoptOrphans()
	streams, process, err := start(path, command)
	if err != nil {
		return codeOf(err), explain(path, err)
	}
	go secrets.watch()
	var ends sync.WaitGroup
	for _, s := range streams {
		ends.Go(func() { s.forward(secrets) })
	}
	code = newSupervisor(process.Pid).run(signals, children)
	for _, s := range streams {
		s.drain()
	}
	ends.Wait()
	return code, nil
}

// start starts the command as the leader of a session and a process group of its own, as it would be without us in
// front of it: `kill 0` of a script is meant for its own processes.
func start(path string, command []string) ([]*stream, *os.Process, error) {
	var streams []*stream
	files := []*os.File{os.Stdin}
	for _, to := range []*os.File{os.Stdout, os.Stderr} {
		from, into, err := os.Pipe()
		if err != nil {
			return nil, nil, err
		}
		defer into.Close() // the command's alone
		streams = append(streams, &stream{from: from, to: to, stuckAt: -1})
		files = append(files, into)
	}
	streams[0].commands = &commands{}
	streams[1].first = streams[0]
	process, err := os.StartProcess(path, command, &os.ProcAttr{
		Files: files,
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	return streams, process, err
}

// find finds the command where execvp would.
func find(name string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	paths, ok := os.LookupEnv("PATH")
	if !ok {
		paths = defaultPath
	}
	missing := fmt.Errorf("%s: %w in PATH (%s)", name, errNotFound, paths)
	for _, folder := range filepath.SplitList(paths) {
		if folder == "" {
			folder = "."
		}
		candidate := folder + "/" + name
		found, err := os.Stat(candidate)
		if err != nil || found.IsDir() {
			continue
		}
		const execute = 1 // X_OK
		if syscall.Access(candidate, execute) == nil {
			return candidate, nil
		}
		missing = fmt.Errorf("%s: no permission to execute it", candidate)
	}
	return "", missing
}

// explain says why a command that was found cannot be started.
func explain(path string, err error) error {
	if _, missing := os.Stat(path); missing == nil && errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%s: the interpreter or loader that it names is missing: %w", path, errNotFound)
	}
	return fmt.Errorf("%s cannot be started: %w", path, errors.Unwrap(err))
}

var errNotFound = errors.New("not found")

func codeOf(err error) int {
	if errors.Is(err, errNotFound) || errors.Is(err, os.ErrNotExist) {
		return notFound
	}
	return notExecutable
}

// catch catches every signal that can be passed on: Go keeps SIGPROF and those of the C library, 32 to 34, to itself.
func catch() <-chan os.Signal {
	signals := make(chan os.Signal, 64)
	// Caught, because they would end or stop us, but about our own output: the command gets its own. Not even SIGPIPE
	// may be ignored, because a command would inherit that.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE, syscall.SIGTTIN, syscall.SIGTTOU)
	for number := syscall.Signal(1); number <= 64; number++ {
		switch number {
		case syscall.SIGKILL, syscall.SIGSTOP, // cannot be caught
			syscall.SIGCHLD,                                   // about our children
			syscall.SIGURG,                                    // Go's scheduler sends it to itself
			syscall.SIGPIPE, syscall.SIGTTIN, syscall.SIGTTOU: // above
			continue
		}
		// One that is ignored already, the command is to ignore as well.
		if !signal.Ignored(number) {
			signal.Notify(signals, number)
		}
	}
	return signals
}

// adoptOrphans makes us the parent of what the command leaves behind, also where we are not the first process.
func adoptOrphans() {
	const setChildSubreaper = 36 // PR_SET_CHILD_SUBREAPER
	syscall.RawSyscall(syscall.SYS_PRCTL, setChildSubreaper, 1, 0)
}
