"""What a benchmark says: a table for people, and the same as JSON beside it."""

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sandbox.parts import PartFailedError
from sandbox.process import ProcessError

Facts = Mapping[str, Any]


def parser(description: str | None) -> argparse.ArgumentParser:
    """Options that all benchmarks have."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--json", type=Path, help="a file for the result")
    return made


def run(name: str, arguments: argparse.Namespace, measure: Callable[[], Facts], show: Callable[[Facts], None]) -> int:
    """Measure, print the table, and write the file; the exit code. What failed is named, and nothing is printed."""
    before, began = os.getloadavg()[0], time.time()
    try:
        figures = measure()
    except (PartFailedError, ProcessError, TimeoutError) as error:
        print(f"The benchmark has failed, its numbers would mean nothing: {error}", file=sys.stderr)
        return 1
    machine = {"cores": os.cpu_count(), "load before": before, "load after": os.getloadavg()[0]}
    print(f"\n{name}: {machine['cores']} cores; load before {before:.1f}, after {machine['load after']:.1f}")
    show(figures)
    if arguments.json:
        seconds = round(time.time() - began)
        facts = {"benchmark": name, "python": platform.python_version(), "machine": machine, "seconds": seconds}
        arguments.json.write_text(json.dumps({**facts, "figures": figures}, indent=1) + "\n")
    return 0


def line(title: str, values: Sequence[float], unit: str, digits: int = 1) -> None:
    """A row of the table: minimum, median, maximum."""
    low, middle, high = min(values), statistics.median(values), max(values)
    print(f"  {title:<44} {low:9.{digits}f} {middle:9.{digits}f} {high:9.{digits}f}  {unit}")


def percentile(values: Sequence[float], part: float) -> float:
    """The nearest-rank percentile; `part` between 0 and 1."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]
