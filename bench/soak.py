"""Lives of every kind for as long as wanted, each with something that goes wrong, the controller killed now and then.

    dev/uv run python bench/soak.py [--minutes 60] [--seed 1] [--kill-every 5] [--victim standby]

In each round fourteen lives chosen by chance are played side by side, each with one or two faults at calls chosen by
chance; in every fifth round somebody is killed instead, when each life has come to a call chosen by chance: the
controller, or another `--victim`. With `everybody`, two controllers and two pools share the lives, and all but the
controller that waits are killed at once. Every life is judged as in `bench/crash_points.py`. The memory, file
descriptors and threads of who does the work are shown after each round. The same seed chooses the same lives and calls.
Everything shares the machine.
"""

import argparse
import random
import sys
import time
from pathlib import Path

from sandbox.apiproxy import ApiProxy
from sandbox.audit import WITH_REQUESTS
from sandbox.bench.usage import usage
from sandbox.crashpoints.calls import Moment, disturbances_of
from sandbox.crashpoints.executors import SETTINGS, VICTIMS, lives_of, rehearsal_on
from sandbox.crashpoints.lives import Life
from sandbox.crashpoints.rehearsal import AT_ONCE, Point, Rehearsal, Result
from sandbox.stage import set_stage


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60, help="how long (default 60)")
    parser.add_argument("--seed", type=int, default=1, help="of every choice (default 1)")
    parser.add_argument("--kill-every", type=int, default=5, help="rounds (default 5)")
    parser.add_argument("--victim", choices=VICTIMS, default="controller", help="who is killed (default controller)")
    options = parser.parse_args()
    lives = lives_of(options.victim)
    dice, until = random.Random(options.seed), time.monotonic() + options.minutes * 60
    results: list[Result] = []
    with set_stage(SETTINGS, audit_policy=WITH_REQUESTS) as stage, ApiProxy(stage.cluster) as api:
        rehearsal = rehearsal_on(stage, api, options.victim, say)
        for _ in range(rehearsal.victim.executors):
            rehearsal.record(lives)
        number = 0
        while time.monotonic() < until:
            number += 1
            chosen = [dice.choice(lives) for _ in range(AT_ONCE)]
            if number % options.kill_every == 0:
                results += rehearsal.kill_at([(_point(rehearsal, life, dice),) for life in chosen])
            else:
                results += rehearsal.disturb([_faults(rehearsal, life, dice) for life in chosen])
            size = "; ".join(map(_size, rehearsal.victim.pids))
            say(f"round {number}: {len(results)} lives, {len(_wrong(results))} wrong; {size}")
    wrong = _wrong(results)
    for result in wrong:
        print(f"{result.point}: {'; '.join(result.complaints)}")
    print(f"seed {options.seed}: {len(results)} lives in {number} rounds, {len(wrong)} wrong", file=sys.stderr)
    return 1 if wrong else 0


def say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


def _wrong(results: list[Result]) -> list[Result]:
    return [result for result in results if result.complaints]


def _point(rehearsal: Rehearsal, life: Life, dice: random.Random) -> Point:
    return Point(life, dice.choice(rehearsal.calls(life)), dice.choice(list(Moment)))


def _faults(rehearsal: Rehearsal, life: Life, dice: random.Random) -> tuple[Point, ...]:
    calls = dice.sample(rehearsal.calls(life), dice.choice((1, 2)))
    return tuple(Point(life, call, dice.choice(disturbances_of(call))) for call in calls)


def _size(pid: int) -> str:
    """Memory, file descriptors and threads of a process; see proc(5)."""
    files, threads = (len(list(Path(f"/proc/{pid}/{what}").iterdir())) for what in ("fd", "task"))
    return f"{usage(pid).rss:.0f} MiB, {files} files, {threads} threads"


if __name__ == "__main__":
    raise SystemExit(main())
