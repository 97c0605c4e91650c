"""Plays lives, many at once, with one point each, and has them judged."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from typing import Protocol

from sandbox.apiproxy import ApiProxy
from sandbox.crashpoints.calls import Call, Moment, Tape, WatchFault, What
from sandbox.crashpoints.judge import AuditTail, Evidence, Kind, complaints, kinds
from sandbox.crashpoints.lives import RUN, Life, Place, Scene
from sandbox.crashpoints.minted import Minted
from sandbox.objects import condition
from sandbox.stage import Stage

AT_ONCE = 14
"""Lives side by side: an executor has 48 calls to the API server under way at most, and dead ones hold some."""
REACHED_WITHIN = 60.0
LINGERING = 3.0
"""Seconds in which what follows the end of a life is called."""
SPARE_OF_A_DEATH, SPARE_OF_A_FAULT = 3, 6
"""How many more calls of a kind than twice the usual these may cost. That the API server dies is a fault to others."""
CREDENTIALS = "aws.spacelift.io/run-credentials"
UNKNOWN = frozenset({("Failed", "ResultUnknown")})
EVERY_WATCH = Call("every watch", 1)
"""Stands for a call where it is watches that go wrong."""


class Victim(Protocol):
    """Who does the work and can be killed, or what that one depends on."""

    executors: int
    """How many there are among whom a life's place is chosen: a recording hears each of them once."""

    @property
    def pids(self) -> list[int]:
        """Of the processes that do the work now."""

    def places(self, lives: Sequence[Life]) -> list[Place]:
        """New namespaces, one for each life, in which somebody who has a part in it does the work."""

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

    def add(self, life: Life, calls: Iterable[Call], usual: Counter[Kind]) -> None:
        """Of several times: every call of any, and of each kind as many as there were at most."""
        self.calls[life] = list(dict.fromkeys([*self.calls.get(life, ()), *calls]))
        self.usual[life] = self.usual.get(life, Counter()) | usual


class Rehearsal:
    """A stage whose executor reaches everything through both proxies."""

    def __init__(self, stage: Stage, api: ApiProxy, victim: Victim, say: Callable[[str], None]) -> None:
        assert stage.cluster.audit_log is not None
        self._stage, self._api, self.victim, self._say = stage, api, victim, say
        self.tape = Tape()
        self._audit = AuditTail(stage.cluster.audit_log)
        self._minted = Minted()
        self._score = Score()
        api.orders = self.tape.of_api
        stage.proxy.orders = self.tape.of_sts
        stage.proxy.overhear = self._minted.hear

    def record(self, lives: Sequence[Life]) -> dict[Life, list[Call]]:
        """Play each life undisturbed: what is called then is what is tried. Several times add up."""
        scenes = self._scenes([(life, {}) for life in lives])
        with ThreadPoolExecutor(AT_ONCE) as pool:
            futures = [pool.submit(life.play, scene) for life, scene in zip(lives, scenes, strict=True)]
        for life, scene, future in zip(lives, scenes, futures, strict=True):
            time.sleep(0.2)
            self._score.add(life, scene.scope.calls, kinds(self._audit.of(scene.namespace), scene.place.rules))
            wrong = self._judged(life, scene, future, 0)
            if wrong:
                raise AssertionError(f"{life.name}, undisturbed: {'; '.join(wrong)}")
        return self._score.calls

    def calls(self, life: Life) -> list[Call]:
        """What a life called when it was recorded."""
        return self._score.calls[life]

    def kill_at(self, together: Sequence[tuple[Point, ...]]) -> list[Result]:
        """Kill the victim once, when every one of these lives, no more than `AT_ONCE`, has come to its point."""
        points = [points[0] for points in together]
        scenes = self._scenes([(point.life, {point.call: point.what}) for point in points])
        with ThreadPoolExecutor(len(points)) as pool:
            futures = [pool.submit(point.life.play, scene) for point, scene in zip(points, scenes, strict=True)]
            self._until_reached(scenes, futures)
            self.victim.kill()
            self.tape.resume([scene.namespace for scene in scenes])
            self.victim.revive()
            wait(futures)
            results = list(pool.map(self._result, points, scenes, futures))
        for result in results:
            if result.complaints:
                self._say(f"{result.point}: {'; '.join(result.complaints)}")
        return results

    def disturb(self, together: Sequence[tuple[Point, ...]]) -> list[Result]:
        """Let one thing, or several, go wrong in each life; the executor lives on."""

        def play(points: tuple[Point, ...], scene: Scene) -> Result:
            future: Future[None] = Future()
            try:
                points[0].life.play(scene)
                future.set_result(None)
            except Exception as error:
                future.set_exception(error)
            result = self._result(points[0], scene, future)
            if result.complaints:
                self._say(f"{' and '.join(map(str, points))}: {'; '.join(result.complaints)}")
            return result

        scenes = self._scenes([(points[0].life, {point.call: point.what for point in points}) for points in together])
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return list(pool.map(play, together, scenes))

    def mislead(self, lives: Sequence[Life], how: WatchFault) -> list[Result]:
        """Play these lives side by side while every watch of the executor tells late, twice, or nothing."""
        with self._api.watches_are(how):
            return self.disturb([(Point(life, EVERY_WATCH, how),) for life in lives])

    def _scenes(self, wanted: Sequence[tuple[Life, dict[Call, What]]]) -> list[Scene]:
        places = self.victim.places([life for life, _ in wanted])
        return [
            Scene(self._stage, self.tape, place, life.covers, at)
            for place, (life, at) in zip(places, wanted, strict=True)
        ]

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
        died = isinstance(point.what, Moment) and not scene.place.rules.api_server_restarts
        wrong = self._judged(point.life, scene, future, SPARE_OF_A_DEATH if died else SPARE_OF_A_FAULT)
        met = point.call == EVERY_WATCH or point.call in scene.scope.met
        return Result(point, met, tuple(wrong))

    def _judged(self, life: Life, scene: Scene, future: Future[None], spare: int) -> list[str]:
        if scene.place.rules.api_server_restarts and self._is_unknown(scene):
            # Rather than twice, a Run is executed once or not at all.
            life = replace(life, ends=UNKNOWN, pods=(0, 1))
        elif (error := future.exception()) is not None:
            return [f"{type(error).__name__}: {error}"]
        for _ in range(10):
            wrong = complaints(self._evidence(life, scene, spare), scene.place.rules)
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

    def _is_unknown(self, scene: Scene) -> bool:
        run = self._stage.objects.get("Run", scene.namespace, RUN)
        return condition(run, "Succeeded").get("reason") == "ResultUnknown"
