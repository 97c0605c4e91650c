"""Kill an executor at every call of every life, or let every call go wrong, and judge what becomes of it.

    dev/uv run python bench/crash_points.py [--lives finished,deadline] [--victim worker] [--faults | --pairs 50 |
                                            --watches] [--seed 1] [--part 1/4] [--minutes 8] [--list] [--report FILE]

Without `--faults` each call is a point three times: the victim is killed before it is sent, after it was sent and
before it was answered, and after it was answered. A controller, a worker and the API server are started again; of two
controllers (`--victim standby`) or workers (`--victim worker-standby`) the one that waited carries on. With `--faults`
each call is refused, cut, lost, late and so on, one at a time; with `--pairs` so many random pairs of that. With
`--watches` all watches tell late, twice, or nothing. With `--minutes` as many points as there is time for, chosen by
chance. The calls are found by playing each life once undisturbed. Everything shares the machine: control plane, node,
emulated AWS.
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
from sandbox.crashpoints.calls import Call, Moment, WatchFault, disturbances_of
from sandbox.crashpoints.executors import SETTINGS, VICTIMS, lives_of, rehearsal_on
from sandbox.crashpoints.lives import Life
from sandbox.crashpoints.rehearsal import AT_ONCE, Point, Rehearsal, Result
from sandbox.stage import set_stage


def say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


def main() -> int:
    options = _options()
    lives = lives_of(options.victim)
    chosen = [life for life in lives if not options.lives or life.name in options.lives.split(",")]
    with set_stage(SETTINGS, audit_policy=WITH_REQUESTS) as stage, ApiProxy(stage.cluster) as api:
        rehearsal = rehearsal_on(stage, api, options.victim, say)
        calls = rehearsal.record(chosen)
        if options.list:
            for life in chosen:
                print(f"{life.name}: {', '.join(map(str, calls[life]))}")
            return 0
        began = time.monotonic()
        if options.watches:
            results = [result for how in WatchFault for result in rehearsal.mislead(chosen, how)]
        else:
            results = _play(rehearsal, _part(_points(calls, options), options.part), options)
        say(f"{len(results)} points in {time.monotonic() - began:.0f} s")
    report = _table(calls, results)
    print(report)
    if options.report:
        Path(options.report).write_text(report + "\n")
    return 1 if any(result.complaints for result in results) else 0


def _play(rehearsal: Rehearsal, points: list[tuple[Point, ...]], options: argparse.Namespace) -> list[Result]:
    if options.minutes:
        random.Random(options.seed).shuffle(points)
    began = time.monotonic()
    until = began + 60 * (options.minutes or 1e6)
    play = rehearsal.disturb if options.faults or options.pairs else rehearsal.kill_at
    results: list[Result] = []
    while points and time.monotonic() < until:
        results += play(points[:AT_ONCE])
        del points[:AT_ONCE]
        say(f"{len(results)} points, {len(points)} left, {time.monotonic() - began:.0f} s")
    return results


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lives", default="", help="names, separated by commas (default: all)")
    parser.add_argument("--faults", action="store_true", help="faults instead of deaths")
    parser.add_argument("--pairs", type=int, default=0, help="so many random pairs of faults")
    parser.add_argument("--watches", action="store_true", help="watches that are late, doubled, silent")
    parser.add_argument("--victim", choices=VICTIMS, default="controller", help="who is killed (default controller)")
    parser.add_argument("--seed", type=int, default=1, help="of the random choice (default 1)")
    parser.add_argument("--part", default="1/1", help="only this part of the points, as 2/5")
    parser.add_argument("--minutes", type=float, help="as many points as there is time for, in random order")
    parser.add_argument("--list", action="store_true", help="only show the calls")
    parser.add_argument("--report", help="a file for the table")
    return parser.parse_args()


def _points(calls: dict[Life, list[Call]], options: argparse.Namespace) -> list[tuple[Point, ...]]:
    faults = options.faults or options.pairs
    singles = [
        Point(life, call, what)
        for life, made in calls.items()
        for call in made
        for what in (disturbances_of(call) if faults else tuple(Moment))
    ]
    if not options.pairs:
        return [(point,) for point in singles]
    pairs = [pair for pair in itertools.combinations(singles, 2) if pair[0].life is pair[1].life]
    return random.Random(options.seed).sample([pair for pair in pairs if pair[0].call != pair[1].call], options.pairs)


def _part(points: list[tuple[Point, ...]], part: str) -> list[tuple[Point, ...]]:
    number, of = map(int, part.split("/"))
    size = -(-len(points) // of)
    return points[(number - 1) * size : number * size]


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
