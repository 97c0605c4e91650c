package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// mounted is a folder as the kubelet mounts a Secret: `..data` points to the files, and is replaced at once.
type mounted struct {
	t      *testing.T
	folder string
	number int
}

func (m *mounted) put(key, token string) {
	m.t.Helper()
	m.putText(fmt.Sprintf(`{"Version": 1, "AccessKeyId": "ASIAX", "SecretAccessKey": %q, "SessionToken": %q, "Expiration": "2026-11-25T03:00:00Z"}`, key, token))
}

func (m *mounted) putText(text string) {
	m.t.Helper()
	m.number++
	version := fmt.Sprintf("..2026_%d", m.number)
	do := func(err error) {
		m.t.Helper()
		if err != nil {
			m.t.Fatal(err)
		}
	}
	do(os.Mkdir(filepath.Join(m.folder, version), 0o755))
	do(os.WriteFile(filepath.Join(m.folder, version, credentialsFile), []byte(text), 0o644))
	do(os.Symlink(version, filepath.Join(m.folder, "..data_tmp")))
	do(os.Rename(filepath.Join(m.folder, "..data_tmp"), filepath.Join(m.folder, "..data")))
	if m.number == 1 {
		do(os.Symlink(filepath.Join("..data", credentialsFile), filepath.Join(m.folder, credentialsFile)))
		return
	}
	do(os.RemoveAll(filepath.Join(m.folder, fmt.Sprintf("..2026_%d", m.number-1))))
}

func nothing(string) string { return "" }

func (m *mounted) secrets() *secrets {
	m.t.Helper()
	s, err := newSecrets(m.folder, nothing)
	if err != nil {
		m.t.Fatal(err)
	}
	return s
}

func masked(s *secrets, text string) string {
	out, rest := s.matcher().mask(nil, []byte(text), true)
	return string(out) + string(rest)
}

func TestOldAndNewValuesAreMaskedAfterARenewal(t *testing.T) {
	files := &mounted{t: t, folder: t.TempDir()}
	files.put("first/key", "first+token=")
	s := files.secrets()
	if got := masked(s, "first/key first+token= second/key"); got != "***** ***** second/key" {
		t.Error(got)
	}
	files.put("second/key", "second+token=")
	if got := masked(s, "first/key second/key second%2Btoken%3d"); got != "***** ***** *****" {
		t.Error(got)
	}
}

func TestWhatWasHeldBackIsLookedThroughForNewValues(t *testing.T) {
	files := &mounted{t: t, folder: t.TempDir()}
	files.put("AAAAkey-of-old", "token-of-old")
	s := files.secrets()
	out, rest := s.matcher().mask(nil, []byte("text AAAA"), false)
	files.put("AAAAB", "token-of-new")
	out, rest = s.matcher().mask(out, append(rest, "B\n"...), false)
	if string(out) != "text *****\n" || len(rest) != 0 {
		t.Errorf("%q %q", out, rest)
	}
}

func TestAFileThatIsNoKubeletsIsReadAgainToo(t *testing.T) {
	folder := t.TempDir()
	s, err := newSecrets(folder, nothing)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(folder, credentialsFile)
	for _, value := range []string{"value-1", "value-2"} {
		if err := os.WriteFile(path, []byte(`{"SecretAccessKey": "`+value+`"}`), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := masked(s, value); got != "*****" {
			t.Error(got)
		}
	}
}

func TestAFileThatCannotBeReadIsToldAtOnceAndNotQuoted(t *testing.T) {
	files := &mounted{t: t, folder: t.TempDir()}
	files.putText(`{"SecretAccessKey": very-secret`)
	got := finish(t, helper(t, "--files", files.folder, "--", "true"))
	if got.code != notExecutable || !strings.Contains(got.err, "is not the JSON of a credential process; nothing was started") {
		t.Errorf("%+v", got)
	}
	if strings.Contains(got.err, "very-secret") {
		t.Error("it was quoted")
	}
}

func TestARenewalThatCannotBeReadIsTriedAgain(t *testing.T) {
	files := &mounted{t: t, folder: t.TempDir()}
	files.put("first/key", "first+token")
	s := files.secrets()
	files.putText("{")
	if got := masked(s, "first/key"); got != "*****" {
		t.Error(got)
	}
	files.put("third/key", "third+token")
	if got := masked(s, "third/key"); got != "*****" {
		t.Error(got)
	}
}

func TestValuesOfTheEnvironmentAndTheFile(t *testing.T) {
	files := &mounted{t: t, folder: t.TempDir()}
	files.put("file-key", "file-token")
	environment := map[string]string{"AWS_SECRET_ACCESS_KEY": "key", "AWS_SESSION_TOKEN": "token", "AWS_SECURITY_TOKEN": "older"}
	s, err := newSecrets(files.folder, func(name string) string { return environment[name] })
	if err != nil {
		t.Fatal(err)
	}
	if got := masked(s, "file-key,file-token,key,token,older,AKIA"); got != "*****,*****,*****,*****,*****,AKIA" {
		t.Error(got)
	}
}

func TestRenewalsDoNotAddUp(t *testing.T) {
	files := &mounted{t: t, folder: t.TempDir()}
	files.put("key-0.", "token-0.")
	s := files.secrets()
	for i := range mostValues {
		files.put(fmt.Sprintf("key-%d.", i), fmt.Sprintf("token-%d.", i))
		s.matcher()
	}
	if len(s.values) != mostValues {
		t.Errorf("%d values", len(s.values))
	}
	if got := masked(s, fmt.Sprintf("key-%d. token-%d.", mostValues-1, mostValues/2)); got != "***** *****" {
		t.Error(got)
	}
}

func TestARenewalInTheMiddleOfARun(t *testing.T) {
	files := &mounted{t: t, folder: t.TempDir()}
	files.put("first/key/of/a/run", "first+token+of+a+run=")
	command := helper(t, "--files", files.folder, "--", "sh", "-c", `cd `+files.folder+`; cat credentials.json; echo; echo read; while ! grep -q second credentials.json; do sleep 0.01; done; cat credentials.json; echo`)
	out := lines(t, command)
	line := `{"Version": 1, "AccessKeyId": "ASIAX", "SecretAccessKey": "*****", "SessionToken": "*****", "Expiration": "2026-11-25T03:00:00Z"}`
	expectLine(t, out, line)
	expectLine(t, out, "read")
	files.put("second/key/of/a/run", "second+token+of+a+run=")
	expectLine(t, out, line)
	if err := command.Wait(); err != nil {
		t.Error(err)
	}
}
