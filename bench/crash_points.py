"""Kill the controller at every call of every life, or let every call go wrong, and judge what becomes of it.

    dev/uv run python bench/crash_points.py [--lives finished,deadline] [--faults] [--pairs 50 --seed 1] [--part 1/4]
                                            [--list] [--report FILE]

Without `--faults` each call is a point three times: the controller is killed before it is sent, after it was sent and
before it was answered, and after it was answered, and started again. With `--faults` each call is refused, cut, lost,
late and so on, one at a time; with `--pairs` so many random pairs of that. The calls are found by playing each life
once undisturbed. Everything shares the machine: control plane, node, emulated AWS.
"""

import argparse
import itertools
import random
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from sandbox.apiproxy import ApiProxy
from sandbox.audit import WITH_REQUESTS
from sandbox.controller import NAMESPACE, SERVICE_ACCOUNT, Controller
from sandbox.crashpoints.calls import OF_STS, Call, Fault, Moment
from sandbox.crashpoints.judge import Rules
from sandbox.crashpoints.lives import LIVES, Life
from sandbox.crashpoints.rehearsal import AT_ONCE, Point, Rehearsal, Result
from sandbox.stage import Stage, set_stage

SETTINGS = {
    # Minutes become seconds, so that what comes after them is seen.
    "SPACELIFT_AWS_STS_TIMEOUT": "4",
    "SPACELIFT_AWS_CONFIRM_AFTER": "1",
    "SPACELIFT_AWS_RETRY_FIRST": "0.5",
    "SPACELIFT_AWS_RETRY_LAST": "2",
    "SPACELIFT_AWS_RETRY_SLOWLY": "4",
    "SPACELIFT_AWS_CREATION_IN_DOUBT": "2",
    "SPACELIFT_AWS_RELIST_EVERY": "20",
    "SPACELIFT_AWS_RENEW_AFTER": "0.003",
    "SPACELIFT_AWS_HELPER_IMAGE": "localhost/spacelift-aws-operator:sandbox",
    "SPACELIFT_AWS_PROBES_PER_SECOND": "300",
}


class OneController:
    """A controller that is killed and started again."""

    def __init__(self, controller: Controller) -> None:
        self._controller = controller

    def kill(self) -> None:
        self._controller.kill()

    def revive(self) -> None:
        self._controller.start()


def say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


def main() -> int:
    options = _options()
    chosen = [life for life in LIVES if not options.lives or life.name in options.lives.split(",")]
    with set_stage(SETTINGS, audit_policy=WITH_REQUESTS) as stage, ApiProxy(stage.cluster) as api:
        rehearsal = _rehearsal(stage, api)
        calls = rehearsal.record(chosen)
        if options.list:
            for life in chosen:
                print(f"{life.name}: {', '.join(map(str, calls[life]))}")
            return 0
        points = _part(_points(calls, options), options.part)
        began = time.monotonic()
        results = rehearsal.disturb(points) if options.faults or options.pairs else _killed(rehearsal, points)
        say(f"{len(results)} points in {time.monotonic() - began:.0f} s")
    report = _table(calls, results)
    print(report)
    if options.report:
        Path(options.report).write_text(report + "\n")
    return 1 if any(result.complaints for result in results) else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lives", default="", help="names, separated by commas (default: all)")
    parser.add_argument("--faults", action="store_true", help="faults instead of deaths")
    parser.add_argument("--pairs", type=int, default=0, help="so many random pairs of faults")
    parser.add_argument("--seed", type=int, default=1, help="of the random choice (default 1)")
    parser.add_argument("--part", default="1/1", help="only this part of the points, as 2/5")
    parser.add_argument("--list", action="store_true", help="only show the calls")
    parser.add_argument("--report", help="a file for the table")
    return parser.parse_args()


def _rehearsal(stage: Stage, api: ApiProxy) -> Rehearsal:
    kubeconfig = api.kubeconfig(stage.cluster.kubeconfig_for(NAMESPACE, SERVICE_ACCOUNT))
    stage.controller.environment["KUBECONFIG"] = str(kubeconfig)
    stage.controller.start()
    return Rehearsal(stage, api, OneController(stage.controller), Rules.of(SERVICE_ACCOUNT), say)


def _points(calls: dict[Life, list[Call]], options: argparse.Namespace) -> list[tuple[Point, ...]]:
    faults = options.faults or options.pairs
    singles = [
        Point(life, call, what)
        for life, made in calls.items()
        for call in made
        for what in ((OF_STS if call.name.startswith("AssumeRole") else Fault) if faults else Moment)
    ]
    if not options.pairs:
        return [(point,) for point in singles]
    pairs = [pair for pair in itertools.combinations(singles, 2) if pair[0].life is pair[1].life]
    return random.Random(options.seed).sample([pair for pair in pairs if pair[0].call != pair[1].call], options.pairs)


def _part(points: list[tuple[Point, ...]], part: str) -> list[tuple[Point, ...]]:
    number, of = map(int, part.split("/"))
    size = -(-len(points) // of)
    return points[(number - 1) * size : number * size]


def _killed(rehearsal: Rehearsal, points: Sequence[tuple[Point, ...]]) -> list[Result]:
    singles = [point for (point,) in points]
    results: list[Result] = []
    for start in range(0, len(singles), AT_ONCE):
        began = time.monotonic()
        results += rehearsal.kill_at(singles[start : start + AT_ONCE])
        say(f"{len(results)} of {len(singles)} points, the last in {time.monotonic() - began:.1f} s")
        for result in results[start:]:
            if result.complaints:
                say(f"  {result.point}: {'; '.join(result.complaints)}")
    return results


def _table(calls: dict[Life, list[Call]], results: Sequence[Result]) -> str:
    """One line a life: its calls, the points, those met, and those at which something was wrong."""
    points, met = Counter(r.point.life for r in results), Counter(r.point.life for r in results if r.met)
    wrong = Counter(r.point.life for r in results if r.complaints)
    lines = ["| Life | calls | points | met | wrong |", "| --- | ---: | ---: | ---: | ---: |"]
    for life, made in calls.items():
        lines.append(f"| {life.name} | {len(made)} | {points[life]} | {met[life]} | {wrong[life]} |")
    total = (sum(map(len, calls.values())), points.total(), met.total(), wrong.total())
    lines.append(f"| **all** | {' | '.join(map(str, total))} |")
    lines.extend(f"\n{r.point}: {'; '.join(r.complaints)}" for r in results if r.complaints)
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
