package main

import (
	"io"
	"os"
	"path/filepath"
)

const programName = "spacelift-aws-mask"

// install copies this program into the folder, for containers whose images do not have it.
func install(folder string) error {
	own, err := os.Open("/proc/self/exe")
	if err != nil {
		return err
	}
	defer own.Close()
	// Under another name first: whoever finds the name finds the whole program.
	partial := filepath.Join(folder, "."+programName)
	if err := copyInto(partial, own); err != nil {
		return err
	}
	return os.Rename(partial, filepath.Join(folder, programName))
}

func copyInto(path string, from io.Reader) error {
	_ = os.Remove(path) // of an init container that was killed
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o700)
	if err != nil {
		return err
	}
	if _, err := io.Copy(file, from); err != nil {
		file.Close()
		return err
	}
	if err := file.Chmod(0o555); err != nil {
		file.Close()
		return err
	}
	return file.Close()
}
