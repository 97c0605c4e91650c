"""Jobs that are executed as Runs, with Kubernetes' own Job, CronJob and time-to-live controllers beside."""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from sandbox.objects import Object, Objects, RefusedError, condition
from sandbox.process import wait_until
from sandbox.stage import Stage
from sandbox.worker import Worker, tenant

from .conftest import SETTINGS, hands
from .policies import JOBS, PoliciesOnOthers, forget_jobs

INTEGRATION = "aws.spacelift.io/integration"
FOREVER = "trap 'exit 0' TERM; while :; do sleep 0.1; done"


def job_of(
    stage: Stage, namespace: str, name: str, script: str = "true", *, words: dict[str, str] | None = None, **spec: Any
) -> Object:
    """A Job of one container that asks to be executed as a Run; `words` are its annotations without the prefix."""
    annotations = {f"aws.spacelift.io/{key}": value for key, value in (words or {"integration": "prod"}).items()}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"namespace": namespace, "name": name, "annotations": annotations},
        "spec": {
            "managedBy": "aws.spacelift.io/run",
            "backoffLimit": 0,
            "template": {"spec": {"restartPolicy": "Never", "containers": [stage.container(script)]}},
            **spec,
        },
    }


def account(stage: Stage, namespace: str, name: str, verb: str) -> None:
    """A new service account with a verb on all AwsIntegrations of its namespace."""
    kubectl, where = stage.cluster.kubectl, f"--namespace={namespace}"
    rule = {"apiGroups": ["aws.spacelift.io"], "resources": ["awsintegrations"], "verbs": [verb]}
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": name}, "rules": [rule]}
    kubectl("create", where, "--filename=-", input=json.dumps(role))
    kubectl("create", "serviceaccount", name, where)
    kubectl("create", "rolebinding", name, where, f"--role={name}", f"--serviceaccount={namespace}:{name}")


def ended(job: Object | None) -> bool:
    return any(condition(job, type_).get("status") == "True" for type_ in ("Complete", "Failed"))


def failed(reason: str, message: str = "") -> Callable[[Object | None], bool]:
    def has_failed(job: Object | None) -> bool:
        why = condition(job, "Failed")
        return why.get("reason") == reason and message in why.get("message", "")

    return has_failed


class Jobs:
    """A namespace with a trusted integration, and Jobs in it."""

    def __init__(self, stage: Stage, **integration: Any) -> None:
        self.stage = stage
        self.namespace = stage.namespace()
        stage.integration(self.namespace, **integration)

    def create(self, name: str, script: str = "true", **more: Any) -> str:
        self.stage.objects.create(job_of(self.stage, self.namespace, name, script, **more))
        return name

    def wait(self, name: str, until: Callable[[Object | None], object] = ended, timeout: float = 30) -> Object:
        return self.stage.objects.wait("Job", self.namespace, name, until, timeout=timeout, what=name)

    def run(self, name: str, until: Callable[[Object | None], object] = bool) -> Object:
        return self.stage.objects.wait("Run", self.namespace, name, until, what=f"Run {name}")

    def running(self, name: str) -> Object:
        return self.run(name, lambda run: (run or {}).get("status", {}).get("phase") == "Running")

    def gone(self, kind: str, name: str) -> None:
        self.stage.objects.wait(kind, self.namespace, name, lambda body: body is None, what=f"{kind} {name} is gone")

    def patch(self, name: str, body: Object) -> None:
        self.stage.objects.patch("Job", self.namespace, name, body)

    def pods_made(self, name: str) -> int:
        """How many pods a Job ever had, by the API server's audit log."""
        runs = {event.raw["objectRef"].get("name") for event in self._creations("runs")} & {name}
        assert runs == {name}
        return len(list(self._creations("pods")))

    def _creations(self, resource: str) -> Iterator[Any]:
        for event in self.stage.cluster.audit_events():
            made = (event.verb, event.resource, event.subresource, event.namespace, event.code)
            if made == ("create", resource, "", self.namespace, 201):
                yield event

    def events(self, name: str) -> set[str]:
        found = self.stage.objects.list("Event", self.namespace)
        return {str(event["reason"]) for event in found if event["involvedObject"]["name"] == name}


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
    controller = _stage.controller
    controller.install(JOBS)
    controller.environment["SPACELIFT_AWS_JOBS"] = "true"
    controller.stop()
    controller.start()
    yield
    controller.stop()
    del controller.environment["SPACELIFT_AWS_JOBS"]
    forget_jobs(_stage)
    on_others.install_without()
    controller.start()


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
    assert jobs.pods_made("whoami") == 1
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
    jobs.wait("queued", lambda job: condition(job, "Suspended").get("status") == "True")
    assert jobs.stage.objects.get("Run", jobs.namespace, "queued") is None
    jobs.patch("queued", {"spec": {"suspend": False}})
    job = jobs.wait("queued")
    assert condition(job, "Complete").get("status") == "True"
    assert condition(job, "Suspended")["status"] == "False"


def test_a_running_job_is_suspended_and_runs_again_under_another_id(jobs: Jobs) -> None:
    jobs.create("paused", FOREVER)
    first = jobs.running("paused")["status"]["runId"]
    jobs.patch("paused", {"spec": {"suspend": True}})
    job = jobs.wait("paused", lambda job: condition(job, "Suspended").get("status") == "True")
    assert (job["status"].get("active", 0), job["status"].get("startTime")) == (0, None)
    jobs.gone("Run", "paused")
    assert not [s for s in jobs.stage.objects.list("Secret", jobs.namespace) if first.lower() in s["metadata"]["name"]]
    jobs.patch("paused", {"spec": {"suspend": False}})
    assert jobs.running("paused")["status"]["runId"] != first
    jobs.stage.objects.delete("Job", jobs.namespace, "paused", propagationPolicy="Background")


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
        body = job_of(jobs.stage, jobs.namespace, name, suspend=True)
        body["spec"]["managedBy"] = managed_by
        jobs.stage.objects.create(body)
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
    assert jobs.stage.objects.get("Run", namespace, name) is None


# --- Crashes and forgeries.


def test_a_run_that_somebody_deletes_fails_the_job_and_is_not_made_again(jobs: Jobs) -> None:
    jobs.create("robbed", FOREVER)
    jobs.running("robbed")
    jobs.stage.objects.delete("Run", jobs.namespace, "robbed", propagationPolicy="Background")
    jobs.wait("robbed", failed("RunDeleted"))
    jobs.gone("Run", "robbed")


def test_a_forged_status_executes_nothing_twice(jobs: Jobs) -> None:
    jobs.create("forged", suspend=True)
    jobs.wait("forged", lambda job: condition(job, "Suspended").get("status") == "True")
    jobs.stage.objects.patch("Job", jobs.namespace, "forged", {"status": {"active": 1}}, subresource="status")
    jobs.patch("forged", {"spec": {"suspend": False}})
    job = jobs.wait("forged")
    assert condition(job, "Complete").get("status") == "True" or failed("RunDeleted")(job)
    assert jobs.stage.objects.list("Secret", jobs.namespace) == []


def test_a_controller_that_dies_carries_on(jobs: Jobs) -> None:
    names = [jobs.create(f"survivor-{number}", "sleep 1") for number in range(2)]
    controller = jobs.stage.controller
    for name in names:
        controller.kill()
        controller.start()
        jobs.wait(name, lambda job: (job or {}).get("status", {}).get("active") or ended(job))
    for name in names:
        job = jobs.wait(name)
        assert (condition(job, "Complete").get("status"), job["status"]["succeeded"]) == ("True", 1)


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
    controller = Objects(jobs.stage.cluster.kubeconfig, "system:serviceaccount:spacelift-aws:spacelift-aws-controller")
    run: Object = {
        "apiVersion": "aws.spacelift.io/v1beta1",
        "kind": "Run",
        "metadata": {"namespace": jobs.namespace, "name": "free"},
        "spec": {
            "integrationRef": {"name": "prod"},
            "template": {"spec": {"containers": [jobs.stage.container("true")]}},
        },
    }
    with pytest.raises(RefusedError, match="creates Runs of Jobs only"):
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
        stage.objects.create(job_of(stage, namespace, "mine"))
        job = stage.objects.wait("Job", namespace, "mine", ended)
        assert condition(job, "Complete").get("status") == "True"
        run = stage.objects.get("Run", namespace, "mine")
        assert run is not None
        pod = stage.objects.get("Pod", namespace, run["status"]["podName"])
        assert pod is not None
        assert pod["metadata"]["labels"]["aws.spacelift.io/executor"] == "worker"
    finally:
        worker.stop()
