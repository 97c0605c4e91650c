"""Requests for all policies: each kind of caller, resource, verb and namespace, with all that can be wrong."""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sandbox import controller
from sandbox.objects import Object
from sandbox.stage import API_VERSION

GROUP = "everything-but-use"
"""Of the callers: RBAC allows them everything but the verbs `use` and `propose`, which only administrators have."""

USERS = {
    "administrator": "somebody-in-system-masters",
    "developer": "anna",
    "controller": f"system:serviceaccount:{controller.NAMESPACE}:{controller.SERVICE_ACCOUNT}",
    "worker": "system:serviceaccount:research-workers:spacelift-aws-worker-build",
    "garbage collector": "system:serviceaccount:kube-system:generic-garbage-collector",
}
PLACES: dict[str, dict[str, str]] = {"open": {}, "workers only": {"aws.spacelift.io/worker-only": "true"}}
TABLE = {"table": "one-policy"}
"""The label of the namespaces in which policies warn."""

TYPE = "aws.spacelift.io/run-credentials"
VERIFY = "aws.spacelift.io/verify"

Expected = tuple[str, str] | None
"""The policy that refuses, without its prefix, and what its sentence holds; None where none does."""

WORKERS_ONLY: Expected = ("worker-only", "is for workers only")
NO_USE: Expected = ("use", "on it is missing")
NO_DECISION: Expected = ("integrations", "may not decide what AwsIntegration")
CHANGES_NONE: Expected = ("executor-secrets", "may only create and delete single Secrets")
ONLY_EXECUTORS: Expected = ("run-secrets", "Only the operator and its workers may create them")
FORGES: Expected = ("use", "who created and who stopped it; leave them out")
RENAMES: Expected = ("requester", "only the API server writes it; leave it as it is")
JOBS_ONLY: Expected = ("executor-runs", "may create Runs of Jobs only")
MARKS_ONLY: Expected = ("executor-runs", "may change nothing else of them")
NO_JOB: Expected = ("jobs", "may not create Jobs")
FIXED: Expected = ("jobs", "are immutable")
EXECUTORS_WORD: Expected = ("job-status", "only its executor writes its status")
ORPHANS: Expected = ("run-deletion", "cannot be deleted with --cascade=orphan")


@dataclass(frozen=True)
class Caller:
    """Somebody in one of the places."""

    kind: str
    place: str
    namespace: str

    @property
    def executes(self) -> bool:
        return self.kind in ("controller", "worker")

    @property
    def kept_out(self) -> bool:
        """Whatever it creates here, it is told that this is no place for it."""
        return (self.kind, self.place) == ("controller", "workers only")


@dataclass(frozen=True)
class Case:
    """One request; `prepared` is what has to be there before it."""

    caller: Caller
    what: str
    expected: Expected
    method: str
    path: str
    body: Object
    prepared: Object | None = None


_numbers = itertools.count(1)


def path_of(body: Object, namespace: str) -> str:
    """Where an object of this kind is created."""
    api = "/api/v1" if body["apiVersion"] == "v1" else f"/apis/{body['apiVersion']}"
    return f"{api}/namespaces/{namespace}/{body['kind'].lower()}s"


def creation(caller: Caller, what: str, expected: Expected, body: Object, query: str = "") -> Case:
    return Case(caller, f"create {what}", expected, "POST", path_of(body, caller.namespace) + query, body)


def treatment(
    caller: Caller, what: str, expected: Expected, there: Object, method: str, body: Object, subresource: str = ""
) -> Case:
    """A request on an object that is there."""
    path = f"{path_of(there, caller.namespace)}/{there['metadata']['name']}{subresource}"
    return Case(caller, what, expected, method, path, body, there)


def subsets(*faults: str) -> Iterator[frozenset[str]]:
    """Nothing wrong, each fault alone, each pair, and all together."""
    for size in sorted({0, 1, 2, len(faults)}):
        yield from map(frozenset, itertools.combinations(faults, size))


def first(wrong: frozenset[str], sentences: Mapping[str, str], policy: str) -> Expected:
    """What is told of several faults: the first of the sentences."""
    return next(((policy, sentence) for fault, sentence in sentences.items() if fault in wrong), None)


def describe(kind: str, wrong: frozenset[str]) -> str:
    return f"{kind}: {', '.join(sorted(wrong)) or 'nothing'} wrong"


# --- Secrets.

OF_EXECUTORS = {
    "name": "does not have a name of run credentials",
    "type": "is of type Opaque, not",
    "owner": "has no Run as its controller",
    "finalizer": "is held by a finalizer",
    "immutable": "is immutable",
    "dry run": "not as a dry run",
}
"""First what a Secret is, then how it is treated."""


def secret(wrong: frozenset[str]) -> Object:
    number = next(_numbers)
    owner = {"apiVersion": API_VERSION, "kind": "Run", "name": "x", "uid": f"x-{number}", "controller": True}
    name = f"other-{number}" if "name" in wrong else f"aws-run-{number:026}"
    metadata: Object = {"name": name, "ownerReferences": [] if "owner" in wrong else [owner]}
    if "finalizer" in wrong:
        metadata["finalizers"] = ["example.org/held"]
    type_ = "Opaque" if "type" in wrong else TYPE
    body = {"apiVersion": "v1", "kind": "Secret", "type": type_, "metadata": metadata, "stringData": {"k": "word"}}
    return {**body, "immutable": "immutable" in wrong}


def secret_there(wrong: frozenset[str]) -> Object:
    """One without an owner, for the garbage collector would take one whose owner is not there."""
    return secret(wrong | {"owner"})


def is_no_runs(wrong: frozenset[str]) -> bool:
    return {"name", "type"} <= wrong


def secrets_created(caller: Caller) -> Iterator[Case]:
    for wrong in subsets(*OF_EXECUTORS):
        expected: Expected = None if is_no_runs(wrong) else ONLY_EXECUTORS
        if caller.executes:
            # A creation may be tried out: its answer is what was sent.
            expected = first(wrong - {"dry run"}, OF_EXECUTORS, "executor-secrets")
        if caller.kept_out:
            expected = WORKERS_ONLY
        query = "?dryRun=All" * ("dry run" in wrong)
        yield creation(caller, describe("a Secret", wrong), expected, secret(wrong), query)


CHANGES: dict[str, Object] = {
    "its content": {"stringData": {"k": "forged"}},
    "its labels": {"metadata": {"labels": {"a": "b"}}},
    "its owners": {
        "metadata": {"ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "x"}]}
    },
    "its finalizers away": {"metadata": {"finalizers": None}},
}


def secrets_changed(caller: Caller) -> Iterator[Case]:
    for wrong, what in itertools.product(subsets("name", "type"), CHANGES):
        is_free = what == "its finalizers away" or (what, caller.kind) == ("its owners", "garbage collector")
        expected: Expected = None if is_no_runs(wrong) or is_free else ONLY_EXECUTORS
        if caller.executes:
            expected = CHANGES_NONE
        there = secret_there(wrong | {"finalizer"})
        yield treatment(caller, f"{describe('a Secret', wrong)}: {what}", expected, there, "PATCH", CHANGES[what])


DELETIONS: dict[str, Object] = {
    "plainly": {},
    "as a dry run": {"dryRun": ["All"]},
    "in the foreground": {"propagationPolicy": "Foreground"},
    "orphaning": {"propagationPolicy": "Orphan"},
    "orphaning, as of old": {"orphanDependents": True},
}


def secrets_deleted(caller: Caller) -> Iterator[Case]:
    for wrong, (how, options) in itertools.product(subsets("name", "type", "finalizer"), DELETIONS.items()):
        if len(wrong) > 1 and options:
            continue
        faults = wrong | {"dry run"} if options else wrong
        expected = first(faults, OF_EXECUTORS, "executor-secrets") if caller.executes else None
        what = f"{describe('a Secret', wrong)}: delete it {how}"
        yield treatment(caller, what, expected, secret_there(wrong), "DELETE", options)
    if caller.executes:
        all_of_them = f"/api/v1/namespaces/{caller.namespace}/secrets"
        yield Case(caller, "delete all Secrets", CHANGES_NONE, "DELETE", all_of_them, {})


# --- Pods.

RUNS_LABEL = {"aws.spacelift.io/run-id": "x"}


def pod(wrong: frozenset[str], number: int | None = None) -> Object:
    """`another's credentials` and `its own` are Secrets to which it refers."""
    number = number or next(_numbers)
    name = f"aws-run-{number:026}"
    names = [name] * ("its own credentials" in wrong) + [f"aws-run-{0:026}"] * ("another's credentials" in wrong)
    container = {"name": "main", "image": "x", "envFrom": [{"secretRef": {"name": name}} for name in names]}
    metadata = {"name": name, "labels": RUNS_LABEL if "labels" in wrong else {}}
    spec = {"schedulerName": "nobody", "containers": [container]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def pods_created(caller: Caller) -> Iterator[Case]:
    sentences = {
        "another's credentials": "refers to the credentials of",
        "its own credentials": "refers to the credentials of a run",
        "labels": "mark the pods of runs",
    }
    for wrong in subsets(*sentences):
        faults = wrong & {"another's credentials"} if caller.executes else wrong
        expected = WORKERS_ONLY if caller.kept_out else first(faults, sentences, "run-pods")
        yield creation(caller, describe("a pod", wrong), expected, pod(wrong))


def pods_changed(caller: Caller) -> Iterator[Case]:
    label: Expected = None if caller.executes else ("run-pods", "mark the pods of runs")
    for what, expected, labels in (("a run's label", label, RUNS_LABEL), ("a label", None, {"a": "b"})):
        change = {"metadata": {"labels": labels}}
        yield treatment(caller, f"a pod: {what}", expected, pod(frozenset()), "PATCH", change)
    refers: Expected = ("run-pods", "refers to the credentials of")
    for expected, source in ((refers, [{"secretRef": {"name": f"aws-run-{0:026}"}}]), (None, [])):
        debug = {"spec": {"ephemeralContainers": [{"name": "debug", "image": "x", "envFrom": source}]}}
        there = pod(frozenset())
        yield treatment(caller, "a pod: debug", expected, there, "PATCH", debug, "/ephemeralcontainers")


# --- Runs and AwsIntegrations.


def run(namespace: str | None = None, type_: str = "Task", **metadata: Any) -> Object:
    container = {"name": "main", "image": "x"}
    spec: Object = {
        "integrationRef": {"name": "prod"},
        "type": type_,
        "template": {"spec": {"containers": [container]}},
    }
    if namespace:
        spec["integrationRef"]["namespace"] = namespace
    metadata["name"] = f"run-{next(_numbers)}"
    return {"apiVersion": API_VERSION, "kind": "Run", "metadata": metadata, "spec": spec}


JOB_OWNER = {"apiVersion": "batch/v1", "kind": "Job", "uid": "x", "controller": True}


def runs_created(caller: Caller) -> Iterator[Case]:
    expected = None if caller.kind == "administrator" else NO_USE
    if caller.executes:
        expected = WORKERS_ONLY if caller.kept_out else JOBS_ONLY
        for name, told in (("job-1", expected), (None, WORKERS_ONLY if caller.kept_out else None)):
            body = run()
            body["metadata"]["ownerReferences"] = [{**JOB_OWNER, "name": name or body["metadata"]["name"]}]
            yield creation(caller, f"a Run of Job {name or 'of its name'}", told, body)
    for namespace, type_ in itertools.product((None, "elsewhere"), ("Task", "Proposed")):
        yield creation(caller, f"a Run, {type_}, integration {namespace}", expected, run(namespace, type_))
    # The requester's name is written over; that of who stopped it is not there yet.
    requested, stopped = (f"aws.spacelift.io/{word}-by" for word in ("requested", "stopped"))
    yield creation(caller, "a Run, another's", expected, run(annotations={requested: "somebody"}))
    yield creation(caller, "a Run, stopped", expected or FORGES, run(annotations={stopped: "somebody"}))


def runs_treated(caller: Caller) -> Iterator[Case]:
    for how, options in DELETIONS.items():
        expected = ORPHANS if how.startswith("orphaning") else None
        yield treatment(caller, f"a Run: delete it {how}", expected, run(), "DELETE", options)
    held = run(finalizers=["orphan"])
    yield treatment(caller, "a Run with the finalizer orphan: delete it", ORPHANS, held, "DELETE", {})
    changes: dict[str, Object] = {
        # That executors stop the Runs of Jobs shows a Job that is suspended; here the garbage collector would take one.
        "stop it": {"spec": {"stop": True}},
        "its time to live": {"spec": {"ttlSecondsAfterFinished": 1}},
        "a label": {"metadata": {"labels": {"a": "b"}}},
        "an annotation": {"metadata": {"annotations": {"a": "b"}}},
        "its annotation away": {"metadata": {"annotations": {"there": None}}},
        "its finalizers": {"metadata": {"finalizers": ["example.org/held"]}},
        "its owners": {"metadata": {"ownerReferences": [{**JOB_OWNER, "name": "x"}]}},
    }
    for what, change in changes.items():
        there = run(annotations={"there": "x"})
        yield treatment(caller, f"a Run: {what}", MARKS_ONLY if caller.executes else None, there, "PATCH", change)
    mark = {"annotations": {"aws.spacelift.io/ended": "x"}, "labels": {"velero.io/exclude-from-backup": "true"}}
    yield treatment(caller, "a Run: its mark", None, run(), "PATCH", {"metadata": mark})
    for word in ("requested", "stopped"):
        change = {"metadata": {"annotations": {f"aws.spacelift.io/{word}-by": "somebody"}}}
        yield treatment(caller, f"a Run: {word}-by", RENAMES, run(), "PATCH", change)
        both = {"metadata": {"labels": {"a": "b"}, **change["metadata"]}}
        yield treatment(caller, f"a Run: {word}-by and a label", RENAMES, run(), "PATCH", both)
    ended = {"status": {"phase": "Failed"}}
    yield treatment(caller, "a Run: write its status", None, run(), "PATCH", ended, "/status")


def integration() -> Object:
    metadata = {"name": f"prod-{next(_numbers)}"}
    return {"apiVersion": API_VERSION, "kind": "AwsIntegration", "metadata": metadata, "spec": {}}


def integrations(caller: Caller) -> Iterator[Case]:
    decides = None if caller.kind == "administrator" else NO_DECISION
    yield creation(caller, "an AwsIntegration", decides, integration())
    spec: Object = {"spec": {"durationSeconds": 900}}
    yield treatment(caller, "an AwsIntegration: its spec", decides, integration(), "PATCH", spec)
    asks = {"metadata": {"annotations": {VERIFY: "now"}}}
    yield treatment(caller, "an AwsIntegration: verify", None, integration(), "PATCH", asks)
    yield treatment(caller, "an AwsIntegration: delete it", None, integration(), "DELETE", {})


# --- Jobs that are executed as Runs.


def job(managed_by: str = "aws.spacelift.io/run", **annotations: str) -> Object:
    words = {f"aws.spacelift.io/{key.replace('_', '-')}": value for key, value in annotations.items()}
    pod = {"restartPolicy": "Never", "containers": [{"name": "main", "image": "x"}]}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": f"job-{next(_numbers)}", "annotations": words},
        "spec": {"managedBy": managed_by, "suspend": True, "template": {"spec": pod}},
    }


def jobs_created(caller: Caller) -> Iterator[Case]:
    expected = None if caller.kind == "administrator" else NO_JOB
    for reference, type_ in itertools.product(("prod", "elsewhere/prod"), ("Task", "Proposed")):
        yield creation(caller, f"a Job, {type_}, {reference}", expected, job(integration=reference, type=type_))
    # The API server writes the creator's name over it.
    yield creation(caller, "a Job, another's", expected, job(integration="prod", requested_by="somebody"))
    yield creation(caller, "a Job without an integration", None, job())
    yield creation(caller, "a Job of another controller", None, job("example.com/x", integration="prod"))


START = "2026-01-02T03:04:05Z"
JOB_STATUSES: dict[str, Object] = {
    "active": {"active": 1},
    "terminating": {"terminating": 1},
    "its start": {"startTime": START},
    "failed pods": {"failed": 7},
    "a condition": {"conditions": [{"type": "FailureTarget", "status": "True"}]},
}


def jobs_changed(caller: Caller) -> Iterator[Case]:
    for key in ("integration", "type", "requested-by"):
        change = {"metadata": {"annotations": {f"aws.spacelift.io/{key}": "other"}}}
        yield treatment(caller, f"a Job: {key}", FIXED, job(integration="prod"), "PATCH", change)
    writer = None if caller.executes else EXECUTORS_WORD
    for what, status in JOB_STATUSES.items():
        there = job(integration="prod")
        yield treatment(caller, f"a Job: {what}", writer, there, "PATCH", {"status": status}, "/status")
        yield treatment(caller, f"another's Job: {what}", None, job("x.org/x"), "PATCH", {"status": status}, "/status")
    # As Kueue does, of a suspended Job.
    yield treatment(caller, "a Job: no start", None, job(), "PATCH", {"status": {"startTime": None}}, "/status")
    elsewhere = job("example.com/x")
    note = {"metadata": {"annotations": {"aws.spacelift.io/integration": "prod"}}}
    yield treatment(caller, "another's Job: integration", None, elsewhere, "PATCH", note)
    yield treatment(caller, "a Job: resume it", None, job(integration="prod"), "PATCH", {"spec": {"suspend": False}})


ROWS = (
    *(secrets_created, secrets_changed, secrets_deleted),
    *(pods_created, pods_changed),
    *(runs_created, runs_treated, integrations, jobs_created, jobs_changed),
)
