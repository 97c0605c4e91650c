"""The one way in which a condition is set, and the two that tools built on kstatus read."""

from collections.abc import Iterable

from spacelift_aws.api.meta import Condition
from spacelift_aws.api.reasons import ConditionType


def with_condition(conditions: Iterable[Condition], new: Condition) -> tuple[Condition, ...]:
    """The conditions with one of them replaced or added.

    `lastTransitionTime` tells since when the status holds: it stays where only reason or message change.
    """
    kept = tuple(conditions)
    for index, known in enumerate(kept):
        if known.type == new.type:
            if known.status == new.status:
                new = new.model_copy(update={"last_transition_time": known.last_transition_time})
            return (*kept[:index], new, *kept[index + 1 :])
    return (*kept, new)


def with_progress(conditions: Iterable[Condition], progress: Condition | None) -> tuple[Condition, ...]:
    """The conditions with `Reconciling` or `Stalled`, and never both; with neither where `progress` is None.

    By kstatus's convention the two are there only while they are true
    (https://github.com/kubernetes-sigs/cli-utils/blob/master/pkg/kstatus/README.md).
    """
    types = {ConditionType.RECONCILING, ConditionType.STALLED} - {progress.type if progress is not None else None}
    kept = tuple(condition for condition in conditions if condition.type not in types)
    return kept if progress is None else with_condition(kept, progress)
