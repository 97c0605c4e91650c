"""The commands of the program `spacelift-aws`, one file each."""
