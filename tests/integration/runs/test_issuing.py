"""Who gets credentials, what a session carries, and what STS and the API server say against it."""

from datetime import UTC, datetime, timedelta

import pytest

from sandbox.faults import Match, Rule, denied, throttled
from sandbox.process import wait_until
from sandbox.stage import Stage
from spacelift_aws.controllers.awsintegration.history import Schedule
from spacelift_aws.controllers.awsintegration.probes.call import PROBE_MARK

from .play import Play, integration_of, issued, play, ready, says

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def seasoned(_stage: Stage) -> Play:
    """An integration that is verified before the other tests, and so some time before the one that needs it."""
    return play(_stage)


def verified_for(on: Play, age: timedelta) -> bool:
    """Whether an integration's trust was verified, that long ago."""
    last = integration_of(on).get("status", {}).get("lastVerifiedTime")
    return last is not None and datetime.now(UTC) - datetime.fromisoformat(last) > age


def test_who_may_use_an_integration(stage: Stage) -> None:
    owner = play(stage, allowedNamespaces={"from": "Selector", "selector": {"matchLabels": {"team": "red"}}})
    owner.stage.integration(owner.namespace, "stacks", allowedStacks=["vpc"])
    owner.stage.integration(owner.namespace, "workers", trusted=False, generateCredentialsInWorker=True)
    guest = Play(stage, stage.namespace())
    guest.run("guest", integrationRef={"name": "prod", "namespace": owner.namespace})
    guest.run("worker", integrationRef={"name": "workers", "namespace": owner.namespace})
    owner.run("stack", integration="stacks", stack="db")
    owner.run("no stack", integration="stacks")
    owner.run("right stack", integration="stacks", stack="vpc")
    owner.run("worker", integration="workers")
    guest.wait("guest", issued("NotAllowed", "`from: Selector`"))
    guest.wait("worker", issued("WorkerModeIsNamespaced"))
    owner.wait("stack", issued("NotAllowed", "stack `db`"))
    owner.wait("no stack", issued("NotAllowed", "without a stack"))
    stage.objects.patch("Namespace", None, guest.namespace, {"metadata": {"labels": {"team": "red"}}})
    stage.objects.patch("AwsIntegration", owner.namespace, "stacks", {"spec": {"allowedStacks": ["vpc", "db"]}})
    assert guest.end("guest") == owner.end("stack") == owner.end("right stack") == ("Finished", "Finished")
    owner.wait("worker", issued("NoWorker", "pool `default`"))


def test_what_a_session_carries(stage: Stage) -> None:
    read_only = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"sts:*","Resource":"*"}]}'
    on = play(stage, tagAssumeRole=True, proposed={"sessionPolicy": read_only}, durationSeconds=1800)
    on.run("tracked", type="Tracked", stack="vpc")
    on.run("proposed", type="Proposed")
    calls = {}
    for role in ("tracked", "proposed"):
        assert on.end(role) == ("Finished", "Finished")
        run_id = on.wait(role)["status"]["runId"]
        [calls[role]] = stage.proxy.calls_of(Match(session_name_prefix=run_id))
        assert calls[role].duration_seconds == 1800
        assert calls[role].external_id == stage.external_id(on.namespace, "prod")
        assert calls[role].tags == {"run": run_id, "stack": "vpc" if role == "tracked" else "", "space": on.namespace}
    assert not calls["tracked"].has("Policy")
    assert calls["proposed"].parameters["Policy"] == read_only


@pytest.fixture
def quota(stage: Stage) -> Play:
    on = play(stage)
    body = {"kind": "ResourceQuota", "metadata": {"name": "few", "namespace": on.namespace}}
    stage.objects.create({**body, "spec": {"hard": {"pods": "0"}}})
    return on


def test_the_api_servers_word_on_a_pod(stage: Stage, quota: Play) -> None:
    restricted = play(stage, {"pod-security.kubernetes.io/enforce": "restricted"})
    restricted.run("insecure")
    quota.run("crowded")
    assert restricted.end("insecure") == ("Failed", "TemplateRefused")
    assert "violates PodSecurity" in restricted.wait("insecure")["status"]["message"]
    quota.wait("crowded", says("exceeded quota: few"))
    assert quota.secret("crowded") is None, "no Secret lives while nothing can use it"
    stage.objects.patch("ResourceQuota", quota.namespace, "few", {"spec": {"hard": {"pods": "5"}}})
    assert quota.end("crowded") == ("Finished", "Finished")


def test_what_sts_says_to_a_run(stage: Stage, seasoned: Play) -> None:
    """Throttling delays; a refusal is final only where trust holds all the while; where it broke, the Run waits."""
    one, two, three = play(stage), play(stage), seasoned
    # Sooner after a verification no refused Run has it verified again.
    again = Schedule().request_every
    wait_until(lambda: verified_for(three, again), timeout=30, what="an integration that was verified some time ago")
    for on in (one, two, three):
        stage.objects.wait("AwsIntegration", on.namespace, "prod", lambda body: ready(body) == "True")
    roles = [integration_of(on)["spec"]["roleArn"] for on in (one, two, three)]
    stage.proxy.add(Rule(Match(role_arn=roles[0]), throttled(), times=4))
    # Of the second role only Runs are refused: its trust holds, however often it is verified meanwhile.
    stage.proxy.add(Rule(Match(role_arn=roles[1], session_name_unlike=f"*{PROBE_MARK}"), denied()))
    own = stage.external_id(three.namespace, "prod")
    broken_role = roles[2].rsplit("/", 1)[1]
    stage.customer.set_trust(broken_role, stage.trust("someone@else"))
    one.run("throttled")
    two.run("refused")
    three.run("trust broken")
    one.wait("throttled", issued("Retrying", "Rate exceeded"))
    two.wait("refused", issued("AccessDenied", "not authorized to perform: sts:AssumeRole"))
    three.wait("trust broken", issued("AccessDenied"))
    assert one.end("throttled") == ("Finished", "Finished")
    three.wait("trust broken", issued("IntegrationNotReady"), timeout=40)
    stage.customer.set_trust(broken_role, stage.trust(own))
    assert two.end("refused") == ("Failed", "AccessDenied")
    assert three.end("trust broken") == ("Finished", "Finished")
