"""Worker pools under identities of their own: what they verify, what they execute and what they leave alone."""

import time
from collections.abc import Iterator
from concurrent.futures import Future

import pytest

from sandbox.faults import Match, Rule, expired_token
from sandbox.objects import condition
from sandbox.stage import INSTALLATION, Stage
from sandbox.worker import SERVICE_ACCOUNT, TENANT

from .place import Place, side_by_side

pytestmark = pytest.mark.slow


def own_credentials_expired(place: Place) -> None:
    """The worker waits and says so; an earlier verdict stays, with its silence."""
    place.integration()
    worker = place.worker(pool="build")
    place.verdict("build", lambda entry: entry.get("reason") == "Verified", "verified")
    with place.stage.proxy.rule(Rule(Match(action=None, access_key_id=place.user.access_key_id), expired_token())):
        place.begin(workerPool="build")
        place.waits("Retrying", "Pool `build`: ", "ExpiredToken")
        place.stage.objects.patch(
            "AwsIntegration",
            place.namespace,
            "prod",
            {"metadata": {"annotations": {"aws.spacelift.io/verify": "now"}}},
        )
        said = place.verdict("build", lambda entry: "expired" in entry.get("message", ""), "the silence told")
        assert said["reason"] == "Verified"
        worker.stop()
        worker.start()
        place.waits("IntegrationNotReady", "Pool `build`: ")
        assert place.verdicts()["build"]["reason"] == "Verified"
    place.ends()


def the_role_cannot_be_assumed(place: Place) -> None:
    """The reason with its remedy is the worker's word: the controller neither replaces it nor takes turns with it."""
    stranger = place.identity()
    role = place.integration(place.trust(stranger))
    place.worker(pool="build")
    place.begin(workerPool="build")
    place.waits("IntegrationNotReady", "Pool `build`: ", place.user.arn, "sts:AssumeRole")
    until = time.monotonic() + 7
    while time.monotonic() < until:
        assert condition(place.run(), "CredentialsIssued")["message"].startswith("Pool `build`: ")
        time.sleep(0.1)
    written = [event for event in place.events() if (event.verb, event.resource) == ("patch", "runs")]
    assert len(written) <= 2
    place.account.set_trust(role, place.trust())
    place.ends()


def without_a_worker_the_controller_speaks_and_ends(place: Place) -> None:
    place.integration()
    place.begin(name="late", workerPool="build", startingDeadlineSeconds=1, ttlSecondsAfterFinished=6)
    place.begin(name="stopped", workerPool="build")
    place.begin(name="served", workerPool="build")
    for name in ("stopped", "served"):
        run = place.waits("NoWorker", "`build`", name=name)
        assert run["status"]["phase"] == "Queued"
    place.stage.objects.patch("Run", place.namespace, "stopped", {"spec": {"stop": True}})
    place.ends("Stopped", name="stopped")
    place.ends("Failed", "StartingDeadlineExceeded", name="late")
    place.stage.objects.wait("Run", place.namespace, "late", lambda run: run is None)
    place.worker(pool="build")
    place.ends(name="served")


def a_run_goes_end_to_end_as_the_tenant(place: Place) -> None:
    """Under the tenant's identity and the external ID that is computed, with nothing of the controller in it."""
    own_id = f"{INSTALLATION}@{place.namespace}@prod"
    place.integration(place.trust(external_id=own_id))
    place.worker(pool="build")
    place.verdict("build", lambda entry: entry.get("reason") == "Verified", "verified")
    forged = {"status": {"externalId": "forged"}}
    place.stage.objects.patch("AwsIntegration", place.namespace, "prod", forged, subresource="status")
    child = place.begin("aws sts get-caller-identity --query Arn --output text", workerPool="build")
    run = place.ends()
    logs = place.stage.cluster.kubectl("logs", f"--namespace={place.namespace}", child).stdout
    assert f"arn:aws:sts::{TENANT}:assumed-role/" in logs
    assert run["status"]["runId"] in logs
    calls = place.stage.proxy.calls_of(Match(role_arn=place.role, session_name_prefix=run["status"]["runId"]))
    assert [call.external_id for call in calls] == [own_id]
    assert {call.access_key_id for call in calls} == {place.user.access_key_id}
    assert place.controllers() == []


def the_specs_own_external_id(place: Place) -> None:
    place.integration(place.trust(external_id="chosen-by-us"), externalId="chosen-by-us")
    place.worker()
    place.begin()
    place.ends()


def two_pools_under_two_identities(place: Place) -> None:
    """Both verdicts stand side by side; one pool's denial stops nobody else's Runs."""
    other = place.identity()
    place.integration()
    place.worker("good", pool="good")
    place.worker("bad", pool="bad", user=other)
    place.verdict("good", lambda entry: entry.get("reason") == "Verified", "verified")
    place.verdict("bad", lambda entry: entry.get("reason") == "AccessDenied", "denied")
    place.begin(name="for-bad", workerPool="bad")
    place.waits("IntegrationNotReady", "Pool `bad`: ", other.arn, name="for-bad")
    place.begin(workerPool="good")
    place.ends()
    verdicts = place.verdicts()
    assert {pool: entry["reason"] for pool, entry in verdicts.items()} == {"good": "Verified", "bad": "AccessDenied"}
    assert (verdicts["good"]["principal"], verdicts["bad"]["principal"]) == (place.user.arn, other.arn)


def a_template_under_the_workers_account(place: Place) -> None:
    place.integration()
    place.worker()
    pod = {"serviceAccountName": SERVICE_ACCOUNT, "containers": [place.stage.container("true")]}
    place.begin(pod=pod)
    run = place.ends("Failed", "TemplateRefused")
    assert "the worker's own service account" in run["status"]["message"]


def several_namespaces_one_of_which_is_deleted(place: Place) -> None:
    stage, home = place.stage, place.stage.namespace()
    other = Place(stage, place.account)
    place.integration()
    other.user = place.user
    other.integration(other.trust(place.user))
    worker = place.worker(home=home, serves=(place.namespace, other.namespace))
    other.begin("sleep 600")
    other.running()
    stage.objects.delete("Namespace", None, other.namespace)
    place.begin()
    place.ends()
    stage.objects.wait("Namespace", None, other.namespace, lambda body: body is None, timeout=60)
    assert worker.process.exit_code() is None
    place.begin(name="later")
    place.ends(name="later")


def a_run_of_another_namespace(place: Place) -> None:
    elsewhere = place.stage.namespace()
    place.integration()
    place.worker(home=elsewhere, serves=(place.namespace, elsewhere))
    reference = {"name": "prod", "namespace": place.namespace}
    place.stage.run(elsewhere, "true", name="it", integrationRef=reference)
    other = Place(place.stage, place.account)
    other.namespace = elsewhere
    other.waits("WorkerModeIsNamespaced", place.namespace)


SCENARIOS = (
    own_credentials_expired,
    the_role_cannot_be_assumed,
    without_a_worker_the_controller_speaks_and_ends,
    a_run_goes_end_to_end_as_the_tenant,
    the_specs_own_external_id,
    two_pools_under_two_identities,
    a_template_under_the_workers_account,
    several_namespaces_one_of_which_is_deleted,
    a_run_of_another_namespace,
)


@pytest.fixture(scope="module")
def played(_stage: Stage) -> Iterator[dict[str, Future[None]]]:
    with side_by_side(_stage, SCENARIOS) as futures:
        yield futures


@pytest.mark.parametrize("name", [scenario.__name__ for scenario in SCENARIOS])
def test_a_pool_does_its_own_and_no_more(played: dict[str, Future[None]], name: str) -> None:
    played[name].result(timeout=150)
