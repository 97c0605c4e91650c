package main

import (
	"bytes"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// A process is known by its number and the time of its start, because numbers are used again.
type process struct {
	pid     int
	started uint64
}

// A member is one of the command's processes as /proc shows it.
type member struct {
	process
	parent  int
	catches bool // it has a handler for the signal that was asked about, or is in sigwait, as inits are
	blocks  bool // it has the signal blocked for now
	waits   bool // it sleeps so: others take signals by a file descriptor
}

// A family is what descends from this process, by the parent's number.
type family map[int][]member

// lookAround reads the processes of the container, and which of them handle the signal.
func lookAround(number syscall.Signal) family {
	found := family{}
	// Another namespace's /proc, or none, says nothing of ours.
	if self, _ := os.Readlink("/proc/self"); self != strconv.Itoa(os.Getpid()) {
		return found
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return found
	}
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		if one, alive := read(pid, number); alive {
			found[one.parent] = append(found[one.parent], one)
		}
	}
	return found
}

// read reads one process; a zombie has ended.
func read(pid int, number syscall.Signal) (member, bool) {
	folder := "/proc/" + strconv.Itoa(pid)
	stat, err := os.ReadFile(folder + "/stat")
	if err != nil {
		return member{}, false
	}
	// The name stands in brackets, and may hold brackets and spaces itself.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	const state, parent, started = 0, 1, 19
	if len(fields) <= started || fields[state] == "Z" || fields[state] == "X" {
		return member{}, false
	}
	one := member{process: process{pid: pid}}
	one.parent, _ = strconv.Atoi(fields[parent])
	one.started, _ = strconv.ParseUint(fields[started], 10, 64)
	one.catches = has(folder, "SigCgt", number) || inSigwait(folder)
	// Not while it forks, when shells block everything for a moment.
	one.blocks = has(folder, "SigBlk", number)
	one.waits = one.blocks && fields[state] == "S"
	return one, true
}

// inSigwait tells whether a process waits for a signal in the kernel, which shows none as blocked that is waited for.
func inSigwait(folder string) bool {
	if call, err := os.ReadFile(folder + "/syscall"); err == nil {
		number, _, _ := strings.Cut(string(call), " ")
		return number == strconv.Itoa(syscall.SYS_RT_SIGTIMEDWAIT)
	}
	where, _ := os.ReadFile(folder + "/wchan")
	return strings.Contains(string(where), "sigtimedwait")
}

// has tells whether one of a process's sets of signals has the signal.
func has(folder, set string, number syscall.Signal) bool {
	status, err := os.ReadFile(folder + "/status")
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(status)) {
		name, mask, _ := strings.Cut(line, ":")
		if name == set {
			bits, err := strconv.ParseUint(strings.TrimSpace(mask), 16, 64)
			return err == nil && bits>>(number-1)&1 == 1
		}
	}
	return false
}

// find returns the member with this number.
func (f family) find(pid int) (member, bool) {
	for _, members := range f {
		for _, one := range members {
			if one.pid == pid {
				return one, true
			}
		}
	}
	return member{}, false
}

// below returns all that descends from a process.
func (f family) below(pid int) []member {
	found := slices.Clone(f[pid])
	for _, child := range f[pid] {
		found = append(found, f.below(child.pid)...)
	}
	return found
}
