"""Who created a Run and who stopped it, as the API server wrote it there: the chart's policy `spacelift-aws-requester`.

Where that policy is not in force anybody could write any name, and nothing is read.
"""

from spacelift_aws.api.run import REQUESTER_LIMIT, Run
from spacelift_aws.names import ANNOTATION_REQUESTED_BY, ANNOTATION_STOPPED_BY


def requested_by(run: Run) -> str | None:
    """Who created the Run; None where the cluster cannot tell."""
    return _name(run, ANNOTATION_REQUESTED_BY)


def stopped_by(run: Run) -> str | None:
    """Who set `spec.stop`; None where nobody did, or the cluster cannot tell."""
    return _name(run, ANNOTATION_STOPPED_BY) if run.spec.stop else None


def _name(run: Run, annotation: str) -> str | None:
    return run.metadata.annotations.get(annotation, "")[:REQUESTER_LIMIT] or None
