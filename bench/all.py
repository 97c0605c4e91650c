"""Every benchmark of this folder that compares the controller with itself or others, one after the other.

    dev/uv run python bench/all.py [--quick] [--only NAME ...] [--results FOLDER]

Each is a command of its own and prints its own table; its result goes to FOLDER/<name>.json. `--quick` takes smaller
numbers: it shows that all of them work, within some minutes each.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
WHOLE: dict[str, list[list[str]]] = {
    "throughput": [["--runs=300"], ["--runs=1000"], ["--runs=5000", "--pairs=7"]],
    "latency": [[]],
    "cold_start": [[]],
    "idle": [[]],
    "come_and_go": [[]],
    "peers": [[]],
    "foreign_jobs": [[]],
    "takeover": [[]],
    "secret_volume": [[]],
    "mask": [[]],
}
QUICK: dict[str, list[list[str]]] = {
    "throughput": [["--runs=100", "--pairs=2"]],
    "latency": [["--rates", "5", "--seconds=10"]],
    "cold_start": [["--ended", "0", "2000", "--rounds=1"]],
    "idle": [["--integrations=50", "--pods=500", "--seconds=10"]],
    "come_and_go": [["--runs=500"]],
    "peers": [["--jobs=50", "--rounds=1"]],
}
WITHOUT_RESULT = ("foreign_jobs", "takeover", "secret_volume", "mask")
"""They print their table only."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", nargs="+", choices=sorted(WHOLE), default=None)
    parser.add_argument("--results", type=Path, default=Path("bench-results"))
    arguments = parser.parse_args()
    arguments.results.mkdir(parents=True, exist_ok=True)
    failed = []
    for name, runs in (QUICK if arguments.quick else WHOLE).items():
        if arguments.only is not None and name not in arguments.only:
            continue
        for number, options in enumerate(runs):
            if not _run(name, options, arguments.results / f"{name}{f'-{number + 1}' if len(runs) > 1 else ''}.json"):
                failed.append(" ".join((name, *options)))
    print(f"\nfailed: {', '.join(failed)}" if failed else "\nall have worked")
    return 1 if failed else 0


def _run(name: str, options: list[str], file: Path) -> bool:
    began = time.monotonic()
    print(f"\n==> {name} {' '.join(options)}", flush=True)
    written = [] if name in WITHOUT_RESULT else [f"--json={file}"]
    code = subprocess.run([sys.executable, str(HERE / f"{name}.py"), *options, *written]).returncode
    print(f"==> {name}: {'done' if code == 0 else 'FAILED'} after {time.monotonic() - began:.0f} s", flush=True)
    return code == 0


if __name__ == "__main__":
    sys.exit(main())
