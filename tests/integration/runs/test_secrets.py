"""A Run's Secret that is held, and credentials that near their end."""

from datetime import UTC, datetime, timedelta

from sandbox.faults import Match
from sandbox.stage import Stage

from .play import FOREVER, HOLD, HOLD_KEY, Play, phase, play, says


def test_a_secret_held_by_a_finalizer_holds_the_end_up(stage: Stage) -> None:
    on = play(stage)
    on.run("held", FOREVER)
    on.wait("held", phase("Running"))
    name = on.child("held")
    stage.objects.patch("Secret", on.namespace, name, {"metadata": {"finalizers": ["test.example/hold"]}})
    on.patch("held", stop=True)
    on.wait("held", says("held by a finalizer"))
    stage.objects.wait("Namespace", None, on.namespace, lambda _: "SecretHeld" in on.events("held"), what="an Event")
    stage.objects.patch("Secret", on.namespace, name, {"metadata": {"finalizers": None}})
    assert on.end("held") == ("Stopped", "Stopped")


def test_credentials_that_near_their_end_are_replaced_before_a_container_reads_them(stage: Stage) -> None:
    """Only memory and two annotations know an expiry: what stands there counts for a controller that has just begun."""
    on = play(stage)
    on.run("late", "aws sts get-caller-identity", annotations=HOLD)
    name = on.child("late")
    first = stage.objects.get("Secret", on.namespace, name) or {}
    stage.controller.kill()
    soon = near_expiry(on, "late")
    stage.controller.start()
    stage.objects.wait(
        "Secret", on.namespace, name, lambda body: body and body["metadata"]["uid"] != first["metadata"]["uid"]
    )
    on.wait("late", lambda run: run and run["status"]["credentialsExpireAt"] > soon)
    stage.objects.patch("Pod", on.namespace, name, {"metadata": {"annotations": {HOLD_KEY: None}}})
    assert on.end("late") == ("Finished", "Finished")


def near_expiry(on: Play, role: str) -> str:
    """Date a Run's credentials so that the next controller finds them near their end; the new date."""
    soon = (datetime.now(UTC) + timedelta(minutes=3)).strftime("%Y-%m-%dT%H:%M:%SZ")
    dated = {"metadata": {"annotations": {"aws.spacelift.io/credentials-expire-at": soon}}}
    on.stage.objects.patch("Pod", on.namespace, on.child(role), dated)
    status = {"status": {"credentialsExpireAt": soon}}
    on.stage.objects.patch("Run", on.namespace, on.runs[role], status, subresource="status")
    return soon


def test_what_is_allowed_no_more_is_not_issued_again(stage: Stage) -> None:
    """`allowedNamespaces` and `allowedStacks` count at every issue, not only at the first."""
    red = {"from": "Selector", "selector": {"matchLabels": {"team": "red"}}}
    owner = play(stage, allowedNamespaces=red, allowedStacks=["vpc"])
    guest = Play(stage, stage.namespace({"team": "red"}))
    owner.run("stack", stack="vpc", annotations=HOLD)
    guest.run("guest", stack="vpc", annotations=HOLD, integrationRef={"name": "prod", "namespace": owner.namespace})
    both = ((owner, "stack"), (guest, "guest"))
    names = [on.child(role) for on, role in both]
    stage.controller.kill()
    soon = max(near_expiry(on, role) for on, role in both)
    stage.objects.patch("Namespace", None, guest.namespace, {"metadata": {"labels": {"team": "blue"}}})
    stage.objects.patch("AwsIntegration", owner.namespace, "prod", {"spec": {"allowedStacks": ["db"]}})
    stage.controller.start()
    owner.wait("stack", says("does not allow stack `vpc`"))
    guest.wait("guest", says(f"does not allow Runs of namespace {guest.namespace}"))
    for name in names:
        assert len(stage.proxy.calls_of(Match(session_name_prefix=name.removeprefix("aws-run-").upper()))) == 1
    stage.objects.patch("Namespace", None, guest.namespace, {"metadata": {"labels": {"team": "red"}}})
    stage.objects.patch("AwsIntegration", owner.namespace, "prod", {"spec": {"allowedStacks": ["vpc"]}})
    for (on, role), name in zip(both, names, strict=True):
        on.wait(role, lambda run: run and run["status"]["credentialsExpireAt"] > soon)
        assert len(stage.proxy.calls_of(Match(session_name_prefix=name.removeprefix("aws-run-").upper()))) == 2
        stage.objects.patch("Pod", on.namespace, name, {"metadata": {"annotations": {HOLD_KEY: None}}})
        assert on.end(role) == ("Finished", "Finished")
