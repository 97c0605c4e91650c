package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// grace is what a container has between the signal and the kubelet's SIGKILL.
const grace = 6 * time.Second

// A container is a PID namespace with a /proc of its own, in which the command is the first process or the helper is.
func container(t *testing.T, masked bool, folder string, command ...string) *exec.Cmd {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("a PID namespace needs root")
	}
	own, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	words := command
	if masked {
		words = append([]string{own, "--"}, command...)
	}
	start := append([]string{"-c", `mount -t proc proc /proc && exec "$@"`, "sh"}, words...)
	first := exec.Command("sh", start...)
	first.Dir = folder
	first.Env = append(os.Environ(), "AWS_SECRET_ACCESS_KEY="+secretKey)
	if masked {
		first.Env = append(first.Env, "BE_THE_HELPER=yes")
	}
	// Detached from the tests' own mounts, and killed with everything in it as the kubelet does it.
	first.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS, Unshareflags: syscall.CLONE_NEWNS, Setsid: true, Pdeathsig: syscall.SIGKILL,
	}
	return first
}

type ending struct {
	code  int
	after time.Duration
	files string // what the processes wrote into their folder
}

// stopped starts a container, sends it SIGTERM once the file `ready` is there, and SIGKILL when its grace is over.
func stopped(t *testing.T, masked bool, script string) ending {
	t.Helper()
	folder := t.TempDir()
	first := container(t, masked, folder, "sh", "-c", script)
	if err := first.Start(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the command to be ready", func() bool {
		time.Sleep(5 * time.Millisecond)
		_, err := os.Stat(filepath.Join(folder, "ready"))
		return err == nil
	})
	time.Sleep(200 * time.Millisecond) // the shell's next command
	began := time.Now()
	_ = first.Process.Signal(syscall.SIGTERM)
	kill := time.AfterFunc(grace, func() { _ = first.Process.Kill() })
	defer kill.Stop()
	_ = first.Wait()
	after := time.Since(began)
	status := first.ProcessState.Sys().(syscall.WaitStatus)
	code := status.ExitStatus()
	if status.Signaled() {
		code = killedBy + int(status.Signal())
	}
	said, _ := os.ReadFile(filepath.Join(folder, "said"))
	return ending{code: code, after: after, files: string(said)}
}

// careful handles SIGTERM, and needs a second to end in order.
const careful = `sh -c 'trap "sleep 1; echo in-order >> said; exit 9" TERM; touch ready; while :; do sleep 0.05; done'`

// slow handles nothing and has work for two seconds.
const slow = `touch ready; sleep 2; echo whole >> said`

// counts says each time that it is told to end.
const counts = `trap "echo told >> said" TERM; touch ready; sleep 3 & wait; sleep 1; exit 9`

// initInFront takes signals as tini and dumb-init do, and passes them on to a child that must get each once.
var initInFront = `exec python3 -c '
import os, signal, subprocess
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGCHLD])
child = subprocess.Popen(["sh", "-c", "` + strings.ReplaceAll(counts, `"`, `\"`) + `"],
    preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM, signal.SIGCHLD]))
signal.sigwait([signal.SIGTERM])
child.send_signal(signal.SIGTERM)
os._exit(child.wait())
'`

func TestACommandEndsAsItWouldWithoutTheHelper(t *testing.T) {
	if testing.Short() {
		t.Skip("graces have to pass")
	}
	scripts := map[string]string{
		"nothing is handled":              slow + `; exit 3`,
		"a process that handles nothing":  `exec sh -c '` + slow + `; exit 3'`,
		"a trap":                          `trap 'echo ending >> said; exit 5' TERM; touch ready; while :; do sleep 0.05; done`,
		"a trap that waits for its child": `trap 'kill $!; wait $!; exit 6' TERM; ` + careful + ` & wait`,
		"exec":                            `exec ` + careful,
		"a pipeline":                      `(` + slow + `) | cat; exit 4`,
		"a background job":                `(sleep 2; echo whole >> said) & touch ready; wait; exit 2`,
		"a daemon of its own session":     `setsid sh -c 'sleep 2; echo whole >> said' & touch ready; sleep 3; exit 2`,
		"a daemon that outlives a trap":   `setsid sleep 600 & trap 'exit 5' TERM; touch ready; while :; do sleep 0.05; done`,
		"an init in front":                initInFront,
		"SIGTERM is ignored":              `trap '' TERM; ` + slow + `; exit 8`,
		"SIGTERM is ignored for ever":     `trap '' TERM; touch ready; while :; do sleep 0.05; done`,
		"never an end":                    `touch ready; while :; do sleep 0.05; done`,
	}
	// Real ones as well: dumb-init comes with the development environment, tini is on some machines.
	for _, name := range []string{"dumb-init", "tini"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Logf("there is no %s here: IT IS NOT TRIED", name)
			continue
		}
		scripts[name+" in front of what handles it"] = `exec ` + name + ` -- ` + careful
		scripts[name+" in front of what does not"] = `exec ` + name + ` -- sh -c '` + slow + `'`
		scripts[name+" counts"] = `exec ` + name + ` -- sh -c '` + counts + `'`
	}
	for name, script := range scripts {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			with, without := stopped(t, true, script), stopped(t, false, script)
			if with.code != without.code || with.files != without.files {
				t.Errorf("with the helper %+v, without %+v", with, without)
			}
			if with.after < without.after-time.Second {
				t.Errorf("less time with the helper: %v, without %v", with.after, without.after)
			}
		})
	}
}

func TestWhoHandlesTheSignalBehindAShellIsToldAndWaitedFor(t *testing.T) {
	for name, script := range map[string]string{
		"behind a shell":             careful + `; echo next >> said`,
		"behind two":                 `sh -c "` + strings.ReplaceAll(careful, `"`, `\"`) + `; true"; echo next >> said`,
		"in a pipeline":              careful + ` | cat; echo next >> said`,
		"in the background":          careful + ` & wait; echo next >> said`,
		"left by a trap":             careful + ` & trap 'exit 143' TERM; while :; do sleep 0.05; done`,
		"in a session of its own":    `setsid ` + careful + ` & wait; echo next >> said`,
		"handled only after a while": `touch ready; sleep 1; ` + careful + `; echo next >> said`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := stopped(t, true, script)
			if got.code != 128+15 || got.files != "in-order\n" || got.after > grace {
				t.Errorf("%+v", got)
			}
		})
	}
}

func TestWhatStandsBehindAHandlerIsItsOwn(t *testing.T) {
	// As Terraform's providers, which SIGTERM would end under its hands.
	script := `trap 'sleep 0.5; kill $! && echo alive >> said; exit 0' TERM
		sh -c 'trap "echo told >> said; exit 1" TERM; touch ready; while :; do sleep 0.05; done' & while :; do sleep 0.05; done`
	if got := stopped(t, true, script); !strings.HasPrefix(got.files, "alive\n") || got.code != 0 {
		t.Errorf("%+v", got)
	}
}

func TestTheFirstProcessOfAContainerReaps(t *testing.T) {
	folder := t.TempDir()
	var out strings.Builder
	first := container(t, true, folder, "sh", "-c", leavesAnOrphan+`; echo "my parent is $PPID"; exit 7`)
	first.Stdout = &out
	_ = first.Run()
	if out.String() != "reaped\nmy parent is 1\n" || first.ProcessState.ExitCode() != 7 {
		t.Errorf("%q %v", out.String(), first.ProcessState)
	}
}

const slowConfiguration = `
terraform {
  backend "local" {}
}
resource "terraform_data" "first" {}
resource "terraform_data" "slow" {
  depends_on = [terraform_data.first]
  provisioner "local-exec" {
    command = "touch ready; sleep 30"
  }
}
`

func TestTerraformBehindAShellEndsInOrder(t *testing.T) {
	terraform, err := exec.LookPath("terraform")
	if err != nil {
		t.Skip("there is no terraform")
	}
	for name, script := range map[string]string{
		"behind a shell": "%[1]s apply -auto-approve -no-color -input=false > said 2>&1; echo next >> said",
		"in a pipeline":  "%[1]s apply -auto-approve -no-color -input=false 2>&1 | tee said; echo next >> said",
		"a trap on EXIT": "trap 'touch cleaned' EXIT; %[1]s apply -auto-approve -no-color -input=false > said 2>&1; echo next >> said",
	} {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			if err := os.WriteFile(filepath.Join(folder, "main.tf"), []byte(slowConfiguration), 0o600); err != nil {
				t.Fatal(err)
			}
			initialise := exec.Command(terraform, "init", "-input=false")
			initialise.Dir = folder
			if said, err := initialise.CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, said)
			}
			first := container(t, true, folder, "sh", "-c", fmt.Sprintf(script, terraform))
			if err := first.Start(); err != nil {
				t.Fatal(err)
			}
			waitFor(t, "the slow resource", func() bool {
				time.Sleep(20 * time.Millisecond)
				_, err := os.Stat(filepath.Join(folder, "ready"))
				return err == nil
			})
			_ = first.Process.Signal(syscall.SIGTERM)
			_ = first.Wait()
			said, _ := os.ReadFile(filepath.Join(folder, "said"))
			state, _ := os.ReadFile(filepath.Join(folder, "terraform.tfstate"))
			if code := first.ProcessState.ExitCode(); code != 128+15 || strings.Contains(string(said), "next\n") {
				t.Errorf("exit code %d: %s", code, said)
			}
			if !strings.Contains(string(said), "Gracefully shutting down") || !strings.Contains(string(state), `"first"`) {
				t.Errorf("%s\nstate: %s", said, state)
			}
			if _, err := os.Stat(filepath.Join(folder, ".terraform.tfstate.lock.info")); err == nil {
				t.Error("the lock stayed")
			}
		})
	}
}

func TestWhoStandsInFrontOfOneThatHandlesTheSignalIsToldBeforeIt(t *testing.T) {
	one := func(pid, parent int, catches bool) member {
		return member{process: process{pid: pid}, parent: parent, catches: catches}
	}
	outer, inner, cat, handler, provider := one(2, 1, false), one(3, 2, false), one(4, 2, false), one(5, 3, true), one(6, 5, true)
	all := family{1: {outer}, 2: {inner, cat}, 3: {handler}, 5: {provider}}
	s := supervisor{acts: map[process]bool{}, behind: map[process]bool{}}
	if got := s.addressees(all, outer); !slices.Equal(got, []process{outer.process, inner.process, handler.process}) {
		t.Errorf("%v", got)
	}
}
