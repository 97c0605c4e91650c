"""Runs that come back are not executed again, and those that would come back are not deleted."""

from typing import Any

import pytest

from spacelift_aws.controllers.run.actions import MarkEnded, WriteStatus
from spacelift_aws.controllers.run.decide import decide
from spacelift_aws.controllers.run.earlier_life import kept_by, mark, restored
from spacelift_aws.names import ANNOTATION_ENDED

OTHER = "01" + "K" * 24


def test_another_runs_mark_is_that_of_an_earlier_life(kit: Any) -> None:
    said = restored(kit.run(metadata={"annotations": {ANNOTATION_ENDED: OTHER}}), kit.run_id)
    assert said is not None
    assert ANNOTATION_ENDED in said
    assert restored(kit.run(metadata={"annotations": {ANNOTATION_ENDED: kit.run_id}}), kit.run_id) is None
    assert restored(kit.run(), kit.run_id) is None


def test_a_run_that_came_back_has_failed_and_keeps_its_first_mark(kit: Any) -> None:
    metadata = {"annotations": {ANNOTATION_ENDED: OTHER}}
    [deletion] = decide(kit.seen(1, run=kit.run(metadata=metadata))).actions
    assert type(deletion).__name__ == "DeleteSecret"
    change = mark(kit.run({"phase": "Failed"}, metadata=metadata | {"labels": {}}), kit.run_id)
    assert change is not None
    assert change["metadata"]["annotations"] == {ANNOTATION_ENDED: OTHER}


def test_the_end_is_marked_once(kit: Any) -> None:
    ended = {"phase": "Finished", "finishedAt": kit.time(60)}
    unmarked = kit.run(ended, metadata={"annotations": {}, "labels": {}})
    [settled] = decide(kit.seen(70, run=unmarked)).actions
    assert isinstance(settled, WriteStatus)
    unmarked = unmarked.model_copy(update={"status": settled.status})
    [action] = decide(kit.seen(70, run=unmarked)).actions
    assert isinstance(action, MarkEnded)
    assert action.change["metadata"]["annotations"] == {ANNOTATION_ENDED: kit.run_id}
    assert action.change["metadata"]["labels"] == {"velero.io/exclude-from-backup": "true"}
    assert mark(kit.run(ended), kit.run_id) is None


@pytest.mark.parametrize(
    ("metadata", "tool"),
    [
        ({"annotations": {"argocd.argoproj.io/tracking-id": "a:b/c:d/e"}}, "Argo CD"),
        ({"labels": {"kustomize.toolkit.fluxcd.io/name": "apps"}}, "Flux"),
        ({"labels": {"helm.toolkit.fluxcd.io/name": "apps"}}, "Flux"),
        ({"labels": {"app.kubernetes.io/instance": "helm"}}, None),
        ({"annotations": {"argocd.argoproj.io/tracking-id": "x", "argocd.argoproj.io/hook": "Sync"}}, None),
        ({}, None),
    ],
)
def test_who_would_make_it_again(kit: Any, metadata: dict[str, Any], tool: str | None) -> None:
    assert kept_by(kit.run(metadata=metadata)) == tool
