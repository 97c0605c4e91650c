package main

import (
	"os"
	"os/signal"
	"syscall"
	"time"
)

// lookAgainEvery is how often a container that is being stopped is looked through for processes that began to handle
// the signal only now.
const lookAgainEvery = 100 * time.Millisecond

// A supervisor does for the command what the kernel and the runtime would have done without us in front of it, and
// what a container's first process owes: it passes signals on, and takes note of every end.
type supervisor struct {
	command int
	// protects says that without us the command would be the first process of a PID namespace, which no signal ends
	// that it does not handle.
	protects bool

	stop   syscall.Signal // the signal that the container was told to end by; 0 as long as it was not
	told   map[process]bool
	acts   map[process]bool // who of them handles it
	behind map[process]bool // what stands behind one that was told
	waits  map[process]bool // who slept with the signal blocked when we looked the last time
	ended  bool
	code   int
	spared bool // the command ended by a signal that would not have ended it without us
}

func newSupervisor(command int) *supervisor {
	return &supervisor{command: command, protects: os.Getpid() == 1}
}

// run returns the command's exit code when all that is to be waited for has ended.
func (s *supervisor) run(signals <-chan os.Signal, children <-chan os.Signal) int {
	again := time.NewTicker(lookAgainEvery)
	defer again.Stop()
	for !s.done() {
		var ticks <-chan time.Time
		if s.stop != 0 {
			ticks = again.C
		}
		select {
		case received := <-signals:
			s.pass(received.(syscall.Signal))
		case <-children:
			s.reap()
		case <-ticks:
			s.spread()
		}
	}
	return s.code
}

// watchChildren reports that a child has ended, one or several of them.
func watchChildren() <-chan os.Signal {
	children := make(chan os.Signal, 1)
	signal.Notify(children, syscall.SIGCHLD)
	return children
}

// reap takes note of all processes that have ended, so that no zombie stays.
func (s *supervisor) reap() {
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
		switch {
		case err == syscall.EINTR:
			continue
		case err != nil || pid == 0:
			return
		case pid == s.command:
			s.end(status)
		}
	}
}

func (s *supervisor) end(status syscall.WaitStatus) {
	s.ended, s.code = true, status.ExitStatus()
	if status.Signaled() {
		s.code = killedBy + int(status.Signal())
		s.spared = s.stop != 0 && status.Signal() == s.stop
	}
	if s.stop != 0 {
		s.spread()
	}
}

// pass passes a signal on. One that asks a container to end spreads; any other is the command's alone.
func (s *supervisor) pass(number syscall.Signal) {
	switch number {
	case syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGHUP:
		s.stop = number
		s.told, s.acts, s.behind = map[process]bool{}, map[process]bool{}, map[process]bool{}
		s.spread()
	case syscall.SIGCONT:
		s.send(s.command, number) // it does its work whoever handles it
	default:
		if command, ok := read(s.command, number); !s.protects || ok && (command.catches || command.waits) {
			s.send(s.command, number)
		}
	}
}

// spread tells every process that handles the signal and that no other one stands in front of which handles it: what
// is behind such a one is its own to care for. Terraform's providers, which a signal would kill, are Terraform's, and
// a shell that has a trap may pass the signal on itself; twice, it would make Terraform end at once.
func (s *supervisor) spread() {
	all := lookAround(s.stop)
	command, known := all.find(s.command)
	switch {
	case s.ended: // what the command has left
		for _, orphan := range all[os.Getpid()] {
			s.sendOnce(s.addressees(all, orphan)...)
		}
	case !known: // without /proc
		s.sendOnce(process{pid: s.command})
	default:
		told := s.addressees(all, command)
		if len(told) == 0 && !s.protects {
			told = []process{command.process}
		}
		s.sendOnce(told...)
	}
	s.waits = map[process]bool{}
	for _, one := range all.below(os.Getpid()) {
		s.waits[one.process] = one.waits
	}
}

// addressees returns who of a process and of what is behind it is to be told, in this order: a shell that stands in
// front of one that handles the signal and does not itself is ended by it, and has to be before its child is, or it
// would go on with its next command.
func (s *supervisor) addressees(all family, one member) []process {
	if one.catches || s.acts[one.process] || one.waits && s.waits[one.process] {
		s.acts[one.process] = true // also while it does not wait any more, because the signal has come
		for _, other := range all.below(one.pid) {
			s.behind[other.process] = true
		}
		return []process{one.process}
	}
	if one.blocks {
		return nil // an init, if it still waits so when we look again, or a shell that forks
	}
	var behind []process
	for _, child := range all[one.pid] {
		behind = append(behind, s.addressees(all, child)...)
	}
	if len(behind) == 0 {
		return nil
	}
	return append([]process{one.process}, behind...)
}

func (s *supervisor) sendOnce(to ...process) {
	for _, one := range to {
		if !s.told[one] {
			s.told[one] = true
			s.send(one.pid, s.stop)
		}
	}
}

func (s *supervisor) send(pid int, number syscall.Signal) {
	if pid != s.command || !s.ended {
		_ = syscall.Kill(pid, number) // it may have ended
	}
}

// done tells whether nothing is to be waited for any more. A command that ended by itself takes everything with it, as
// a container's first process does; only who was told to end is waited for. One that the signal ended, which it would
// not have without us, takes nobody with it, and what those who were told leave ends with them.
func (s *supervisor) done() bool {
	if !s.ended || s.stop == 0 {
		return s.ended
	}
	for _, one := range lookAround(s.stop).below(os.Getpid()) {
		if s.told[one.process] || s.spared && !s.behind[one.process] {
			return false
		}
	}
	return true
}
