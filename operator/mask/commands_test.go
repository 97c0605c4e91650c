package main

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestLinesThatAddAValueAreTakenOut compares with a regular expression on the whole text.
func TestLinesThatAddAValueAreTakenOut(t *testing.T) {
	command := regexp.MustCompile(`(?m)^::add-mask::(.*)(?:\n|\z)`)
	parts := []string{"::add-mask::", "::add-mask::secret%0Aof%25two", "\n", "text", "::", ":", "::add-", " ", "\r\n", "::add-mask::\n"}
	for seed := range uint64(3000) {
		random := rand.New(rand.NewPCG(seed, 2))
		var text strings.Builder
		for range random.IntN(12) {
			text.WriteString(parts[random.IntN(len(parts))])
		}
		var want, got []string
		for _, found := range command.FindAllStringSubmatch(text.String(), -1) {
			want = append(want, unescape(strings.TrimSuffix(found[1], "\r")))
		}
		c, rest, out := &commands{}, []byte(text.String()), ""
		for end := false; !end; {
			n := min(len(rest), 1+random.IntN(9))
			end = n == len(rest)
			out += string(c.strip(slices.Clone(rest[:n]), end, func(value string) { got = append(got, value) }))
			rest = rest[n:]
		}
		if out != command.ReplaceAllString(text.String(), "") || !slices.Equal(got, want) {
			t.Fatalf("seed %d: %q\ngot  %q %q\nwant %q %q", seed, text.String(), out, got, command.ReplaceAllString(text.String(), ""), want)
		}
	}
}

func TestACommandAddsValues(t *testing.T) {
	got := finish(t, shell(t, `echo 'not yet: my-password'; sleep 0.1; echo '::add-mask::my-password'; echo '::add-mask::short'
		echo '::add-mask::first line%0A  second line'; sleep 0.1; echo "my-password my%2Dpassword short"; echo '> second line' >&2
		printf '::add-mask::last-words'`))
	if got.out != "not yet: my-password\n***** ***** short\n" || got.err != "> *****\n" {
		t.Errorf("%+v", got)
	}
}

func TestOnStderrSuchALineIsText(t *testing.T) {
	if got := finish(t, shell(t, `echo '::add-mask::my-password' >&2`)); got.err != "::add-mask::my-password\n" {
		t.Errorf("%+v", got)
	}
}

func TestVariablesThatTheRunNames(t *testing.T) {
	command := helper(t, "--mask", "TF_VAR_password", "--mask", "PIN", "--mask", "MISSING", "--", "sh", "-c", `echo "$TF_VAR_password $PIN $AWS_SECRET_ACCESS_KEY"`)
	command.Env = append(command.Env, "TF_VAR_password=hunter2-hunter2", "PIN=1234")
	got := finish(t, command)
	if got.out != "***** 1234 *****\n" || got.err != fmt.Sprintf("%s: the value of PIN is not masked: it has fewer than 8 characters\n", programName) {
		t.Errorf("%+v", got)
	}
}

func TestWhatIsAddedIsNotForgottenAtARenewal(t *testing.T) {
	files := &mounted{t: t, folder: t.TempDir()}
	files.put("first/key", "first+token")
	s := files.secrets()
	s.addOthers("my-password")
	files.put("second/key", "second+token")
	if got := masked(s, "first/key second/key my-password"); got != "***** ***** *****" {
		t.Error(got)
	}
}

func TestAValueToldOnStdoutIsMaskedInWhatStderrSaysNext(t *testing.T) {
	for name, before := range map[string]string{
		"at once":             "",
		"behind a full pipe":  "yes 'a line of thirty bytes or so' | head -n 2000; ",
		"behind half a line":  "printf half; sleep 0.01; echo; ",
		"with nothing before": "echo >&2; ",
	} {
		t.Run(name, func(t *testing.T) {
			const times = 200
			got := finish(t, shell(t, fmt.Sprintf(`i=0; while [ $i -lt %d ]; do
				i=$((i + 1)); %s echo "::add-mask::fetched-$i-secret"; echo "fetched-$i-secret" >&2; done`, times, before)))
			if said := strings.Count(got.err, "*****\n"); said != times || strings.Contains(got.err, "secret") {
				t.Errorf("%d masked: %.200q", said, got.err)
			}
		})
	}
}

func TestAStdoutThatNobodyReadsKeepsNobodyFromReadingStderr(t *testing.T) {
	command := shell(t, `yes | head -c 1000000 & for i in 1 2 3 4 5 6 7 8 9; do sleep 0.1; echo "line $i" >&2; done`)
	stdout, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	stderr, err := command.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(stderr)
	for range 9 {
		if !lines.Scan() {
			t.Fatal("stderr ended early")
		}
	}
	if took := time.Since(began); took > 4*longestWait {
		t.Errorf("nine lines of stderr took %v: each waits for stdout anew", took)
	}
	if _, err := io.Copy(io.Discard, stdout); err != nil {
		t.Fatal(err)
	}
	_ = command.Wait()
}
