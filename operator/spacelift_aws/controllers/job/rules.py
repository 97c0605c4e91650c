"""Which Jobs can be executed as one Run, and what to change in those that cannot. Pure.

A Job stands for one pod here: credentials are issued for one run, under its ID, and no run is repeated by itself.
"""

from spacelift_aws.api.run import Delivery, RunType
from spacelift_aws.controllers.job.view import (
    DELIVERY,
    INTEGRATION,
    MANAGED_BY,
    SUCCESS_EXIT_CODES,
    TYPE,
    Job,
)


def refusal(job: Job) -> str | None:
    """Why a Job is not executed, as a sentence that says what to write; None where it is."""
    return _integration_refused(job) or _shape_refused(job) or _words_refused(job)


def _integration_refused(job: Job) -> str | None:
    reference = job.annotations.get(INTEGRATION, "")
    parts = reference.split("/")
    if not reference:
        return f"The Job names no AwsIntegration: write the annotation {INTEGRATION}: NAME, or NAMESPACE/NAME."
    if len(parts) > 2 or not all(parts):
        return f"The annotation {INTEGRATION} is `{reference}`: write NAME, or NAMESPACE/NAME."
    return None


def _shape_refused(job: Job) -> str | None:
    spec = job.spec
    for field in ("completions", "parallelism"):
        if spec.get(field, 1) != 1:
            return f"spec.{field} is {spec[field]}: a Job with spec.managedBy {MANAGED_BY} has one pod; write 1."
    if spec.get("completionMode", "NonIndexed") != "NonIndexed":
        return "spec.completionMode is Indexed: there is one pod, so leave it out."
    if spec.get("backoffLimit", 6) != 0:
        return "spec.backoffLimit is not 0: a run is never retried; write `backoffLimit: 0`."
    for field in ("podFailurePolicy", "successPolicy", "backoffLimitPerIndex", "maxFailedIndexes"):
        if spec.get(field) is not None:
            return f"spec.{field} is for Jobs with several pods or retries, and this Job has one pod: leave it out."
    policy = (job.template.get("spec") or {}).get("restartPolicy")
    if policy != "Never":
        return f"spec.template.spec.restartPolicy is {policy}: containers are never restarted; write Never."
    return None


def _words_refused(job: Job) -> str | None:
    for key, allowed in ((TYPE, RunType), (DELIVERY, Delivery)):
        value = job.annotations.get(key)
        if value is not None and value not in list(allowed):
            return f"The annotation {key} is `{value}`: write one of {', '.join(allowed)}."
    codes = job.annotations.get(SUCCESS_EXIT_CODES)
    if codes is not None and exit_codes(codes) is None:
        return f"The annotation {SUCCESS_EXIT_CODES} is `{codes}`: write numbers from 0 to 255, like `0,2`."
    return None


def exit_codes(text: str) -> list[int] | None:
    """The numbers of a list like `0,2`; None where it is none."""
    parts = [part.strip() for part in text.split(",")]
    # Python refuses to read a number of thousands of digits.
    if not all(part.isascii() and part.isdigit() and len(part) <= 3 and int(part) <= 255 for part in parts):
        return None
    return sorted({int(part) for part in parts})
