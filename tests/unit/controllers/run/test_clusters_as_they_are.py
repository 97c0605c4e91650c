"""What webhooks, queues, registries and lost nodes do to a run's pod."""

from dataclasses import replace
from typing import Any

import pytest

from spacelift_aws.controllers.run.actions import WriteStatus
from spacelift_aws.controllers.run.decide import decide
from spacelift_aws.controllers.run.state import PodSearch, Progress, SecretState

MESH = {"containers": [{"name": "main"}, {"name": "istio-proxy"}]}


def names(decision: Any) -> list[str]:
    return [type(action).__name__ for action in decision.actions]


def written(decision: Any) -> Any:
    """The status that is written, and nothing else done."""
    [action] = decision.actions
    assert isinstance(action, WriteStatus)
    return action.status


def had(kit: Any, **changes: Any) -> Progress:
    known = Progress(SecretState.PRESENT, issued_at=kit.at(1), expires_at=kit.at(3600), access_key_id="ASIA")
    return replace(known, **changes)


def ended(kit: Any, **known: Any) -> Any:
    """The status that is written once the Secret is gone."""
    gone = had(kit, secret=SecretState.GONE, deleted_at=kit.at(61))
    return written(decide(kit.seen(62, progress=gone, **known)))


class TestSidecars:
    def pod(self, kit: Any, code: int, proxy: Any = None) -> Any:
        proxy = proxy or {"running": {"startedAt": kit.time(2)}}
        said = [kit.said(terminated=kit.terminated(code)), kit.said("istio-proxy", **proxy)]
        return kit.pod({"phase": "Running", "containerStatuses": said}, spec=MESH)

    @pytest.mark.parametrize(("code", "phase"), [(7, "Failed"), (0, "Finished")])
    def test_the_run_has_ended_when_the_templates_containers_have(self, kit: Any, code: int, phase: str) -> None:
        pod = self.pod(kit, code)
        assert names(decide(kit.seen(61, pod=pod, progress=had(kit)))) == ["DeleteSecret"]
        status = ended(kit, pod=pod)
        assert (status.phase, status.exit_code) == (phase, code)
        over = kit.run(status=status.model_dump(by_alias=True, exclude_none=True, mode="json"))
        assert names(decide(kit.seen(63, run=over, pod=pod))) == ["DeletePod"]

    def test_what_the_template_itself_lists_counts(self, kit: Any) -> None:
        run = kit.run(pod=MESH)
        decision = decide(kit.seen(61, run=run, pod=self.pod(kit, 0), progress=had(kit, advised=True)))
        assert "DeleteSecret" not in names(decision)

    def test_the_end_of_a_container_of_a_webhook_decides_nothing(self, kit: Any) -> None:
        said = [kit.said(terminated=kit.terminated(0)), kit.said("istio-proxy", terminated=kit.terminated(1))]
        pod = kit.pod({"phase": "Failed", "containerStatuses": said}, spec=MESH)
        assert ended(kit, pod=pod).phase == "Finished"

    def test_a_container_that_starts_again_has_not_ended(self, kit: Any) -> None:
        spec = {"containers": [{"name": "main", "restartPolicy": "Always"}]}
        pod = kit.pod({"phase": "Running", "containerStatuses": [kit.said(terminated=kit.terminated(1))]}, spec=spec)
        run = kit.run(delivery="File", pod=spec)
        assert "DeleteSecret" not in names(decide(kit.seen(61, run=run, pod=pod, progress=had(kit))))


class TestExitCodes:
    @pytest.mark.parametrize(
        ("codes", "code", "phase"),
        [([0, 2], 2, "Finished"), ([0, 2], 1, "Failed"), ([0], 2, "Failed"), ([2], 0, "Failed")],
    )
    def test_the_codes_that_mean_success(self, kit: Any, codes: list[int], code: int, phase: str) -> None:
        status = ended(kit, run=kit.run(successExitCodes=codes), pod=kit.ended(code))
        assert (status.phase, status.exit_code) == (phase, code)


def unscheduled(kit: Any, reason: str, message: str, spec: Any = None) -> Any:
    condition = {"type": "PodScheduled", "status": "False", "reason": reason, "message": message}
    return kit.pod({"conditions": [condition]}, spec=spec)


GATED = {"containers": [{"name": "main"}], "schedulingGates": [{"name": "kueue.x-k8s.io/admission"}]}


class TestGates:
    def test_the_pod_comes_before_its_session(self, kit: Any) -> None:
        metadata = {"metadata": {"labels": {"kueue.x-k8s.io/queue-name": "q"}}}
        for run in (kit.run(pod=GATED), kit.run(template=metadata)):
            assert "IssueCredentials" not in names(decide(kit.seen(run=run)))
            run = run.model_copy(update={"status": run.status.model_copy(update={"pod_created_after": "1"})})
            never = Progress(pod_search=PodSearch.NEVER_MADE)
            assert names(decide(kit.seen(run=run, progress=never))) == ["CreatePod"]

    def test_a_gate_that_a_webhook_sets_takes_the_session_back_and_is_named(self, kit: Any) -> None:
        pod = unscheduled(kit, "SchedulingGated", "gated", GATED)
        assert names(decide(kit.seen(5, pod=pod, progress=had(kit)))) == ["DeleteSecret"]
        gone = had(kit, secret=SecretState.GONE, deleted_at=kit.at(5))
        assert "kueue.x-k8s.io/admission" in written(decide(kit.seen(5, pod=pod, progress=gone))).message

    def test_no_session_is_renewed_and_no_deadline_of_starting_ends_it(self, kit: Any) -> None:
        pod = unscheduled(kit, "SchedulingGated", "gated", GATED)
        gone = had(kit, secret=SecretState.GONE, deleted_at=kit.at(5))
        assert set(names(decide(kit.seen(90_000, pod=pod, progress=gone)))) == {"WriteStatus"}

    def test_a_gate_that_is_removed_brings_the_session(self, kit: Any) -> None:
        gone = had(kit, secret=SecretState.GONE, deleted_at=kit.at(5))
        assert names(decide(kit.seen(9, pod=kit.pod(), progress=gone))) == ["IssueCredentials"]


class TestImagesThatNeverCome:
    def pulling(self, kit: Any) -> Any:
        waiting = {"reason": "ImagePullBackOff", "message": "no such image"}
        return kit.pod({"containerStatuses": [kit.said(waiting=waiting)]})

    def test_one_session_and_no_other_until_the_kubelet_asks(self, kit: Any) -> None:
        pod = self.pulling(kit)
        assert names(decide(kit.seen(3301, pod=pod, progress=had(kit)))) == ["DeleteSecret"]
        gone = had(kit, secret=SecretState.GONE, deleted_at=kit.at(3301))
        assert names(decide(kit.seen(9000, pod=pod, progress=gone))) == ["WriteStatus"]
        missing = {"reason": "CreateContainerConfigError", "message": f'secret "{kit.name}" not found'}
        pulled = kit.pod({"containerStatuses": [kit.said(waiting=missing)]})
        assert names(decide(kit.seen(9001, pod=pulled, progress=gone))) == ["IssueCredentials"]

    def test_the_deadline_of_starting_ends_it(self, kit: Any) -> None:
        pod, run = self.pulling(kit), kit.run(startingDeadlineSeconds=60)
        assert names(decide(kit.seen(60, run=run, pod=pod, progress=had(kit)))) == ["DeletePod"]
        pod = replace(pod, deletion=kit.at(61), gone=True)
        status = ended(kit, run=run, pod=pod)
        assert status.condition("Succeeded").reason == "StartingDeadlineExceeded"


class TestLostNodes:
    def test_no_kubelet_fetches_what_is_renewed_and_the_message_says_since_when(self, kit: Any) -> None:
        conditions = [
            {"type": "Ready", "status": "False", "lastTransitionTime": kit.time(100)},
            {"type": "ContainersReady", "status": "True", "lastTransitionTime": kit.time(2)},
        ]
        said = [kit.said(running={"startedAt": kit.time(2)})]
        pod = kit.pod({"phase": "Running", "conditions": conditions, "containerStatuses": said})
        run = kit.run(delivery="File")
        pod = replace(pod, containers=tuple(replace(one, hindrances={}) for one in pod.containers))
        status = written(decide(kit.seen(1802, run=run, pod=pod, progress=had(kit))))
        assert f"has not responded since {kit.time(100)}" in status.message


class TestWordsThatDance:
    def test_the_schedulers_numbers_cost_no_write(self, kit: Any) -> None:
        first = unscheduled(kit, "Unschedulable", "0/51 nodes are available: 51 Insufficient cpu.")
        decision = decide(kit.seen(9, pod=first, progress=had(kit)))
        run = kit.run(status=written(decision).model_dump(by_alias=True, exclude_none=True, mode="json"))
        second = unscheduled(kit, "Unschedulable", "0/52 nodes are available: 52 Insufficient cpu.")
        assert decide(kit.seen(60, run=run, pod=second, progress=decision.progress)).actions == ()
        other = unscheduled(kit, "Unschedulable", "0/52 nodes are available: 52 node(s) had taints.")
        assert names(decide(kit.seen(60, run=run, pod=other, progress=decision.progress))) == ["WriteStatus"]
