// spacelift-aws-mask runs a command and replaces AWS's secret access key and session token by ***** in what it prints,
// before the first byte leaves the container.
package main

import (
	"errors"
	"fmt"
	"os"
)

const usage = `usage:
  spacelift-aws-mask install DIR                       copy this program into DIR
  spacelift-aws-mask [--files DIR] [--mask NAME]… -- COMMAND [ARG]…
                                                       run COMMAND, its output masked

Values: AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN and AWS_SECURITY_TOKEN of the environment, those of
DIR/credentials.json, now and whenever it is replaced, those of the variables NAME, and what COMMAND itself names in
lines ::add-mask::VALUE on stdout.
`

const wrongUsage = 2

func main() {
	os.Exit(mainCode(os.Args[1:]))
}

func mainCode(arguments []string) int {
	if len(arguments) == 2 && arguments[0] == "install" {
		if err := install(arguments[1]); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", programName, err)
			return 1
		}
		return 0
	}
	folder, variables, command, err := parse(arguments)
	if err != nil {
		fmt.Fprint(os.Stderr, usage)
		return wrongUsage
	}
	secrets, err := newSecrets(folder, os.Getenv)
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v; nothing was started, because nothing could be masked\n", programName, err)
		return notExecutable
	}
	for _, name := range variables {
		if value := os.Getenv(name); !secrets.addOthers(value) && value != "" {
			fmt.Fprintf(os.Stderr, "%s: the value of %s is not masked: it has fewer than %d characters\n", programName, name, shortest)
		}
	}
	code, err := run(command, secrets)
	if err != nil {
		// Masked too: a template may have a value in the very name of its command.
		sentence, _ := secrets.matcher().mask(nil, fmt.Appendf(nil, "%s: %v\n", programName, err), true)
		os.Stderr.Write(sentence)
		tellKubelet(sentence)
	}
	return code
}

// tellKubelet writes why nothing was started where the kubelet looks for it, as the runtime's own error would be found
// in the container's status without us.
func tellKubelet(sentence []byte) {
	const terminationMessagePath = "/dev/termination-log" // the default; where the kubelet has put no file there is none
	if file, err := os.OpenFile(terminationMessagePath, os.O_WRONLY, 0); err == nil {
		file.Write(sentence)
		file.Close()
	}
}

func parse(arguments []string) (folder string, variables, command []string, err error) {
	for len(arguments) > 1 && arguments[0] != "--" {
		switch arguments[0] {
		case "--files":
			folder = arguments[1]
		case "--mask":
			variables = append(variables, arguments[1])
		default:
			return "", nil, nil, errors.New("unknown option")
		}
		arguments = arguments[2:]
	}
	if len(arguments) < 2 {
		return "", nil, nil, errors.New("no command")
	}
	return folder, variables, arguments[1:], nil
}
