"""What the masking helper costs a command, beside the same command without it, in one run.

    dev/uv run python bench/mask.py [--megabytes 1000] [--rounds 3] [--starts 200]

Throughput: a command writes its output into a pipe in blocks of 64 KiB, as fast as it is read, and this process reads
it from the other end and throws it away, as a container's runtime would pass it on. `log` is what Terraform prints
while it waits, `near` is made of beginnings of the two values, the worst that can be printed, `values` of the values
themselves. Start: `true`, from the fork to its end.

Everything shares the machine's cores: the command, the helper, the reader.
"""

import argparse
import os
import select
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from sandbox import maskhelper

KEY = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
TOKEN = "IQoJb3JpZ2luX2VjEHUaCXVzLWVhc3QtMSJHMEUCIQDq+Ky3/bz5JHZDzJn0Lw7xWvPpZ1mBqE3YtYb6dVhcPQIgE7rAqvHNh+t8vX==" * 4
ENVIRONMENT = {**os.environ, "AWS_SECRET_ACCESS_KEY": KEY, "AWS_SESSION_TOKEN": TOKEN, "AWS_SECURITY_TOKEN": TOKEN}
BLOCK = 1 << 16
SILENT = 10.0
"""Seconds without output, or for one start, after which a command hangs."""

_LINES = "".join(
    f"2026-11-25T02:{i % 60:02}:22.{i:03}Z [INFO] aws_instance.web[{i}]: Still creating... [id=i-{i:017x}, 10s]\n"
    for i in range(1000)
)
TEXTS = {
    "log": _LINES,
    "near": (KEY[:-1] + "-" + TOKEN[:-3] + "\n" + KEY[:9] + TOKEN[:19]) * 200,
    "values": (_LINES[:100] + KEY + "\n" + TOKEN + "\n") * 200,
}

_WRITER = """
import os, sys
block = open(sys.argv[1], "rb").read()
for _ in range(int(sys.argv[2])):
    left = block
    while left:
        left = left[os.write(1, left):]
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=1000, help="output of one measurement (default 1000)")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured (default 3)")
    parser.add_argument("--starts", type=int, default=200, help="how often a process is started (default 200)")
    arguments = parser.parse_args()
    masked = [str(maskhelper.build()), "--"]
    print(f"{os.cpu_count()} cores; {arguments.megabytes} MB of output, {arguments.rounds} rounds, the median")
    with tempfile.TemporaryDirectory() as folder:
        for name, text in TEXTS.items():
            block = Path(folder) / name
            block.write_bytes((text * (BLOCK // len(text) + 1)).encode()[:BLOCK])
            writer = [sys.executable, "-c", _WRITER, str(block), str(arguments.megabytes * 10**6 // BLOCK)]
            pairs = []
            for number in range(arguments.rounds):
                _say(f"{name}, round {number + 1} of {arguments.rounds}")
                pairs.append((_rate(masked + writer), _rate(writer)))
            with_it, without = (statistics.median(side) for side in zip(*pairs, strict=True))
            print(f"  {name:<7} {with_it:6.0f} MB/s with the helper, {without:6.0f} MB/s without", flush=True)
    _say(f"starts, {arguments.starts} of each kind")
    pairs = [(_start([*masked, "true"]), _start(["true"])) for _ in range(arguments.starts)]
    with_it, without = (statistics.median(side) * 1000 for side in zip(*pairs, strict=True))
    print(f"  start   {with_it:6.2f} ms with the helper, {without:6.2f} ms without (median of {arguments.starts})")
    return 0


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _rate(command: Sequence[str]) -> float:
    """Megabytes a second that the command writes, counted where it began."""
    began = time.perf_counter()
    with subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        buffer = bytearray(BLOCK)
        while True:
            if not select.select([process.stdout], [], [], SILENT)[0]:
                process.kill()
                raise SystemExit(f"{command[0]} has written nothing for {SILENT:g} s")
            if not process.stdout.raw.readinto(buffer):  # type: ignore[attr-defined]  # a BufferedReader has it
                break
    if process.returncode != 0:
        raise SystemExit(f"{command[0]} ended with {process.returncode}")
    return int(command[-1]) * BLOCK / 1e6 / (time.perf_counter() - began)


def _start(command: Sequence[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, env=ENVIRONMENT, check=True, timeout=SILENT)
    return time.perf_counter() - began


if __name__ == "__main__":
    raise SystemExit(main())
