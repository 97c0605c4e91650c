"""The other side of the story: a tenant whose worker pool acts under an identity of its own, in another AWS account."""

from collections.abc import Iterator

from sandbox.audit import AuditEvent
from sandbox.demo import resources
from sandbox.demo.beats import Beat, Chapter, Check, Command, Output, Prose
from sandbox.demo.scene import Scene
from sandbox.demo.sights import CONTROLLER, ended, nothing_left, phase_of
from sandbox.objects import Object, condition
from sandbox.stage import INSTALLATION
from sandbox.worker import SERVICE_ACCOUNT, TENANT, Tenant, Worker, tenant

NAMESPACE = "research"
LABEL = "aws.spacelift.io/worker-only"
POOL = resources.POOL


def the_workers_side(scene: Scene) -> Iterator[Beat]:
    """From a tenant's namespace to a Run that the controller had no hand in."""
    there = Scene(scene.stage, scene.stage.namespace({LABEL: "true"}, name=NAMESPACE), scene.patience)
    who = tenant(scene.stage.aws, "research")
    yield from _a_namespace(there)
    yield from _a_run_that_waits(there, who)
    yield from _a_pool(there, who)
    yield from _its_run(there)


def _a_namespace(there: Scene) -> Iterator[Beat]:
    yield Chapter("A tenant that trusts nobody with its credentials")
    yield Prose(
        f"Namespace {there.namespace} belongs to a tenant with AWS account {TENANT}. Its Runs are for its own worker "
        "pool; a label forbids the controller to make anything there."
    )
    yield from there.kubectl("get", "namespace", there.namespace, f"--label-columns={LABEL}")
    attempt = ("create", "secret", "generic", "mine", *there.here, "--dry-run=server", f"--as={CONTROLLER}")
    answer = there.ask_until(*attempt, wanted=lambda answer: "for workers only" in answer.stderr)
    yield Command(("kubectl", *attempt))
    yield Check(
        "The controller's account can create no Secret here",
        (answer.stderr or answer.stdout).strip(),
        "for workers only" in answer.stderr,
    )


def _a_run_that_waits(there: Scene, who: Tenant) -> Iterator[Beat]:
    yield Chapter("A Run for a pool that is not there yet")
    given = resources.INTEGRATION_OF_WORKERS.format(role_arn=who.role_arn)
    yield from there.kubectl("apply", *there.here, "-f", "-", given=given)
    manifest = resources.run(there.stage, "plan", resources.WHO_AM_I, POOL)
    yield from there.kubectl("create", *there.here, "-f", "-", given=manifest)
    run = there.until("Run", "plan", lambda run: condition(run, "CredentialsIssued").get("reason") == "NoWorker")
    said = condition(run, "CredentialsIssued")
    yield Check(
        "Run plan: it waits, and the controller says for whom",
        f"{phase_of(run)}, {said.get('reason', 'no reason')}: {said.get('message', '')}",
        (phase_of(run), said.get("reason")) == ("Queued", "NoWorker"),
    )


def _a_pool(there: Scene, who: Tenant) -> Iterator[Beat]:
    yield Chapter("The worker pool arrives")
    worker = Worker(
        there.stage.cluster,
        {
            **there.stage.aws.environment(who.identity, endpoint=there.stage.proxy.endpoint),
            "SPACELIFT_AWS_INSTALLATION": INSTALLATION,
        },
        there.namespace,
        pool=POOL,
    )
    worker.install()
    worker.start()
    account = f"system:serviceaccount:{there.namespace}:{SERVICE_ACCOUNT}"
    yield Check(
        "A worker runs, as a service account of the tenant's and an AWS identity of the tenant's",
        f"{account}, {who.identity.arn}",
        worker.process.exit_code() is None,
    )
    wanted = (POOL, "Verified", who.identity.arn)
    body = there.until("AwsIntegration", "prod", lambda body: wanted in _verdicts(body))
    arguments = ("get", "awsintegration", "prod", *there.here, "-o", "jsonpath={.status.workers}")
    yield Command(("kubectl", *arguments))
    yield Output(there.ask(*arguments).stdout)
    seen = _verdicts(body)
    yield Check(
        "The pool reports what it verified itself, under its own name",
        ", ".join(f"pool {pool}: {reason} as {principal}" for pool, reason, principal in seen) or "no pool reports",
        seen == [wanted],
    )


def _its_run(there: Scene) -> Iterator[Beat]:
    yield Chapter("The Run goes on by itself")
    wait = ("--for=condition=Complete", "run/plan", *there.here, f"--timeout={there.patience:g}s")
    yield from there.kubectl("wait", *wait, check=False)
    status = (there.get("Run", "plan") or {}).get("status", {})
    run_id, name = status.get("runId", "none"), str(status.get("podName"))
    arguments = ("logs", f"pod/{name}", *there.here)
    yield Command(("kubectl", *arguments))
    printed = there.ask(*arguments)
    yield Output(printed.stdout + printed.stderr)
    yield Check(
        f"Run plan: its container acts in the tenant's account {TENANT}",
        printed.stdout.strip() or printed.stderr.strip(),
        printed.stdout.startswith(f"arn:aws:sts::{TENANT}:assumed-role/")
        and printed.stdout.strip().endswith(f"/{run_id}"),
    )
    yield ended(there, "plan", "Finished", "Finished")
    account = f"system:serviceaccount:{there.namespace}:{SERVICE_ACCOUNT}"
    yield from nothing_left(there, "plan", name, "worker", account)
    if there.stage.cluster.audit_log is None:
        yield Prose("Nor is it shown that the controller touched none of it; its account could not have made it.")
        return
    # All of the Run is in the log by now: the worker's last entry was waited for.
    entries = there.audit(lambda entries: entries)
    makers = {event.user for event in touching(entries, name) if event.verb in ("create", "delete")}
    own = [f"{event.verb} {event.resource}" for event in touching(entries, name) if event.user == CONTROLLER]
    yield Check(
        "Run plan: the controller touched neither its Secret nor its pod",
        ", ".join(own) or "no request of the controller's names one of them",
        not own and account in makers,
    )


def touching(entries: list[AuditEvent], child: str) -> list[AuditEvent]:
    """The answered requests that name a Run's Secret or pod, whoever sent them."""
    return [event for event in entries if event.resource in ("secrets", "pods") and event.name == child]


def _verdicts(body: Object | None) -> list[tuple[str, str, str | None]]:
    """What each pool found: its name, the reason, under which identity."""
    entries = (body or {}).get("status", {}).get("workers", [])
    return [(entry["pool"], entry["reason"], entry.get("principal")) for entry in entries]
