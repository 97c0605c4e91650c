package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestMain lets the tests' own program be the helper, so that what is tested is a process.
func TestMain(m *testing.M) {
	if os.Getenv("BE_THE_HELPER") != "" {
		os.Unsetenv("BE_THE_HELPER")
		main()
	}
	os.Exit(m.Run())
}

func helper(t *testing.T, arguments ...string) *exec.Cmd {
	t.Helper()
	command := exec.CommandContext(t.Context(), "/proc/self/exe", arguments...)
	command.Env = []string{
		"BE_THE_HELPER=yes",
		"PATH=" + os.Getenv("PATH"),
		"AWS_ACCESS_KEY_ID=ASIAIOSFODNN7EXAMPLE",
		"AWS_SECRET_ACCESS_KEY=" + secretKey,
		"AWS_SESSION_TOKEN=" + sessionToken,
		"AWS_SECURITY_TOKEN=" + sessionToken,
	}
	return command
}

func shell(t *testing.T, script string) *exec.Cmd {
	t.Helper()
	return helper(t, "--", "sh", "-c", script)
}

type result struct {
	out, err string
	code     int
}

func finish(t *testing.T, command *exec.Cmd) result {
	t.Helper()
	var out, err bytes.Buffer
	command.Stdout, command.Stderr = &out, &err
	ended := command.Run()
	var exit *exec.ExitError
	if ended != nil && !errors.As(ended, &exit) {
		t.Fatal(ended)
	}
	return result{out.String(), err.String(), command.ProcessState.ExitCode()}
}

func TestBothOutputsAreMasked(t *testing.T) {
	got := finish(t, shell(t, `set -x; env; : "$AWS_SECRET_ACCESS_KEY"; printf %s "$AWS_SESSION_TOKEN" | base64; exit 0`))
	if strings.Count(got.out, "=*****\n") != 3 || !strings.HasSuffix(got.out, "\n*****\n") {
		t.Errorf("stdout %q", got.out)
	}
	if !strings.Contains(got.err, ": *****\n") {
		t.Errorf("stderr %q", got.err)
	}
	if !strings.Contains(got.out, "AWS_ACCESS_KEY_ID=ASIAIOSFODNN7EXAMPLE\n") {
		t.Errorf("the access key ID is public, and missing in %q", got.out)
	}
}

func TestAnInstalledHelperIsTheSameProgram(t *testing.T) {
	folder := t.TempDir()
	for range 2 { // an init container may run twice
		if got := finish(t, helper(t, "install", folder)); got.code != 0 {
			t.Fatalf("%+v", got)
		}
	}
	installed := filepath.Join(folder, programName)
	status, err := os.Stat(installed)
	if err != nil || status.Mode() != 0o555 {
		t.Fatalf("%v %v", status, err)
	}
	own, _ := os.ReadFile("/proc/self/exe")
	if copied, _ := os.ReadFile(installed); !bytes.Equal(own, copied) {
		t.Error("the copy differs")
	}
}

func TestExitCodes(t *testing.T) {
	folder := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, c := range []struct {
		command  []string
		code     int
		sentence string
	}{
		{[]string{"true"}, 0, ""},
		{[]string{"sh", "-c", "exit 7"}, 7, ""},
		{[]string{"sh", "-c", "kill -TERM $$"}, 128 + 15, ""},
		{[]string{"sh", "-c", "kill -KILL $$"}, 128 + 9, ""},
		{[]string{"no-such-command"}, 127, "no-such-command: not found in PATH ("},
		{[]string{"/no/such/command"}, 127, "/no/such/command cannot be started: no such file or directory"},
		{[]string{write("plain", "text", 0o644)}, 126, "plain cannot be started: permission denied"},
		{[]string{folder}, 126, "cannot be started: permission denied"},
		{[]string{write("unknown", "\x01\x02", 0o755)}, 126, "unknown cannot be started: exec format error"},
		{[]string{write("script", "#!/no/such/interpreter\n", 0o755)}, 127, "the interpreter or loader that it names is missing"},
		{[]string{secretKey[:20] + "-" + sessionToken}, 127, secretKey[:20] + "-*****"},
	} {
		got := finish(t, helper(t, append([]string{"--"}, c.command...)...))
		if got.code != c.code || got.out != "" || !strings.Contains(got.err, c.sentence) || (c.sentence == "" && got.err != "") {
			t.Errorf("%q: %+v", c.command, got)
		}
	}
}

func TestACommandInPathThatMayNotBeExecuted(t *testing.T) {
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "tool"), []byte("text"), 0o644); err != nil {
		t.Fatal(err)
	}
	command := helper(t, "--", "tool")
	command.Env = append(command.Env, "PATH="+folder)
	if got := finish(t, command); got.code != 126 || !strings.Contains(got.err, "tool: no permission to execute it") {
		t.Errorf("%+v", got)
	}
}

func TestWrongUse(t *testing.T) {
	for _, arguments := range [][]string{{}, {"--"}, {"sh"}, {"--files"}, {"--files", "/x", "sh"}, {"install"}} {
		if got := finish(t, helper(t, arguments...)); got.code != wrongUsage || !strings.HasPrefix(got.err, "usage:") {
			t.Errorf("%q: %+v", arguments, got)
		}
	}
}

func TestTheCommandFindsEverythingAsWithoutUs(t *testing.T) {
	// What a process can tell of its surroundings, its parent and its own numbers left out.
	script := `pwd; env | sort; id; umask; ulimit -n; cat; sed -n 's/^Sig\(Blk\|Ign\|Cgt\)/&/p' /proc/self/status
		grep flags /proc/self/fdinfo/1; ls /proc/self/fd | wc -l; ps -o sid=,pgid=,pid= -p $$ | awk '{print $1==$3, $2==$3}'; echo "$0" "$@"`
	run := func(command *exec.Cmd) string {
		command.Dir = t.TempDir()
		command.Stdin = strings.NewReader("what stands in stdin\n")
		got := finish(t, command)
		if got.code != 0 || got.err != "" {
			t.Fatalf("%+v", got)
		}
		return strings.ReplaceAll(got.out, command.Dir, "DIR")
	}
	masked := helper(t, "--", "sh", "-c", script, "name", "a b", "")
	bare := exec.CommandContext(t.Context(), "sh", "-c", script, "name", "a b", "")
	bare.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // as runtimes start a container's first process
	bare.Env = masked.Env[1:]
	want := strings.NewReplacer(secretKey, "*****", sessionToken, "*****").Replace(run(bare))
	if got := run(masked); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestSignalsReachTheCommandAlone(t *testing.T) {
	for _, number := range []syscall.Signal{
		syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGALRM,
		syscall.SIGWINCH, syscall.SIGSEGV, syscall.SIGABRT, syscall.SIGVTALRM, 64,
	} {
		t.Run(number.String(), func(t *testing.T) {
			// A second shell beside it would say so if it were meant too.
			command := shell(t, fmt.Sprintf(`sh -c 'trap "echo beside" %[1]d; while :; do sleep 0.01; done' &
				trap "echo got %[1]d; kill -KILL $!; exit 40" %[1]d; echo ready; while :; do sleep 0.01; done`, number))
			out := lines(t, command)
			expectLine(t, out, "ready")
			if err := command.Process.Signal(number); err != nil {
				t.Fatal(err)
			}
			expectLine(t, out, fmt.Sprintf("got %d", number))
			_ = command.Wait()
			if code := command.ProcessState.ExitCode(); code != 40 {
				t.Errorf("exit code %d", code)
			}
		})
	}
}

func TestSignalsThatNobodyHandlesEndTheCommand(t *testing.T) {
	command := shell(t, `echo ready; exec sleep 600`)
	expectLine(t, lines(t, command), "ready")
	_ = command.Process.Signal(syscall.SIGTERM)
	_ = command.Wait()
	if code := command.ProcessState.ExitCode(); code != 128+15 {
		t.Errorf("exit code %d", code)
	}
}

func TestAScriptMayKillItsOwnProcessGroup(t *testing.T) {
	if got := finish(t, shell(t, `trap "" TERM; echo before; kill 0; echo after`)); got.out != "before\nafter\n" || got.code != 0 {
		t.Errorf("%+v", got)
	}
}

// A process whose parent ends at once; it ends while the command still runs. `kill -0` finds zombies too.
const leavesAnOrphan = `(sh -c 'echo $$ > new; mv new orphan; exec sleep 0.05' &); while ! [ -s orphan ]; do sleep 0.01; done
	while kill -0 $(cat orphan) 2>/dev/null; do sleep 0.01; done; echo reaped`

func TestWhatTheCommandLeavesBehindIsReaped(t *testing.T) {
	command := shell(t, leavesAnOrphan)
	command.Dir = t.TempDir()
	if got := finish(t, command); got.out != "reaped\n" {
		t.Errorf("%+v", got)
	}
}

func TestAProcessLeftBehindIsNotWaitedFor(t *testing.T) {
	// It holds both pipes, and goes on writing.
	got := make(chan result)
	go func() { got <- finish(t, shell(t, `yes left behind & printf last; printf 'also last' >&2; exit 3`)) }()
	select {
	case result := <-got:
		if !strings.Contains(result.out, "last") || result.err != "also last" || result.code != 3 {
			t.Errorf("%d bytes, %q, %d", len(result.out), result.err, result.code)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("it was waited for")
	}
}

func TestTheLastWordsArrive(t *testing.T) {
	for range 20 {
		got := finish(t, shell(t, `sleep 600 & head -c 60000 /dev/zero; printf %s "$AWS_SESSION_TOKEN"; printf `+secretKey[:39]+`; kill -KILL $!`))
		if want := strings.Repeat("\x00", 60000) + "*****" + secretKey[:39]; got.out != want {
			t.Fatalf("%d bytes that end in %q", len(got.out), got.out[max(0, len(got.out)-60):])
		}
	}
}

func TestBinaryOutputIsUnchanged(t *testing.T) {
	program := filepath.Join(t.TempDir(), "program")
	own := make([]byte, 1<<20)
	random := rand.New(rand.NewPCG(5, 6))
	for i := range own {
		own[i] = byte(random.Uint32())
	}
	command := helper(t, "--", "cat", program)
	command.Env = append(command.Env, "AWS_SECRET_ACCESS_KEY=another/value", "AWS_SESSION_TOKEN=another/token", "AWS_SECURITY_TOKEN=")
	if err := os.WriteFile(program, own, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := finish(t, command); got.out != string(reference([]string{"another/value", "another/token"}, own)) {
		t.Errorf("%d bytes of %d", len(got.out), len(own))
	}
}

func TestAPromptIsNotHeldBack(t *testing.T) {
	command := shell(t, `printf 'Continue? [y/N] '; read -r answer; printf 'and the key '; printf %.20s "$AWS_SECRET_ACCESS_KEY"; read -r answer; echo .`)
	in, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	expectBytes(t, out, "Continue? [y/N] ")
	fmt.Fprintln(in, "y")
	// Twenty characters of the secret key could go on, and have to wait.
	expectBytes(t, out, "and the key ")
	fmt.Fprintln(in, "y")
	expectBytes(t, out, secretKey[:20]+".\n")
	_ = command.Wait()
}

func TestAReaderThatStopsReadingStopsTheCommand(t *testing.T) {
	folder := t.TempDir()
	command := shell(t, `i=0; while :; do echo 0123456789012345678901234567890123456789012345678901234567890123; i=$((i+1)); echo $i > count.new; mv count.new count; done`)
	command.Dir = folder
	out, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	count := func() string { text, _ := os.ReadFile(filepath.Join(folder, "count")); return string(text) }
	waitFor(t, "the command to stop", func() bool {
		before := count()
		time.Sleep(200 * time.Millisecond) // longer than a round of the loop by far
		return before != "" && before == count()
	})
	var lines int
	fmt.Sscan(count(), &lines)
	// Two pipes and a buffer.
	if most := (64<<10 + bufferSize + 64<<10) / 65; lines > most {
		t.Errorf("%d lines before it had to wait, more than %d", lines, most)
	}
	out.Close()
	_ = command.Wait()
	if code := command.ProcessState.ExitCode(); code != 128+13 {
		t.Errorf("exit code %d, where SIGPIPE was meant", code)
	}
}

func TestNobodyListensAnyMore(t *testing.T) {
	// Its stdout is closed; a command that does not write there goes on.
	command := shell(t, `echo first; while ! echo more 2>/dev/null; do :; done; trap "" PIPE; i=0; while [ $i -lt 100 ]; do echo more 2>/dev/null || break; sleep 0.01; i=$((i+1)); done; echo alive >&2; exit 9`)
	out, _ := command.StdoutPipe()
	var complaints bytes.Buffer
	command.Stderr = &complaints
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	expectBytes(t, out, "first\n")
	out.Close()
	_ = command.Wait()
	code := command.ProcessState.ExitCode()
	if code != 128+13 && (code != 9 || complaints.String() != "alive\n") {
		t.Errorf("exit code %d, %q", code, complaints.String())
	}
}

// lines starts the command and returns its output, line by line.
func lines(t *testing.T, command *exec.Cmd) <-chan string {
	t.Helper()
	out, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	found := make(chan string, 100)
	go func() {
		defer close(found)
		var line []byte
		one := make([]byte, 1)
		for {
			if n, err := out.Read(one); n == 0 || err != nil {
				return
			}
			if one[0] != '\n' {
				line = append(line, one[0])
				continue
			}
			found <- string(line)
			line = nil
		}
	}()
	return found
}

func expectLine(t *testing.T, lines <-chan string, want string) {
	t.Helper()
	select {
	case got, ok := <-lines:
		if got != want {
			t.Fatalf("line %q (%v), where %q was meant", got, ok, want)
		}
	case <-time.After(20 * time.Second):
		t.Fatalf("no line where %q was meant", want)
	}
}

func expectBytes(t *testing.T, from io.Reader, want string) {
	t.Helper()
	got := make([]byte, len(want))
	read := make(chan error, 1)
	go func() { _, err := io.ReadFull(from, got); read <- err }()
	select {
	case err := <-read:
		if err != nil || string(got) != want {
			t.Fatalf("%q (%v), where %q was meant", got, err, want)
		}
	case <-time.After(20 * time.Second):
		t.Fatalf("nothing, where %q was meant", want)
	}
}

func waitFor(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(60 * time.Second); !holds(); {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}
