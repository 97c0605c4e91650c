"""Jobs that are executed as Runs, with Kubernetes' own Job, CronJob and time-to-live controllers beside."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from sandbox.objects import Object, Objects, RefusedError, condition
from sandbox.process import wait_until
from sandbox.stage import Stage
from sandbox.worker import Worker, tenant

from ..conftest import SETTINGS, hands
from ..policies import PoliciesOnOthers
from .kit import FOREVER, INTEGRATION, Jobs, account, ended, executed, failed, is_suspended, job_of, runs

CONTROLLER = "system:serviceaccount:spacelift-aws:spacelift-aws-controller"
START = "2026-01-02T03:04:05Z"
FAILED: Object = {
    "active": 0,
    "ready": 0,
    "conditions": [
        {"type": type_, "status": "True", "reason": "Forged", "lastTransitionTime": START}
        for type_ in ("FailureTarget", "Failed")
    ],
}
"""A status that nobody but a forger writes."""


@pytest.fixture(scope="module")
def older(_stage: Stage) -> tuple[str, str]:
    """A Job that appeared while the feature was off; nobody asked what its creator may use."""
    namespace = _stage.namespace()
    _stage.integration(namespace)
    _stage.objects.create(job_of(_stage, namespace, "older"))
    # The API server's times are whole seconds.
    time.sleep(1.1)
    return namespace, "older"


@pytest.fixture(scope="module", autouse=True)
def _on(_stage: Stage, older: tuple[str, str], on_others: PoliciesOnOthers) -> Iterator[None]:
    """The feature, switched on for this module's tests."""
    with executed(_stage, on_others):
        _stage.controller.stop()
        _stage.controller.start()
        yield
        _stage.controller.stop()
    _stage.controller.start()


@pytest.fixture(scope="module")
def jobs(_stage: Stage) -> Jobs:
    return Jobs(_stage)


# --- From beginning to end.


def test_a_job_runs_with_credentials_and_completes(jobs: Jobs) -> None:
    kubectl, where = jobs.stage.cluster.kubectl, f"--namespace={jobs.namespace}"
    body = job_of(jobs.stage, jobs.namespace, "whoami", "aws sts get-caller-identity --query Arn --output text")
    kubectl("apply", "--filename=-", input=json.dumps(body))
    kubectl("wait", where, "--for=condition=Complete", "job/whoami", "--timeout=30s")
    job, run = jobs.wait("whoami"), jobs.run("whoami")
    arn = kubectl("logs", where, "job/whoami").stdout.strip()
    assert arn.endswith("/" + run["status"]["runId"])
    status = job["status"]
    assert (status["succeeded"], status.get("active", 0), status.get("failed", 0)) == (1, 0, 0)
    assert status["startTime"] <= status["completionTime"]
    assert condition(job, "SuccessCriteriaMet")["status"] == "True"
    assert run["metadata"]["ownerReferences"][0]["uid"] == job["metadata"]["uid"]
    requester = "aws.spacelift.io/requested-by"
    assert run["metadata"]["annotations"][requester] == job["metadata"]["annotations"][requester]
    assert jobs.stage.objects.list("Secret", jobs.namespace) == []
    assert (jobs.made("runs"), jobs.made("pods")) == (1, 1)
    assert "1/1" in kubectl("get", where, "jobs").stdout
    wait_until(lambda: jobs.events("whoami") >= {"RunCreated", "CompletionsReached"}, timeout=10, what="its Events")


def test_a_job_shows_that_its_pod_runs(jobs: Jobs) -> None:
    jobs.create("long", FOREVER)
    job = jobs.wait("long", lambda job: (job or {}).get("status", {}).get("ready") == 1)
    assert job["status"]["active"] == 1
    jobs.stage.objects.delete("Job", jobs.namespace, "long", propagationPolicy="Background")


def test_a_job_fails_with_the_reason_of_its_run(jobs: Jobs) -> None:
    jobs.create("broken", "exit 7")
    job = jobs.wait("broken", failed("ContainerFailed", "7"))
    assert condition(job, "FailureTarget")["status"] == "True"
    assert (job["status"]["failed"], job["status"].get("active", 0)) == (1, 0)
    jobs.stage.cluster.kubectl(
        "wait", f"--namespace={jobs.namespace}", "--for=condition=Failed", "job/broken", "--timeout=5s"
    )
    wait_until(lambda: "ContainerFailed" in jobs.events("broken"), timeout=10, what="its Event")


def test_exit_codes_that_mean_success_complete_a_job(jobs: Jobs) -> None:
    jobs.create("drifted", "exit 2", words={"integration": "prod", "success-exit-codes": "0,2"})
    job = jobs.wait("drifted")
    assert (condition(job, "Complete").get("status"), job["status"]["succeeded"]) == ("True", 1)
    assert jobs.run("drifted")["status"]["exitCode"] == 2
    jobs.create("odd", "exit 3", words={"integration": "prod", "success-exit-codes": "0,2"})
    jobs.wait("odd", failed("ContainerFailed", "3"))


def test_a_job_says_what_its_run_waits_for_and_goes_on(jobs: Jobs) -> None:
    jobs.create("early", words={"integration": "later"})
    jobs.wait(
        "early", lambda job: condition(job, "aws.spacelift.io/CredentialsIssued").get("reason") == "IntegrationNotFound"
    )
    wait_until(lambda: "IntegrationNotFound" in jobs.events("early"), timeout=10, what="its Event")
    jobs.stage.integration(jobs.namespace, "later")
    assert condition(jobs.wait("early"), "Complete").get("status") == "True"


def test_the_jobs_deadline_counts_from_its_start(jobs: Jobs) -> None:
    jobs.create("slow", FOREVER, activeDeadlineSeconds=2)
    jobs.wait("slow", failed("DeadlineExceeded", "after its 2 seconds"))
    jobs.create("waiting", words={"integration": "never"}, activeDeadlineSeconds=2)
    job = jobs.wait("waiting", failed("DeadlineExceeded"))
    assert job["status"].get("failed", 0) == 0


# --- Suspension, deletion, time to live.


def test_a_job_begun_suspended_waits_until_it_is_resumed(jobs: Jobs) -> None:
    jobs.create("queued", suspend=True)
    jobs.wait("queued", is_suspended)
    assert jobs.stage.objects.get("Run", jobs.namespace, "queued") is None
    jobs.patch("queued", {"spec": {"suspend": False}})
    job = jobs.wait("queued")
    assert condition(job, "Complete").get("status") == "True"
    assert condition(job, "Suspended")["status"] == "False"


def test_a_running_job_is_suspended_and_runs_again_under_another_id(jobs: Jobs) -> None:
    jobs.create("paused", FOREVER)
    first = jobs.running("paused")["status"]["runId"]
    jobs.patch("paused", {"spec": {"suspend": True}})
    job = jobs.wait("paused", is_suspended)
    assert (job["status"].get("active", 0), job["status"].get("startTime")) == (0, None)
    jobs.gone("Run", "paused")
    assert not [s for s in jobs.stage.objects.list("Secret", jobs.namespace) if first.lower() in s["metadata"]["name"]]
    jobs.patch("paused", {"spec": {"suspend": False}})
    assert jobs.running("paused")["status"]["runId"] != first
    jobs.stage.objects.delete("Job", jobs.namespace, "paused", propagationPolicy="Background")


def test_the_course_that_kueue_takes(jobs: Jobs) -> None:
    """Admitted to one kind of node, preempted, admitted to another, as Kueue's `job_controller.go` does it."""

    def admit(pool: str) -> Object:
        template = {"metadata": {"labels": {"kueue.x-k8s.io/podset": "main"}}, "spec": {"nodeSelector": {"pool": pool}}}
        jobs.patch("kueue", {"spec": {"suspend": False, "template": template}})
        run = jobs.running("kueue")
        pod = jobs.stage.objects.get("Pod", jobs.namespace, run["status"]["podName"])
        assert pod is not None
        assert pod["spec"]["nodeSelector"] == {"pool": pool}
        assert pod["metadata"]["labels"]["kueue.x-k8s.io/podset"] == "main"
        return run

    jobs.create("kueue", FOREVER, suspend=True)
    jobs.wait("kueue", is_suspended)
    first = admit("spot")
    jobs.wait("kueue", lambda job: (job or {})["status"].get("ready") == 1)
    jobs.patch("kueue", {"spec": {"suspend": True}})
    jobs.stage.objects.patch("Job", jobs.namespace, "kueue", {"status": {"startTime": None}}, subresource="status")
    # What is active keeps its template, to Kubernetes and to Kueue.
    jobs.wait("kueue", lambda job: not (job or {})["status"].get("active"))
    away = {"metadata": {"labels": {"kueue.x-k8s.io/podset": None}}, "spec": {"nodeSelector": None}}
    jobs.patch("kueue", {"spec": {"template": away}})
    # Admitted again while the first pod may still be ending.
    jobs.patch("kueue", {"spec": {"suspend": False, "template": {"spec": {"nodeSelector": {"pool": "reserved"}}}}})
    second = jobs.run("kueue", lambda run: runs(run) and (run or {})["metadata"]["uid"] != first["metadata"]["uid"])
    assert second["spec"]["template"]["spec"]["nodeSelector"] == {"pool": "reserved"}
    assert second["status"]["runId"] != first["status"]["runId"]
    jobs.stage.objects.delete("Job", jobs.namespace, "kueue", propagationPolicy="Background")


@pytest.mark.parametrize("propagation", ["Background", "Foreground", "Orphan"])
def test_a_deleted_job_takes_its_run_along_unless_it_is_orphaned(jobs: Jobs, propagation: str) -> None:
    name = jobs.create(propagation.lower(), FOREVER)
    child = jobs.running(name)["status"]["secretName"]
    jobs.stage.objects.delete("Job", jobs.namespace, name, propagationPolicy=propagation)
    jobs.gone("Job", name)
    if propagation == "Orphan":
        assert jobs.running(name)["status"]["phase"] == "Running"
        jobs.stage.objects.delete("Run", jobs.namespace, name, propagationPolicy="Background")
    jobs.gone("Run", name)
    jobs.gone("Secret", child)
    jobs.gone("Pod", child)


def test_kubernetes_deletes_a_job_after_its_time_to_live_and_the_run_with_it(jobs: Jobs) -> None:
    jobs.create("brief", ttlSecondsAfterFinished=1)
    jobs.gone("Job", "brief")
    jobs.gone("Run", "brief")


# --- What is refused, and whose Jobs are left alone.


@pytest.mark.parametrize(
    ("fields", "words", "says"),
    [
        ({"completions": 2}, None, "spec.completions is 2"),
        ({"completions": 1, "parallelism": 2}, None, "spec.parallelism is 2"),
        ({"completions": 1, "completionMode": "Indexed"}, None, "Indexed"),
        ({"backoffLimit": 3}, None, "`backoffLimit: 0`"),
        (
            {"podFailurePolicy": {"rules": [{"action": "FailJob", "onExitCodes": {"operator": "In", "values": [1]}}]}},
            None,
            "podFailurePolicy",
        ),
        ({}, {"stack": "x"}, "names no AwsIntegration"),
        ({}, {"integration": "prod", "credentials-for": "nobody"}, "nobody"),
    ],
)
def test_a_job_that_is_not_one_run_fails_with_what_to_write(
    jobs: Jobs, fields: dict[str, Any], words: dict[str, str] | None, says: str
) -> None:
    name = jobs.create(jobs.stage.fresh("refused"), words=words, **fields)
    job = jobs.wait(name, ended)
    assert condition(job, "Failed")["reason"] in ("JobRefused", "TemplateRefused")
    assert says in condition(job, "Failed")["message"]


def test_jobs_of_others_get_no_run(jobs: Jobs) -> None:
    for name, managed_by in (("plain", None), ("elsewhere", "example.com/controller")):
        body = job_of(jobs.stage, jobs.namespace, name)
        body["spec"]["managedBy"] = managed_by
        jobs.stage.objects.create(body)
    # Kubernetes' own controller, which is beside ours in all of these tests, executes its own.
    assert condition(jobs.wait("plain"), "Complete").get("status") == "True"
    # A Job of ours that is created later has been executed: theirs were seen before it.
    jobs.create("after")
    jobs.wait("after")
    for name in ("plain", "elsewhere"):
        assert jobs.stage.objects.get("Run", jobs.namespace, name) is None


def test_a_run_of_the_same_name_is_left_alone(jobs: Jobs) -> None:
    jobs.stage.run(jobs.namespace, FOREVER, name="taken")
    run = jobs.running("taken")
    jobs.create("taken")
    wait_until(lambda: "RunNameTaken" in jobs.events("taken"), timeout=10, what="its Event")
    assert not jobs.run("taken")["spec"]["stop"]
    assert jobs.run("taken")["metadata"]["uid"] == run["metadata"]["uid"]
    jobs.stage.objects.delete("Run", jobs.namespace, "taken", propagationPolicy="Background")
    assert condition(jobs.wait("taken"), "Complete").get("status") == "True"


def test_a_job_from_before_is_not_executed(jobs: Jobs, older: tuple[str, str]) -> None:
    namespace, name = older
    job = jobs.stage.objects.wait("Job", namespace, name, failed("CreatorNotChecked"), what="the older Job")
    assert "create it again" in condition(job, "Failed")["message"]
    told = [event["reason"] for event in jobs.stage.objects.list("Event", namespace)]
    assert "CreatorNotChecked" in told
    assert jobs.stage.objects.get("Run", namespace, name) is None


# --- Forgeries, and what comes back.


def test_a_run_that_somebody_deletes_fails_the_job_and_is_not_made_again(jobs: Jobs) -> None:
    jobs.create("robbed", FOREVER)
    jobs.running("robbed")
    jobs.stage.objects.delete("Run", jobs.namespace, "robbed", propagationPolicy="Background")
    jobs.wait("robbed", failed("RunDeleted"))
    jobs.gone("Run", "robbed")


def test_only_its_executor_writes_the_status_of_a_job(jobs: Jobs) -> None:
    jobs.create("queue", suspend=True)
    jobs.wait("queue", is_suspended)
    for forged in ({**FAILED, "startTime": START}, {"active": 1}, {"startTime": START}):
        with pytest.raises(RefusedError, match="only its executor writes its status"):
            jobs.stage.objects.patch("Job", jobs.namespace, "queue", {"status": forged}, subresource="status")


def test_who_has_an_executors_token_ends_a_job_and_does_not_repeat_it(jobs: Jobs) -> None:
    thief = Objects(jobs.stage.cluster.kubeconfig, CONTROLLER)
    jobs.create("forged", FOREVER)
    uid = jobs.running("forged")["metadata"]["uid"]
    thief.patch("Job", jobs.namespace, "forged", {"status": {"active": 0, "ready": 0}}, subresource="status")
    jobs.wait("forged", lambda job: (job or {})["status"].get("active") == 1)
    thief.patch("Job", jobs.namespace, "forged", {"status": FAILED}, subresource="status")
    run = jobs.run("forged", lambda run: (run or {})["status"]["phase"] == "Stopped")
    assert run["metadata"]["uid"] == uid
    assert condition(jobs.wait("forged"), "Failed")["reason"] == "Forged"


def test_a_job_that_is_brought_back_is_not_executed(jobs: Jobs) -> None:
    # The stamp is that of another life, as in a backup.
    jobs.create("restored", words={"integration": "prod", "requested-by": "jane@example.com"})
    jobs.wait("restored", failed("Restored", "was restored or copied"))
    assert jobs.stage.objects.get("Run", jobs.namespace, "restored") is None


# --- Who may.


@pytest.mark.parametrize(
    ("verbs", "type_", "allowed"),
    [("", "Task", False), ("propose", "Task", False), ("propose", "Proposed", True), ("use", "Task", True)],
)
def test_who_creates_a_job_needs_the_runs_right(jobs: Jobs, verbs: str, type_: str, allowed: bool) -> None:
    user = hands(jobs.stage, jobs.namespace, verbs=verbs)
    words = {"integration": "prod", "type": type_}
    body = job_of(jobs.stage, jobs.namespace, jobs.stage.fresh("asked"), words=words, suspend=True)
    if allowed:
        user.create(body)
        return
    with pytest.raises(RefusedError, match="on it is missing"):
        user.create(body)


def test_nobody_adds_or_changes_the_annotations_later(jobs: Jobs) -> None:
    user = hands(jobs.stage, jobs.namespace, verbs="use")
    name = jobs.stage.fresh("fixed")
    user.create(job_of(jobs.stage, jobs.namespace, name, suspend=True))
    for change in ({INTEGRATION: "other"}, {"aws.spacelift.io/type": "Proposed"}, {INTEGRATION: None}):
        with pytest.raises(RefusedError, match="are immutable"):
            user.patch("Job", jobs.namespace, name, {"metadata": {"annotations": change}})
    user.patch("Job", jobs.namespace, name, {"metadata": {"annotations": {"example.com/note": "mine"}}})


def test_for_a_job_of_the_clusters_own_controllers_the_pods_account_is_asked(jobs: Jobs) -> None:
    stage, namespace = jobs.stage, jobs.namespace
    account(stage, namespace, "drift", "use")

    def create(user: str, name: str) -> None:
        body = job_of(stage, namespace, stage.fresh("scheduled"), suspend=True)
        body["spec"]["template"]["spec"]["serviceAccountName"] = name
        Objects(stage.cluster.kubeconfig, user).create(body)

    cron = "system:serviceaccount:kube-system:cronjob-controller"
    with pytest.raises(RefusedError, match="service account default may not create Jobs"):
        create(cron, "default")
    create(cron, "drift")
    # An account of that name elsewhere is nobody: it is asked for its own right.
    pretender = f"system:serviceaccount:{namespace}:cronjob-controller"
    stage.cluster.kubectl(
        *("create", "rolebinding", "pretender", f"--namespace={namespace}", "--clusterrole=edit"),
        f"--serviceaccount={namespace}:cronjob-controller",
    )
    with pytest.raises(RefusedError, match="on it is missing"):
        create(pretender, "drift")


def test_executors_create_runs_of_jobs_only(jobs: Jobs) -> None:
    controller = Objects(jobs.stage.cluster.kubeconfig, CONTROLLER)
    run: Object = {
        "apiVersion": "aws.spacelift.io/v1beta1",
        "kind": "Run",
        "metadata": {"namespace": jobs.namespace, "name": "free"},
        "spec": {
            "integrationRef": {"name": "prod"},
            "template": {"spec": {"containers": [jobs.stage.container("true")]}},
        },
    }
    with pytest.raises(RefusedError, match="may create Runs of Jobs only"):
        controller.create(run)
    only = jobs.stage.namespace({"aws.spacelift.io/worker-only": "true"})
    run["metadata"]["namespace"] = only
    with pytest.raises(RefusedError, match="is for workers only"):
        controller.create(run)


# --- Kubernetes' own CronJob controller, and a worker pool.


@pytest.mark.slow
def test_a_cronjob_checks_for_drift(jobs: Jobs) -> None:
    stage = jobs.stage
    stage.integration(jobs.namespace, "planned", proposed={})
    words = {"integration": "planned", "type": "Proposed", "success-exit-codes": "0,2"}
    template = job_of(stage, jobs.namespace, "x", "exit 2", words=words)
    account(stage, jobs.namespace, "planner", "propose")
    template["spec"]["template"]["spec"]["serviceAccountName"] = "planner"
    stage.objects.create(
        {
            "apiVersion": "batch/v1",
            "kind": "CronJob",
            "metadata": {"namespace": jobs.namespace, "name": "drift"},
            "spec": {
                "schedule": "* * * * *",
                "concurrencyPolicy": "Forbid",
                "jobTemplate": {
                    "metadata": {"annotations": template["metadata"]["annotations"]},
                    "spec": template["spec"],
                },
            },
        }
    )

    def done() -> bool:
        found = [
            job for job in stage.objects.list("Job", jobs.namespace) if job["metadata"]["name"].startswith("drift-")
        ]
        return any(condition(job, "Complete").get("status") == "True" for job in found)

    wait_until(done, timeout=100, what="the CronJob's first Job")
    stage.objects.delete("CronJob", jobs.namespace, "drift", propagationPolicy="Background")


def test_a_worker_pool_executes_the_jobs_of_its_integrations(stage: Stage) -> None:
    namespace = stage.namespace({"aws.spacelift.io/worker-only": "true"})
    owner = tenant(stage.aws, stage.fresh("pool"))
    stage.integration(namespace, roleArn=owner.role_arn, generateCredentialsInWorker=True)
    aws = stage.aws.environment(owner.identity, endpoint=stage.proxy.endpoint)
    worker = Worker(
        stage.cluster,
        {**aws, **SETTINGS, "SPACELIFT_AWS_INSTALLATION": "acme-prod", "SPACELIFT_AWS_JOBS": "true"},
        namespace,
    )
    worker.install()
    worker.start()
    try:
        words = {"integration": "prod", "success-exit-codes": "0,2"}
        stage.objects.create(job_of(stage, namespace, "mine", "exit 2", words=words))
        job = stage.objects.wait("Job", namespace, "mine", ended)
        assert condition(job, "Complete").get("status") == "True"
        run = stage.objects.get("Run", namespace, "mine")
        assert run is not None
        pod = stage.objects.get("Pod", namespace, run["status"]["podName"])
        assert pod is not None
        assert pod["metadata"]["labels"]["aws.spacelift.io/executor"] == "worker"
    finally:
        worker.stop()
