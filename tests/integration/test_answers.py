"""The table of answers, gone through on a real control plane: each class of answer to each call that an executor makes.

All Runs are under way at once. The proxy answers one call of each in the API server's place until the answer has had
its effect; then the Run goes on by itself.
"""

from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field

import pytest

from sandbox.apiproxy import ApiProxy, Fault, Refuse
from sandbox.objects import Object, condition
from sandbox.process import wait_until
from sandbox.stage import Stage
from spacelift_aws.api.run import Run
from spacelift_aws.controllers.run.answers import MEANINGS, AnswerClass, Call, Meaning
from spacelift_aws.names import child_name, run_id

pytestmark = pytest.mark.slow

SAID = "said by the proxy"

ANSWERS = {
    AnswerClass.INVALID: Refuse(400, "BadRequest", SAID),
    AnswerClass.DENIED: Refuse(403, "Forbidden", f'admission webhook "w" denied the request: {SAID}'),
    AnswerClass.LACKING: Refuse(403, "Forbidden", f"exceeded quota: {SAID}"),
    AnswerClass.EXISTS: Refuse(409, "AlreadyExists", SAID),
    AnswerClass.CONFLICT: Refuse(409, "Conflict", SAID),
    AnswerClass.NOT_FOUND: Refuse(404, "NotFound", SAID),
    AnswerClass.NOT_NOW: Refuse(429, "TooManyRequests", SAID, retry_after=1),
    AnswerClass.UNANSWERED: Refuse(500, "InternalError", SAID),
}

WITH_MESSAGE = (Meaning.FINAL, Meaning.FOR_A_WHILE, Meaning.WAIT)


def possible(call: Call, answer: AnswerClass) -> bool:
    """Whether the API server could answer so: only a creation finds that the name is taken, and what is there is not
    "not found" to who was just shown it."""
    if answer is AnswerClass.EXISTS:
        return call in (Call.CREATE_SECRET, Call.CREATE_POD)
    if answer is AnswerClass.NOT_FOUND:
        return call in (Call.CREATE_SECRET, Call.CREATE_POD, Call.GET_POD)
    # Reads are not changes, so nobody denies, lacks or conflicts about them.
    read = call in (Call.GET_POD, Call.GET_RUN)
    return not read or answer in (AnswerClass.NOT_NOW, AnswerClass.UNANSWERED)


@dataclass
class Case:
    """One Run, one of whose calls is answered by the proxy."""

    call: Call
    answer: AnswerClass
    name: str
    proxied: ExitStack = field(default_factory=ExitStack)
    fault: Fault | None = None
    affected: bool = False
    seen: Object | None = None

    @property
    def meaning(self) -> Meaning:
        return MEANINGS[self.call][self.answer]

    @property
    def spec(self) -> Object:
        return {"ttlSecondsAfterFinished": 0} if self.call is Call.DELETE_RUN else {}

    @property
    def script(self) -> str:
        return "sleep 600" if self.call is Call.DELETE_POD else "sleep 1"

    def begin(self, stage: Stage, proxy: ApiProxy, namespace: str) -> None:
        where, mine = f"/namespaces/{namespace}", f'"aws.spacelift.io/run":"{self.name}"'
        creations = {Call.CREATE_SECRET: "/secrets", Call.CREATE_POD: "/pods"}
        # These are made only after another call has gone wrong.
        if self.call is Call.GET_POD:
            self._answer(proxy, Fault("POST", f"{where}/pods", ANSWERS[AnswerClass.UNANSWERED], 1, words=mine))
        if self.call is Call.GET_RUN:
            path = f"{where}/runs/{self.name}/status"
            self._answer(proxy, Fault("PATCH", path, ANSWERS[AnswerClass.CONFLICT], 1))
        if self.call in creations:
            self.fault = self._answer(proxy, self._fault("POST", where + creations[self.call], mine))
        if self.call in (Call.WRITE_STATUS, Call.GET_RUN, Call.DELETE_RUN):
            method = {Call.WRITE_STATUS: "PATCH", Call.GET_RUN: "GET", Call.DELETE_RUN: "DELETE"}[self.call]
            end = "/status" if self.call is Call.WRITE_STATUS else ""
            self.fault = self._answer(proxy, self._fault(method, f"{where}/runs/{self.name}{end}"))
        stage.run(namespace, self.script, name=self.name, **self.spec)
        if self.fault is None:
            body = stage.objects.get("Run", namespace, self.name)
            run = Run.model_validate(body)
            child = child_name(run_id(run.metadata.creation_timestamp, run.metadata.uid))
            method = "GET" if self.call is Call.GET_POD else "DELETE"
            kind = "secrets" if self.call is Call.DELETE_SECRET else "pods"
            self.fault = self._answer(proxy, self._fault(method, f"{where}/{kind}/{child}"))

    def _fault(self, method: str, path: str, words: str = "") -> Fault:
        """What the executor looks at anew is not so the second time."""
        once = self.meaning in (Meaning.LOOK, Meaning.DONE)
        return Fault(method, path, ANSWERS[self.answer], 1 if once else None, words=words)

    def _answer(self, proxy: ApiProxy, fault: Fault) -> Fault:
        return self.proxied.enter_context(proxy.fault(fault))

    def look(self, stage: Stage, run: Object | None) -> bool:
        """Whether the Run has ended as it should."""
        self.seen = run
        status = (run or {}).get("status", {})
        if self.call is Call.DELETE_POD and status.get("phase") == "Running" and not (run or {})["spec"].get("stop"):
            stage.objects.patch("Run", (run or {})["metadata"]["namespace"], self.name, {"spec": {"stop": True}})
        if not self.affected:
            assert self.fault is not None
            told = SAID in status.get("message", "") or self.meaning not in WITH_MESSAGE
            if self.fault.used and told:
                self.affected = True
                self.proxied.close()
            return False
        if self.call is Call.DELETE_RUN:
            return run is None
        return status.get("phase") in ("Finished", "Failed", "Stopped")

    @property
    def end(self) -> str:
        if self.meaning is Meaning.FINAL:
            return "Failed"
        return "Stopped" if self.call is Call.DELETE_POD else "Finished"


CASES = [
    Case(call, answer, f"{call}-{answer}".replace(" ", "-"))
    for call in Call
    for answer in AnswerClass
    if possible(call, answer)
]


@pytest.fixture(scope="module")
def played(_stage: Stage, api: ApiProxy) -> Iterator[dict[str, Case]]:
    """All Runs, once each has ended or has had its time."""
    _stage.controller.stop()
    # What is denied for a while is allowed again in time, however busy the machine is.
    _stage.controller.start({"SPACELIFT_AWS_DENIED_FOR": "300"})
    namespace = _stage.namespace()
    _stage.integration(namespace)
    for case in CASES:
        case.begin(_stage, api, namespace)
    left = {case.name: case for case in CASES}

    def none_is_left() -> bool:
        runs = {run["metadata"]["name"]: run for run in _stage.objects.list("Run", namespace)}
        for name in [name for name, case in left.items() if case.look(_stage, runs.get(name))]:
            del left[name]
        return not left

    try:
        with suppress(TimeoutError):
            wait_until(none_is_left, timeout=60, what="an end of every Run", interval=0.3)
    finally:
        for case in CASES:
            case.proxied.close()
    yield left
    made = [event for event in _stage.cluster.audit_events(namespace) if event.code == 201]
    pods = [event for event in made if (event.verb, event.resource, event.subresource) == ("create", "pods", "")]
    assert len(pods) <= len(CASES), "no Run is executed twice"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_an_answer_means_what_the_table_says(played: dict[str, Case], case: Case) -> None:
    status = (case.seen or {}).get("status", {})
    shown = f"{status.get('phase')}: {status.get('message')}"
    assert case.affected, shown
    assert case.name not in played, shown
    if case.call is Call.GET_POD and status["phase"] == "Failed":
        # Where many pods come and go, the API server may have forgotten by then that there was none.
        assert condition(case.seen, "Succeeded")["reason"] == "ResultUnknown", shown
    elif case.seen is not None:
        assert status["phase"] == case.end, shown
    if case.meaning is Meaning.FINAL:
        assert case.seen is not None
        assert SAID in case.seen["status"]["message"]
