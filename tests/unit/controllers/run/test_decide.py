"""What is next for a Run: a sentence a case."""

from dataclasses import replace
from typing import Any

import pytest

from spacelift_aws.api.reasons import CredentialsIssuedReason, SucceededReason
from spacelift_aws.controllers.run.actions import Advise, Decision, WriteStatus
from spacelift_aws.controllers.run.decide import decide
from spacelift_aws.controllers.run.pod.build import build_pod
from spacelift_aws.controllers.run.state import (
    Denied,
    Limits,
    PodSearch,
    Progress,
    RetryableFailure,
    SecretState,
    TerminalFailure,
)
from spacelift_aws.controllers.run.status import events


def names(decision: Decision) -> list[str]:
    return [type(action).__name__ for action in decision.actions]


def written(decision: Decision) -> Any:
    """The status that is written, and nothing else done."""
    [action] = decision.actions
    assert isinstance(action, WriteStatus)
    return action.status


def ending(decision: Decision) -> tuple[str, str]:
    status = written(decision)
    assert status.condition("Complete").reason == status.phase
    return str(status.phase), status.condition("Succeeded").reason


def had(kit: Any, expires: float = 3600, **changes: Any) -> Progress:
    """This process has just created the Secret."""
    known = Progress(SecretState.PRESENT, issued_at=kit.at(1), expires_at=kit.at(expires), access_key_id="ASIA")
    return replace(known, **changes)


def without(kit: Any, after: float = 60) -> Progress:
    """The API server has said that the Secret is gone."""
    return replace(had(kit), secret=SecretState.GONE, deleted_at=kit.at(after))


def marked(kit: Any) -> Any:
    """A Run whose pod may have been made."""
    return kit.run(status={"podCreatedAfter": "1"})


def trouble(kit: Any, retry: float) -> RetryableFailure:
    return RetryableFailure(CredentialsIssuedReason.RETRYING, "exceeded quota", kit.at(retry))


class TestWaiting:
    def test_a_granted_run_is_issued_credentials_then_a_pod(self, kit: Any) -> None:
        assert names(decide(kit.seen())) == ["IssueCredentials"]
        marking = decide(kit.seen(progress=had(kit)))
        assert written(marking).pod_created_after == "1"
        assert names(decide(kit.seen(run=marked(kit), progress=had(kit, pod_search=PodSearch.NEVER_MADE)))) == [
            "CreatePod"
        ]

    def test_a_pod_that_another_process_may_have_made_is_looked_for(self, kit: Any) -> None:
        assert names(decide(kit.seen(run=marked(kit), progress=had(kit)))) == ["LookForPod"]
        lost = replace(without(kit), pod_search=PodSearch.LOST)
        assert ending(decide(kit.seen(61, run=marked(kit), progress=lost))) == ("Failed", "ResultUnknown")

    def test_a_pod_that_is_refused_leaves_no_mark(self, kit: Any) -> None:
        known = replace(without(kit, 2), retryable_failure=trouble(kit, 30), pod_search=PodSearch.NEVER_MADE)
        assert written(decide(kit.seen(3, run=marked(kit), progress=known))).pod_created_after is None

    def test_credentials_of_an_unknown_process_are_never_relied_on(self, kit: Any) -> None:
        assert names(decide(kit.seen(progress=Progress(expires_at=kit.at(3600))))) == ["IssueCredentials"]

    def test_credentials_that_near_their_end_are_replaced_before_the_pod(self, kit: Any) -> None:
        assert names(decide(kit.seen(3400, progress=had(kit)))) == ["IssueCredentials"]

    def test_a_clock_that_is_wrong_does_not_ask_sts_without_end(self, kit: Any) -> None:
        assert names(decide(kit.seen(2, progress=had(kit, expires=30)))) == ["WriteStatus"]

    def test_a_refused_run_says_why_and_wakes_at_its_deadline(self, kit: Any) -> None:
        decision = decide(kit.seen(grant=kit.refusal("No such thing.")))
        status = written(decision)
        assert (status.phase, status.message) == ("Queued", "No such thing.")
        assert status.condition("CredentialsIssued").reason == "IntegrationNotFound"
        assert decision.again_at == kit.at(86400)

    def test_a_status_that_says_it_already_is_not_written_again(self, kit: Any) -> None:
        first = written(decide(kit.seen(grant=kit.refusal())))
        run = kit.run(status=first.model_dump(by_alias=True, exclude_none=True, mode="json"))
        assert decide(kit.seen(50, run=run, grant=kit.refusal())).actions == ()

    @pytest.mark.parametrize(
        ("said", "kept"), [("IntegrationNotReady", True), ("Retrying", False), ("IntegrationNotFound", False)]
    )
    def test_a_restart_repeats_no_warning_while_it_has_not_asked_sts(self, kit: Any, said: str, kept: bool) -> None:
        denied = Denied(CredentialsIssuedReason(said), "Said before the restart.")
        first = written(decide(kit.seen(grant=denied)))
        run = kit.run(status=first.model_dump(by_alias=True, exclude_none=True, mode="json"))
        asking = Denied(CredentialsIssuedReason.INTEGRATION_NOT_READY, "being verified", is_preliminary=True)
        decision = decide(kit.seen(50, run=run, grant=asking))
        assert (decision.actions == ()) is kept
        assert decision.awaits_verdict
        assert written(decide(kit.seen(grant=asking))).message == "being verified", "where nothing was said, that is"

    @pytest.mark.parametrize("grant", [True, False])
    def test_no_secret_lives_while_nothing_can_use_it(self, kit: Any, grant: bool) -> None:
        seen = kit.seen(
            3,
            grant=kit.grant() if grant else kit.refusal(),
            progress=had(kit, retryable_failure=trouble(kit, 30)),
        )
        assert names(decide(seen)) == ["DeleteSecret"]

    def test_what_a_dead_process_may_have_sent_is_deleted_at_once_and_when_it_can_no_longer_come(
        self, kit: Any
    ) -> None:
        inherited = Progress(unanswered_at=kit.at(0))
        assert names(decide(kit.seen(1, grant=kit.refusal(), progress=inherited))) == ["DeleteSecret"]
        once = replace(inherited, secret=SecretState.GONE, deleted_at=kit.at(1))
        assert decide(kit.seen(30, grant=kit.refusal(), progress=once)).again_at == kit.at(60)
        assert names(decide(kit.seen(60, grant=kit.refusal(), progress=once))) == ["DeleteSecret"]

    @pytest.mark.parametrize(
        ("why", "spec", "progress", "after", "end"),
        [
            ("stopped", {"stop": True}, {}, 1, ("Stopped", "Stopped")),
            ("too late", {"startingDeadlineSeconds": 9}, {}, 9, ("Failed", "StartingDeadlineExceeded")),
            ("a name that is not there", {"credentialsFor": ["x"]}, {}, 1, ("Failed", "TemplateRefused")),
            (
                "a refusal that no waiting heals",
                {},
                {"terminal_failure": TerminalFailure(SucceededReason.ACCESS_DENIED, "denied")},
                1,
                ("Failed", "AccessDenied"),
            ),
        ],
    )
    def test_what_ends_it_at_once(
        self, kit: Any, why: str, spec: dict[str, Any], progress: dict[str, Any], after: float, end: tuple[str, str]
    ) -> None:
        run = kit.run(**spec)
        assert names(decide(kit.seen(after, run=run, progress=Progress(**progress)))) == ["DeleteSecret"], why
        gone = Progress(secret=SecretState.GONE, deleted_at=kit.at(after), **progress)
        assert ending(decide(kit.seen(after, run=run, progress=gone))) == end, why

    def test_a_run_that_is_being_deleted_starts_nothing_more(self, kit: Any) -> None:
        run = kit.run(metadata={"deletionTimestamp": kit.time(1)})
        gone = Progress(secret=SecretState.GONE, deleted_at=kit.at(1))
        assert ending(decide(kit.seen(run=run, progress=gone))) == ("Stopped", "Stopped")


class TestWithAPod:
    def test_a_pod_that_starts_at_once_costs_no_status_of_its_own(self, kit: Any) -> None:
        decision = decide(kit.seen(2, pod=kit.pod(), progress=had(kit)))
        assert (decision.actions, decision.again_at) == ((), kit.at(3))
        assert written(decide(kit.seen(3, pod=kit.pod(), progress=had(kit)))).phase == "Preparing"
        assert decide(kit.seen(2, pod=kit.running(), progress=had(kit))).actions == ()
        assert written(decide(kit.seen(3, pod=kit.running(), progress=had(kit)))).phase == "Running"

    @pytest.mark.parametrize("spec", [{"stop": True}, {"activeDeadlineSeconds": 20}])
    @pytest.mark.parametrize("running", [True, False])
    def test_stop_and_deadline_end_the_pod_gently(self, kit: Any, spec: dict[str, Any], running: bool) -> None:
        pod = kit.running() if running else kit.pod()
        assert names(decide(kit.seen(21, run=kit.run(**spec), pod=pod, progress=had(kit)))) == ["DeletePod"]

    def test_a_pod_that_is_ending_is_waited_for(self, kit: Any) -> None:
        pod = replace(kit.running(), deletion=kit.at(40), grace=kit.at(30) - kit.at(0))
        decision = decide(kit.seen(11, run=kit.run(stop=True), pod=pod, progress=had(kit)))
        assert written(decision).message.startswith("Stopping")
        assert decision.again_at == kit.at(100)

    @pytest.mark.parametrize(
        ("why", "taken_by_a_node", "spec", "end"),
        [
            ("its node does not answer", True, {}, ("Failed", "NodeLost")),
            ("no node ever had it, only a finalizer does", False, {}, ("Failed", "PodDeleted")),
            ("it was to end anyway", True, {"stop": True}, ("Stopped", "Stopped")),
        ],
    )
    def test_a_pod_that_does_not_go(
        self, kit: Any, why: str, taken_by_a_node: bool, spec: dict[str, Any], end: tuple[str, str]
    ) -> None:
        pod = replace(kit.running() if taken_by_a_node else kit.pod(), deletion=kit.at(40))
        decision = decide(kit.seen(100, run=kit.run(**spec), pod=pod, progress=without(kit, 100)))
        assert ending(decision) == end, why

    @pytest.mark.parametrize(
        ("why", "spec", "deleted_at", "end"),
        [
            ("by hand", {}, 30, ("Failed", "PodDeleted")),
            ("because of its stop", {"stop": True}, 30, ("Stopped", "Stopped")),
            ("because of its deadline", {"activeDeadlineSeconds": 30}, 31, ("Failed", "DeadlineExceeded")),
            ("long before its deadline", {"activeDeadlineSeconds": 3000}, 31, ("Failed", "PodDeleted")),
        ],
    )
    def test_a_pod_that_was_deleted(
        self, kit: Any, why: str, spec: dict[str, Any], deleted_at: float, end: tuple[str, str]
    ) -> None:
        grace = kit.at(30) - kit.at(0)
        pod = replace(kit.running(), deletion=kit.at(deleted_at) + grace, grace=grace, gone=True)
        decision = decide(kit.seen(3100, run=kit.run(**spec), pod=pod, progress=without(kit, 3100)))
        assert ending(decision) == end, why

    def test_a_pod_that_is_not_known_is_looked_for_first(self, kit: Any) -> None:
        run = kit.run(status={"phase": "Running"})
        assert names(decide(kit.seen(run=run))) == ["LookForPod"]
        gone = replace(without(kit), pod_search=PodSearch.LOST)
        assert ending(decide(kit.seen(60, run=run, progress=gone))) == ("Failed", "ResultUnknown")


class TestFreshness:
    """Credentials that a container has yet to read."""

    def test_they_are_replaced_in_time(self, kit: Any) -> None:
        decision = decide(kit.seen(3000, pod=kit.pod(), progress=had(kit)))
        assert decision.again_at == kit.at(3300)
        assert names(decide(kit.seen(3300, pod=kit.pod(), progress=had(kit)))) == ["IssueCredentials"]

    def test_a_container_that_has_read_them_needs_no_others(self, kit: Any) -> None:
        status = kit.run(status=written(decide(kit.seen(3, pod=kit.running(), progress=had(kit)))).model_dump())
        told = had(kit, advised=True)
        assert decide(kit.seen(3500, run=status, pod=kit.running(), progress=told)).actions == ()

    def test_only_containers_that_get_them_matter(self, kit: Any) -> None:
        template = {"containers": [{"name": "main"}, {"name": "late"}]}
        said = {"phase": "Running", "containerStatuses": [kit.said(running={"startedAt": kit.time(2)})]}
        pod = kit.pod(said, spec=template)
        for name, acts in (("main", False), ("late", True)):
            decision = decide(
                kit.seen(
                    3400, run=kit.run(pod=template, credentialsFor=[name]), pod=pod, progress=had(kit, advised=True)
                )
            )
            assert ("IssueCredentials" in names(decision)) is acts

    @pytest.mark.parametrize(("issued", "after", "acts"), [(None, 40, True), (1, 20, False), (1, 31, True)])
    def test_a_secret_that_a_kubelet_misses_is_made_anew(
        self, kit: Any, issued: float | None, after: float, acts: bool
    ) -> None:
        missing = {"reason": "CreateContainerConfigError", "message": f'secret "{kit.name}" not found'}
        pod = kit.pod({"containerStatuses": [kit.said(waiting=missing)]})
        progress = had(kit) if issued else Progress()
        assert ("IssueCredentials" in names(decide(kit.seen(after, pod=pod, progress=progress)))) is acts

    def test_just_renewed_ones_are_not_renewed_again_whatever_the_kubelet_and_the_clock_say(self, kit: Any) -> None:
        missing = {"reason": "CreateContainerConfigError", "message": f'secret "{kit.name}" not found'}
        pod = kit.pod({"containerStatuses": [kit.said(waiting=missing)]})
        progress = had(kit, expires=60, issued_at=kit.at(50))
        assert "IssueCredentials" not in names(decide(kit.seen(51, pod=pod, progress=progress)))

    def test_where_they_cannot_be_replaced_the_run_says_why(self, kit: Any) -> None:
        decision = decide(kit.seen(3301, pod=kit.pod(), grant=kit.refusal("Gone."), progress=had(kit)))
        assert written(decision).message == "The pod waits for fresh credentials: Gone."
        assert decision.again_at == kit.at(3301 + 60)
        decision = decide(kit.seen(3500, pod=kit.pod(), grant=kit.refusal("Gone."), progress=had(kit)))
        assert decision.again_at == kit.at(3540)

    def test_and_at_the_last_moment_they_are_taken_away(self, kit: Any) -> None:
        seen = kit.seen(3540, pod=kit.pod(), grant=kit.refusal(), progress=had(kit))
        assert names(decide(seen)) == ["DeleteSecret"]
        after = decide(kit.seen(3540, pod=kit.pod(), grant=kit.refusal(), progress=without(kit, 3540)))
        assert names(after) == ["WriteStatus"]

    def test_or_if_a_finalizer_holds_them_the_pod_is(self, kit: Any) -> None:
        progress = had(kit, secret=SecretState.HELD, deleted_at=kit.at(3540))
        assert names(decide(kit.seen(3540, pod=kit.pod(), grant=kit.refusal(), progress=progress))) == ["DeletePod"]


class TestTheEnd:
    def test_the_secret_goes_before_the_end_is_written(self, kit: Any) -> None:
        assert names(decide(kit.seen(61, pod=kit.ended(), progress=had(kit)))) == ["DeleteSecret"]
        status = written(decide(kit.seen(62, pod=kit.ended(), progress=without(kit, 61))))
        assert (status.phase, status.exit_code, status.finished_at) == ("Finished", 0, kit.at(60))

    def test_a_secret_whose_creation_was_not_answered_is_deleted_for_a_minute(self, kit: Any) -> None:
        doubtful = replace(without(kit, 61), unanswered_at=kit.at(30))
        decision = decide(kit.seen(62, pod=kit.ended(), progress=doubtful))
        assert written(decision).phase == "Queued"
        assert decision.again_at == kit.at(66)
        assert names(decide(kit.seen(66, pod=kit.ended(), progress=doubtful))) == ["DeleteSecret"]
        certain = replace(doubtful, deleted_at=kit.at(90))
        assert ending(decide(kit.seen(90, pod=kit.ended(), progress=certain))) == ("Finished", "Finished")

    def test_a_finalizer_holds_the_end_up_until_the_credentials_have_expired(self, kit: Any) -> None:
        held = had(kit, secret=SecretState.HELD, deleted_at=kit.at(61), held_because="held by a finalizer")
        assert "held by a finalizer" in written(decide(kit.seen(62, pod=kit.ended(), progress=held))).message
        assert names(decide(kit.seen(66, pod=kit.ended(), progress=held))) == ["DeleteSecret"]
        assert ending(decide(kit.seen(3600, pod=kit.ended(), progress=held))) == ("Finished", "Finished")


class TestAfterTheEnd:
    def over(self, kit: Any, **spec: Any) -> Any:
        status = written(decide(kit.seen(62, pod=kit.ended(), progress=without(kit, 61))))
        return kit.run(status=status.model_dump(by_alias=True, exclude_none=True, mode="json"), **spec)

    def test_there_is_nothing_to_do(self, kit: Any) -> None:
        assert decide(kit.seen(70, run=self.over(kit), progress=without(kit, 61))) == Decision()

    def test_a_nodes_clock_does_not_shorten_the_time_to_live(self, kit: Any) -> None:
        """The pod's node is an hour behind: so is `finishedAt`."""
        run = self.over(kit, ttlSecondsAfterFinished=60)
        run = run.model_copy(update={"status": run.status.model_copy(update={"finished_at": kit.at(-3600)})})
        assert names(decide(kit.seen(70, run=run, progress=without(kit, 61)))) == []

    def test_one_that_a_finalizer_holds_is_not_deleted_again(self, kit: Any) -> None:
        run = self.over(kit, ttlSecondsAfterFinished=0)
        metadata = run.metadata.model_copy(update={"deletion_timestamp": kit.at(62)})
        run = run.model_copy(update={"metadata": metadata})
        assert decide(kit.seen(70, run=run, progress=without(kit, 61))).actions == ()

    @pytest.mark.parametrize(("ttl", "after", "acts"), [(0, 62, True), (60, 121, False), (60, 122, True)])
    def test_the_run_goes_after_its_time_to_live(self, kit: Any, ttl: int, after: float, acts: bool) -> None:
        run = self.over(kit, ttlSecondsAfterFinished=ttl)
        assert names(decide(kit.seen(after, run=run, progress=without(kit, 61)))) == (["DeleteRun"] if acts else [])

    def test_a_later_change_of_the_spec_keeps_no_waiter_waiting(self, kit: Any) -> None:
        run = self.over(kit)
        newer = run.model_copy(update={"metadata": run.metadata.model_copy(update={"generation": 2})})
        status = written(decide(kit.seen(70, run=newer, progress=without(kit, 61))))
        assert {condition.observed_generation for condition in status.conditions} == {2}

    def test_an_end_that_another_hand_wrote_ends_pod_and_secret(self, kit: Any) -> None:
        run = kit.run(status={"phase": "Finished"})
        assert names(decide(kit.seen(30, run=run, pod=kit.running(), progress=had(kit)))) == ["DeletePod"]
        ending_pod = replace(kit.running(), deletion=kit.at(60))
        assert names(decide(kit.seen(30, run=run, pod=ending_pod, progress=had(kit)))) == ["DeleteSecret"]
        assert names(decide(kit.seen(30, run=run, pod=ending_pod))) == ["DeleteSecret"], "also after a restart"
        status = written(decide(kit.seen(30, run=run, pod=ending_pod, progress=without(kit, 30))))
        assert status.condition("Complete").status == "True"
        assert status.finished_at == kit.at(30)

    @pytest.mark.parametrize("forged", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"])
    def test_times_beyond_all_reason_do_no_harm(self, kit: Any, forged: str) -> None:
        times = {"credentialsExpireAt": forged, "startedAt": forged, "finishedAt": forged}
        for phase in ("Queued", "Running", "Failed"):
            run = kit.run(
                status={"phase": phase, **times}, ttlSecondsAfterFinished=2**31 - 1, activeDeadlineSeconds=2**31 - 1
            )
            for pod in (None, kit.pod(), kit.running(), kit.ended()):
                for progress in (Progress(), replace(without(kit), pod_search=PodSearch.LOST)):
                    decide(kit.seen(30, run=run, pod=pod, progress=progress))


class TestFiles:
    """`delivery: File`: credentials that are read again for as long as the pod may run."""

    def seen(self, kit: Any, after: float, pod: Any = None, **known: Any) -> Any:
        run = known.pop("run", None) or kit.run(delivery="File")
        return kit.seen(after, run=run, pod=pod or self.running(kit), **known)

    def spec(self, kit: Any) -> Any:
        run = kit.run(delivery="File")
        made = build_pod(run, kit.run_id, role_arn=kit.role, executor="controller", expires_at=kit.at(3601))
        return made["spec"]

    def running(self, kit: Any, **parts: Any) -> Any:
        state = {"phase": "Running", "containerStatuses": [kit.said(running={"startedAt": kit.time(2)})]}
        return kit.pod(state, spec=parts.pop("spec", None) or self.spec(kit), **parts)

    def tampered(self, kit: Any) -> Any:
        spec = self.spec(kit)
        spec["containers"][0]["env"].append({"name": "AWS_WEB_IDENTITY_TOKEN_FILE", "value": "/token"})
        return spec

    def test_a_running_pod_gets_fresh_ones_at_half_of_the_sessions_life(self, kit: Any) -> None:
        decision = decide(self.seen(kit, 900, progress=had(kit)))
        assert decision.again_at == kit.at(1800)
        assert names(decide(self.seen(kit, 1800, progress=had(kit)))) == ["IssueCredentials"]

    def test_also_where_nothing_is_remembered(self, kit: Any) -> None:
        run = kit.run(delivery="File", status={"phase": "Running", "credentialsExpireAt": kit.time(5400)})
        assert decide(self.seen(kit, 3500, run=run)).again_at == kit.at(3600)
        assert names(decide(self.seen(kit, 3600, run=run))) == ["IssueCredentials"]

    def test_the_part_of_the_life_is_a_setting(self, kit: Any) -> None:
        limits = Limits(renew_after=0.01)
        seen = replace(self.seen(kit, 36, progress=had(kit)), limits=limits)
        assert decide(seen).again_at == kit.at(37), "and the pause between two is no longer than that part"
        assert names(decide(replace(seen, now=kit.at(37)))) == ["IssueCredentials"]

    def test_stop_and_the_deadline_come_before_renewal(self, kit: Any) -> None:
        for spec in ({"stop": True}, {"activeDeadlineSeconds": 1799}):
            run = kit.run(delivery="File", **spec)
            assert names(decide(self.seen(kit, 1800, run=run, progress=had(kit)))) == ["DeletePod"]
        ending = self.running(kit, metadata=kit.deleted(1790))
        assert "IssueCredentials" not in names(decide(self.seen(kit, 1800, pod=ending, progress=had(kit))))

    def test_what_cannot_be_renewed_runs_on_and_says_how_long_it_has(self, kit: Any) -> None:
        before = written(decide(self.seen(kit, 3, progress=had(kit)))).model_dump()
        run = kit.run(delivery="File", status=before)
        decision = decide(self.seen(kit, 1800, run=run, grant=kit.refusal("Trust is gone."), progress=had(kit)))
        status = written(decision)
        issued = status.condition("CredentialsIssued")
        assert (status.phase, issued.status, issued.reason) == ("Running", "True", "Issued")
        assert "with access key ID ASIA" in issued.message
        assert issued.message.endswith(f"ends at {kit.time(3600)}.")
        assert status.message == f"The credentials could not be renewed and end at {kit.time(3600)}: Trust is gone."
        assert decision.again_at == kit.at(1860)
        again = kit.run(delivery="File", status=status.model_dump())
        refused = kit.refusal("Trust is gone.")
        assert decide(self.seen(kit, 1900, run=again, grant=refused, progress=had(kit))).actions == ()
        late = written(decide(self.seen(kit, 3600, run=again, grant=refused, progress=had(kit))))
        assert late.message.endswith(f"have ended at {kit.time(3600)}: Trust is gone.")
        told = list(events(run.status, status, decision.actions[0].warning))  # type: ignore[union-attr]
        assert [(event.type, event.reason) for event in told] == [("Warning", "CredentialsNotRenewed")]

    def test_it_is_tried_again_when_the_delay_is_over(self, kit: Any) -> None:
        progress = had(kit, retryable_failure=trouble(kit, 1830))
        decision = decide(self.seen(kit, 1800, progress=progress))
        assert "exceeded quota" in written(decision).message
        assert decision.again_at == kit.at(1830)
        assert names(decide(self.seen(kit, 1830, progress=progress))) == ["IssueCredentials"]

    def test_no_run_changes_its_role_on_the_way(self, kit: Any) -> None:
        other = replace(kit.grant(), request=replace(kit.grant().request, role_arn="arn:aws:iam::222222222222:role/b"))
        assert "names another role" in written(decide(self.seen(kit, 1800, grant=other, progress=had(kit)))).message

    def test_the_end_of_a_pod_that_was_renewed_deletes_the_secret_whatever_the_pod_says(self, kit: Any) -> None:
        run = kit.run(delivery="File", status={"phase": "Finished", "credentialsExpireAt": kit.time(9000)})
        ended = replace(kit.ended(), containers=self.running(kit).containers)
        assert names(decide(self.seen(kit, 8000, run=run, pod=ended))) == ["DeleteSecret"]
        forged = kit.run(delivery="File", status={"phase": "Finished"})
        renewed = replace(kit.ended(), is_renewed=True)
        assert names(decide(self.seen(kit, 8000, run=forged, pod=renewed))) == ["DeleteSecret"], "nor what nobody wrote"
        after = 60 + 12 * 3600 + 300
        assert "DeleteSecret" not in names(decide(self.seen(kit, after, run=forged, pod=renewed)))
        # The API server did not delete it: its last session, which nobody knows, may live as long as any.
        held = Progress(secret=SecretState.HELD, deleted_at=kit.at(8000))
        assert decide(self.seen(kit, 8001, run=forged, pod=renewed, progress=held)).again_at == kit.at(8005)
        assert names(decide(self.seen(kit, 8005, run=forged, pod=renewed, progress=held))) == ["DeleteSecret"]
        assert "DeleteSecret" not in names(decide(self.seen(kit, after, run=forged, pod=renewed, progress=held)))

    def test_a_pod_that_a_webhook_gave_other_credentials_is_ended_and_the_run_refused(self, kit: Any) -> None:
        assert names(decide(self.seen(kit, 2, pod=kit.pod(spec=self.tampered(kit)), progress=had(kit)))) == [
            "DeletePod"
        ]
        assert names(decide(self.seen(kit, 2, pod=self.running(kit, spec=self.tampered(kit))))) == ["DeletePod"]
        gone = replace(kit.pod(spec=self.tampered(kit)), gone=True)
        for pod in (gone, self.running(kit, spec=self.tampered(kit), metadata=kit.deleted(-200))):
            decision = decide(self.seen(kit, 3, pod=pod, progress=without(kit, 2)))
            assert ending(decision) == ("Failed", "TemplateRefused")
            message = written(decision).message
            assert "AWS_WEB_IDENTITY_TOKEN_FILE" in message
            assert "service account without a role" in message

    def test_the_same_in_a_run_with_variables_which_some_sdks_look_at_later(self, kit: Any) -> None:
        pod = kit.pod(spec=self.tampered(kit))
        assert names(decide(kit.seen(2, pod=pod, progress=had(kit)))) == ["DeletePod"]


class TestAdvice:
    """Variables do not last for as long as the run may."""

    def advice(self, decision: Decision) -> str | None:
        return next((action.message for action in decision.actions if isinstance(action, Advise)), None)

    def test_a_deadline_beyond_the_session_is_told_of_at_the_start_and_once(self, kit: Any) -> None:
        run = kit.run(activeDeadlineSeconds=3601)
        said = self.advice(decide(kit.seen(2, run=run, pod=kit.pod(), progress=had(kit))))
        assert said is not None
        assert "`delivery: File`" in said
        assert "3601 seconds" in said
        assert self.advice(decide(kit.seen(2, run=run, pod=kit.pod(), progress=had(kit, advised=True)))) is None

    @pytest.mark.parametrize("spec", [{"activeDeadlineSeconds": 3600}, {"delivery": "File"}])
    def test_a_deadline_within_it_and_a_file_need_no_advice(self, kit: Any, spec: dict[str, Any]) -> None:
        pod = replace(kit.running(), containers=TestFiles().running(kit).containers)
        assert self.advice(decide(kit.seen(3400, run=kit.run(**spec), pod=pod, progress=had(kit)))) is None

    def test_without_a_deadline_it_is_told_at_half(self, kit: Any) -> None:
        decision = decide(kit.seen(1799, pod=kit.running(), progress=had(kit)))
        assert self.advice(decision) is None
        assert decision.again_at == kit.at(1800)
        assert "no deadline" in (self.advice(decide(kit.seen(1800, pod=kit.running(), progress=had(kit)))) or "")
