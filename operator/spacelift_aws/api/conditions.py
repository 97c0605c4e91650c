"""The one way in which a condition is set."""

from collections.abc import Iterable

from spacelift_aws.api.meta import Condition


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
