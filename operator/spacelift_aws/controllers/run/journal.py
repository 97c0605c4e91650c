"""What happens to Runs, told in one place: a line in the log, the metrics, the audit trail, the trace.

Nothing is decided here, nothing fails here, and whoever calls does not wait.
"""

import hashlib
import json
import logging
from datetime import datetime

from spacelift_aws import metrics
from spacelift_aws.api.meta import format_time
from spacelift_aws.api.reasons import ConditionType, CredentialsIssuedReason
from spacelift_aws.api.run import Phase, Run, RunStatus
from spacelift_aws.audit import AuditTrail
from spacelift_aws.aws.errors import StsError
from spacelift_aws.aws.sts import AssumeRoleRequest, Session
from spacelift_aws.controllers.run.authorization import integration_key
from spacelift_aws.controllers.run.pod.view import Pod
from spacelift_aws.controllers.run.run_trace import RunTraces
from spacelift_aws.controllers.run.state import Denied, Observed, SecretState
from spacelift_aws.logs import about
from spacelift_aws.tracing import Spans

log = logging.getLogger(__name__)

ISSUED = "Issued"
"""The outcome of a session that STS gave."""


class Journal:
    """Hears of each step when it is done."""

    def __init__(
        self, audit: AuditTrail | None = None, executor: str = "controller", spans: Spans | None = None
    ) -> None:
        self._audit = audit or AuditTrail(None)
        self._traces = RunTraces(spans)
        self._executor = executor
        self._told: dict[str, str] = {}
        """The end that the trail has for a Run whose last status is not written yet, by run ID."""

    def variables(self, run: Run, run_id: str) -> dict[str, str]:
        """What the run's containers are told of its trace."""
        return self._traces.variables(run, run_id)

    def session_asked(self, seen: Observed, now: datetime) -> None:
        """STS is about to be asked."""
        self._traces.asked(seen, now)

    def session_issued(self, seen: Observed, request: AssumeRoleRequest, session: Session, now: datetime) -> None:
        """STS gave a session. Nobody has it yet."""
        self._traces.step(seen, "sts", now)
        renewed = _had_credentials(seen)
        self._audit.write(
            "SessionRenewed" if renewed else "SessionIssued",
            outcome=ISSUED,
            **self._who(seen),
            **_asked(request),
            sessionArn=session.assumed_role_arn,
            accessKeyId=session.credentials.access_key_id,
            expiration=format_time(session.credentials.expires_at),
            stsRequestId=session.request_id,
        )
        _count_session(seen, ISSUED)
        words = "renewed" if renewed else "issued"
        log.info("session %s, until %s", words, format_time(session.credentials.expires_at), extra=_about(seen))

    def session_refused(self, seen: Observed, request: AssumeRoleRequest, error: StsError, now: datetime) -> None:
        """STS gave none."""
        self._traces.step(seen, "sts", now, failed=True)
        asked = {**_asked(request), "stsRequestId": error.request_id}
        self._audit.write("SessionRefused", outcome=error.code, **self._who(seen), **asked)
        _count_session(seen, error.code)
        log.warning("no session: %s", error, extra=_about(seen))

    def secret_created(self, seen: Observed, now: datetime) -> None:
        """The Secret with a session is there."""
        self._traces.step(seen, "secret", now)
        if not _had_credentials(seen):
            metrics.RUN_CREDENTIALS.observe(_age(seen.run, now))

    def secret_deleted(self, seen: Observed, now: datetime) -> None:
        """The API server answered that the Secret is gone."""
        if seen.progress.secret is SecretState.GONE or seen.pod is None:
            return
        ended = _end_of(seen.pod)
        if ended is not None:
            metrics.SECRET_DELETION.observe(max(0.0, (now - ended).total_seconds()))
            log.info("Secret deleted", extra=_about(seen))

    def pod_created(self, seen: Observed, now: datetime) -> None:
        """The pod is there."""
        metrics.RUN_POD.observe(_age(seen.run, now))
        log.info("pod created", extra=_about(seen))

    def writes(self, seen: Observed, wanted: RunStatus) -> None:
        """This status is about to be written: the trail has a Run's end before anybody sees it."""
        end = wanted.condition(ConditionType.SUCCEEDED)
        if not wanted.phase.terminal or seen.run.status.phase.terminal or end is None:
            return
        if self._told.get(seen.run_id) == end.reason:
            return
        self._told[seen.run_id] = end.reason
        self._audit.write(
            "RunEnded",
            outcome=end.reason,
            **self._who(seen),
            stoppedBy=seen.stopped_by,
            roleArn=wanted.role_arn,
            sessionArn=wanted.assumed_role_arn,
            phase=str(wanted.phase),
            exitCode=wanted.exit_code,
        )

    def wrote(self, seen: Observed, wanted: RunStatus) -> None:
        """This status was written."""
        before = seen.run.status
        if wanted.started_at is not None and before.started_at is None:
            metrics.RUN_START.observe(_age(seen.run, wanted.started_at))
            self._traces.started(seen, wanted.started_at)
        if wanted.phase.terminal and not before.phase.terminal:
            self._told.pop(seen.run_id, None)
            self._ended(seen, wanted)
            self._traces.ended(seen, wanted)
        elif wanted.phase is Phase.QUEUED and wanted.message != before.message:
            self._traces.waits(seen, wanted)
            log.info("waits: %s", wanted.message, extra=_about(seen))
        elif wanted.phase is not before.phase:
            log.info("%s", wanted.phase, extra=_about(seen))

    def forget(self, run_id: str) -> None:
        """The Run is gone."""
        self._told.pop(run_id, None)
        self._traces.forget(run_id)

    def _ended(self, seen: Observed, wanted: RunStatus) -> None:
        end = wanted.condition(ConditionType.SUCCEEDED)
        reason = end.reason if end is not None else str(wanted.phase)
        metrics.RUNS_ENDED.labels(*_labels(seen), str(seen.run.spec.type), reason).inc()
        log.info("ended: %s", reason, extra=_about(seen))

    def _who(self, seen: Observed) -> dict[str, str | None]:
        metadata, spec = seen.run.metadata, seen.run.spec
        return {
            "namespace": metadata.namespace,
            "run": metadata.name,
            "uid": metadata.uid,
            "runId": seen.run_id,
            "type": str(spec.type),
            "stack": spec.stack,
            "requestedBy": seen.requested_by,
            "executor": self._executor,
            "integration": "/".join(integration_key(seen.run)),
        }


def policies_digest(request: AssumeRoleRequest) -> str | None:
    """SHA-256 over the session policies as they are sent, None where there are none."""
    if request.session_policy is None and not request.session_policy_arns:
        return None
    sent = json.dumps([request.session_policy, sorted(request.session_policy_arns)])
    return "sha256:" + hashlib.sha256(sent.encode()).hexdigest()


def _asked(request: AssumeRoleRequest) -> dict[str, str | None]:
    return {"roleArn": request.role_arn, "policiesDigest": policies_digest(request)}


def _count_session(seen: Observed, result: str) -> None:
    metrics.SESSIONS.labels(*_labels(seen), "renew" if _had_credentials(seen) else "issue", result).inc()


def _had_credentials(seen: Observed) -> bool:
    issued = seen.run.status.condition(ConditionType.CREDENTIALS_ISSUED)
    return (
        seen.pod is not None or seen.progress.issued_at is not None or (issued is not None and issued.status == "True")
    )


def _labels(seen: Observed) -> tuple[str, str]:
    """Namespace and integration, as metrics have them: empty where a Run made the integration up."""
    home, name = integration_key(seen.run)
    namespace = seen.run.metadata.namespace
    if isinstance(seen.grant, Denied) and seen.grant.reason is CredentialsIssuedReason.INTEGRATION_NOT_FOUND:
        return namespace, ""
    return namespace, name if home == namespace else f"{home}/{name}"


def _about(seen: Observed) -> dict[str, dict[str, str]]:
    return about(
        namespace=seen.run.metadata.namespace,
        run=seen.run.metadata.name,
        run_id=seen.run_id,
        integration="/".join(integration_key(seen.run)),
    )


def _age(run: Run, now: datetime) -> float:
    return max(0.0, (now - run.metadata.creation_timestamp).total_seconds())


def _end_of(pod: Pod) -> datetime | None:
    """When the last of the template's containers ended; None where one has not."""
    ends = [container.finished_at for container in pod.containers if not container.brings_helper]
    known = [end for end in ends if end is not None]
    return max(known) if known and pod.finished else None
