"""Plays lives, many at once, with one point each, and has them judged."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Protocol

from sandbox.apiproxy import ApiProxy
from sandbox.crashpoints.calls import Call, Disturbance, Moment, Tape, What
from sandbox.crashpoints.judge import AuditTail, Evidence, Kind, Rules, complaints, kinds
from sandbox.crashpoints.lives import RUN, Life, Scene
from sandbox.crashpoints.minted import Minted
from sandbox.stage import Stage

AT_ONCE = 14
"""Lives side by side: an executor has 48 calls to the API server under way at most, and dead ones hold some."""
REACHED_WITHIN = 60.0
LINGERING = 3.0
"""Seconds in which what follows the end of a life is called."""
SPARE = {Moment: 3, Disturbance: 6}
"""How many more calls of a kind than twice the usual a death or a fault may cost."""
CREDENTIALS = "aws.spacelift.io/run-credentials"


class Executor(Protocol):
    """Who does the work, and can be killed."""

    def kill(self) -> None: ...

    def revive(self) -> None:
        """Somebody does the work again when this returns, or soon after."""


@dataclass(frozen=True)
class Point:
    """One call of one life, and what befalls it."""

    life: Life
    call: Call
    what: What

    def __str__(self) -> str:
        return f"{self.life.name}: {self.call}, {self.what.value}"


@dataclass(frozen=True)
class Result:
    """What became of a point. One that was not met stood at a call that did not come this time."""

    point: Point
    met: bool
    complaints: tuple[str, ...]


@dataclass
class Score:
    """What an undisturbed life calls."""

    calls: dict[Life, list[Call]] = field(default_factory=dict)
    usual: dict[Life, Counter[Kind]] = field(default_factory=dict)


class Rehearsal:
    """A stage whose executor reaches everything through both proxies."""

    def __init__(
        self,
        stage: Stage,
        api: ApiProxy,
        executor: Executor,
        rules: Rules,
        say: Callable[[str], None],
        place: Callable[[], str] | None = None,
    ) -> None:
        """`place` makes a namespace for a life; by default the stage does."""
        assert stage.cluster.audit_log is not None
        self._stage, self._executor, self._rules, self._say = stage, executor, rules, say
        self._place = place or stage.namespace
        self.tape = Tape()
        self._audit = AuditTail(stage.cluster.audit_log)
        self._minted = Minted()
        self._score = Score()
        api.orders = self.tape.of_api
        stage.proxy.orders = self.tape.of_sts
        stage.proxy.overhear = self._minted.hear

    def record(self, lives: Sequence[Life]) -> dict[Life, list[Call]]:
        """Play each life undisturbed: what is called then is what is tried."""
        scenes = [self._scene(life) for life in lives]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            futures = [pool.submit(life.play, scene) for life, scene in zip(lives, scenes, strict=True)]
        for life, scene, future in zip(lives, scenes, futures, strict=True):
            self._score.calls[life] = list(scene.scope.calls)
            time.sleep(0.2)
            self._score.usual[life] = kinds(self._audit.of(scene.namespace), self._rules)
            wrong = self._judged(life, scene, future, 0)
            if wrong:
                raise AssertionError(f"{life.name}, undisturbed: {'; '.join(wrong)}")
        return self._score.calls

    def calls(self, life: Life) -> list[Call]:
        """What a life called when it was recorded."""
        return self._score.calls[life]

    def kill_at(self, together: Sequence[tuple[Point, ...]]) -> list[Result]:
        """Kill the executor once, when every one of these lives, no more than `AT_ONCE`, has come to its point."""
        points = [points[0] for points in together]
        scenes = [self._scene(point.life, {point.call: point.what}) for point in points]
        with ThreadPoolExecutor(len(points)) as pool:
            futures = [pool.submit(point.life.play, scene) for point, scene in zip(points, scenes, strict=True)]
            self._until_reached(scenes, futures)
            self._executor.kill()
            self.tape.resume([scene.namespace for scene in scenes])
            self._executor.revive()
            wait(futures)
            results = list(pool.map(self._result, points, scenes, futures))
        for result in results:
            if result.complaints:
                self._say(f"{result.point}: {'; '.join(result.complaints)}")
        return results

    def disturb(self, together: Sequence[tuple[Point, ...]]) -> list[Result]:
        """Let one thing, or several, go wrong in each life; the executor lives on."""

        def play(points: tuple[Point, ...]) -> Result:
            life = points[0].life
            scene = self._scene(life, {point.call: point.what for point in points})
            future: Future[None] = Future()
            try:
                life.play(scene)
                future.set_result(None)
            except Exception as error:
                future.set_exception(error)
            result = self._result(points[0], scene, future)
            if result.complaints:
                self._say(f"{' and '.join(map(str, points))}: {'; '.join(result.complaints)}")
            return result

        with ThreadPoolExecutor(AT_ONCE) as pool:
            return list(pool.map(play, together))

    def _scene(self, life: Life, at: dict[Call, What] | None = None) -> Scene:
        return Scene(self._stage, self.tape, self._place(), life.covers, at or {})

    def _until_reached(self, scenes: Sequence[Scene], futures: Sequence[Future[None]]) -> None:
        """Until each has come to its point, or has ended, and what is told and marked after the end is done as well."""
        deadline, over = time.monotonic() + REACHED_WITHIN, 0.0
        while time.monotonic() < deadline:
            left = [future for scene, future in zip(scenes, futures, strict=True) if not scene.scope.reached.is_set()]
            if not left or (over and time.monotonic() > over):
                return
            if not over and all(future.done() for future in left):
                over = time.monotonic() + LINGERING
            time.sleep(0.02)

    def _result(self, point: Point, scene: Scene, future: Future[None]) -> Result:
        wrong = self._judged(point.life, scene, future, SPARE[type(point.what)])
        return Result(point, point.call in scene.scope.met, tuple(wrong))

    def _judged(self, life: Life, scene: Scene, future: Future[None], spare: int) -> list[str]:
        if (error := future.exception()) is not None:
            return [f"{type(error).__name__}: {error}"]
        for _ in range(10):
            wrong = complaints(self._evidence(life, scene, spare), self._rules)
            if not wrong:
                break
            # The last entries of the audit log come just after their answers, and collected Secrets go when they do.
            time.sleep(0.5)
        self._audit.forget(scene.namespace)
        self._leave(scene.namespace)
        return sorted(set(wrong))

    def _evidence(self, life: Life, scene: Scene, spare: int) -> Evidence:
        objects, namespace = self._stage.objects, scene.namespace
        secrets = [body for body in objects.list("Secret", namespace) if body.get("type") == CREDENTIALS]
        return Evidence(
            life=life,
            events=self._audit.of(namespace),
            run=objects.get("Run", namespace, RUN),
            secrets=[body["metadata"]["name"] for body in secrets],
            usual=self._score.usual.get(life, Counter()),
            spare=spare,
            minted=self._minted.writings(),
        )

    def _leave(self, namespace: str) -> None:
        """Its integration is verified no more, and makes room for others."""
        if self._stage.objects.get("Namespace", None, namespace) is not None:
            self._stage.objects.delete("Namespace", None, namespace)
