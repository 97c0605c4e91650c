"""Issuing: from a grant to a Secret with a session in it, and the Secret's deletion."""

import base64
import logging
from collections.abc import Mapping
from dataclasses import replace

from spacelift_aws.api.reasons import CredentialsIssuedReason, SucceededReason
from spacelift_aws.api.run import Run
from spacelift_aws.aws.errors import Failure, StsError
from spacelift_aws.aws.sts import Credentials
from spacelift_aws.controllers.awsintegration.messages import refused_run
from spacelift_aws.controllers.run.authorization import integration_key
from spacelift_aws.controllers.run.credentials.secret import build_secret
from spacelift_aws.controllers.run.journal import Journal
from spacelift_aws.controllers.run.ports import Clock, Issuer, OrphanKey, RunView, Trust, key_of, own_pod
from spacelift_aws.controllers.run.progress import ProgressStore
from spacelift_aws.controllers.run.state import Authorized, Limits, Observed, SecretState, TerminalFailure
from spacelift_aws.kube.client import Deletion, Kube, Object
from spacelift_aws.kube.errors import AlreadyExists, ApiError, KubeError, NotNow, Unanswered
from spacelift_aws.names import child_name

log = logging.getLogger(__name__)


class Issuing:
    """Holds credentials for as long as it takes to write them into a Secret, and never longer."""

    def __init__(
        self,
        *,
        view: RunView,
        trust: Trust,
        kube: Kube,
        sts: Issuer,
        progress: ProgressStore,
        limits: Limits,
        clock: Clock,
        journal: Journal,
    ) -> None:
        self._view = view
        self._trust = trust
        self._kube = kube
        self._sts = sts
        self._progress = progress
        self._limits = limits
        self._clock = clock
        self._journal = journal

    async def issue(self, seen: Observed, grant: Authorized) -> None:
        """Assume the role and put the session into the Run's Secret; what fails is remembered."""
        if seen.progress.secret_refused and not await self._would_be_taken(seen):
            return
        self._journal.session_asked(seen, self._clock())
        try:
            session = await self._sts.assume_role(grant.request, seen.run.metadata.namespace)
        except StsError as error:
            self._journal.session_refused(seen, grant.request, error, self._clock())
            self._sts_refused(seen, error)
            return
        self._journal.session_issued(seen, grant.request, session, self._clock())
        if self._overtaken(seen):
            return  # the session is dropped: STS may have taken long, and the Run needs it no more
        self._progress.put(seen.run_id, replace(self._progress.of(seen.run_id), denied_since=None))
        body = build_secret(seen.run, seen.run_id, session.credentials)
        try:
            created = await self._put_secret(seen, body)
        except KubeError as error:
            # It may quote what was sent.
            self._secret_refused(seen, error, scrubbed(error.message, session.credentials, body["stringData"]))
            return
        if created:
            self._journal.secret_created(seen, self._clock())
            expires_at = session.credentials.expires_at
            self._progress.put(
                seen.run_id,
                replace(
                    self._progress.of(seen.run_id),
                    secret=SecretState.PRESENT,
                    issued_at=self._clock(),
                    expires_at=expires_at,
                    access_key_id=session.credentials.access_key_id,
                    failures=0,
                    secret_refused=False,
                    retryable_failure=None,
                ),
            )
        if self._is_gone(seen.run):
            # Its leftovers may have been cleared away before the Secret came into being.
            self._view.orphaned(OrphanKey.of(seen.run))

    async def _would_be_taken(self, seen: Observed) -> bool:
        """Ask without credentials and without a change: no role is assumed for a Secret that is refused again."""
        nothing = Credentials("*****", "*****", "*****", seen.now)
        body = build_secret(seen.run, seen.run_id, nothing)
        try:
            await self._kube.create_secret(seen.run.metadata.namespace, body, dry_run=True)
        except AlreadyExists:
            return True
        except KubeError as error:
            # In the words of the refusal before, so that the same trouble is told once.
            self._secret_refused(seen, error, scrubbed(error.message, nothing, body["stringData"]))
            return False
        return True

    def _secret_refused(self, seen: Observed, error: KubeError, said: str) -> None:
        words = "refuses" if isinstance(error, ApiError) else "did not create"
        message = f"The API server {words} the run's Secret: {said}"
        self._progress.put(seen.run_id, replace(self._progress.of(seen.run_id), secret_refused=True))
        self._failed(seen, CredentialsIssuedReason.RETRYING, message, retry_after=error.retry_after)

    async def _put_secret(self, seen: Observed, body: Object) -> bool:
        """Create the Secret. One that is there may be an orphan, a rival's or forged: it is replaced unread.

        One of our own makes way first. A pod that has it mounted keeps what it had until the new one has come.
        """
        there = seen.progress.secret is SecretState.PRESENT
        for _ in range(2):
            if there and not await self._clear_the_way(seen):
                return False
            try:
                await self._kube.create_secret(seen.run.metadata.namespace, body)
            except AlreadyExists:
                there = True
            except Unanswered:
                self._progress.put(seen.run_id, replace(self._progress.of(seen.run_id), unanswered_at=self._clock()))
                raise
            else:
                return True
        message = f"Somebody else keeps creating a Secret `{child_name(seen.run_id)}`."
        self._failed(seen, CredentialsIssuedReason.RETRYING, message)
        return False

    async def _clear_the_way(self, seen: Observed) -> bool:
        held_because = await self.be_rid_of_secret(seen)
        if not held_because:
            return True
        message = f"A Secret `{child_name(seen.run_id)}` is there and cannot be replaced: {held_because}."
        self._failed(seen, CredentialsIssuedReason.RETRYING, message)
        return False

    def _sts_refused(self, seen: Observed, error: StsError) -> None:
        """STS's own trouble delays; a refusal is never final at once, the trust is verified again first."""
        if error.kind in (Failure.RETRYING, Failure.NO_IDENTITY):
            self._failed(seen, CredentialsIssuedReason.RETRYING, f"STS gave no session: {_words(error)}")
            return
        now = self._clock()
        since = self._progress.of(seen.run_id).denied_since or now
        self._progress.put(seen.run_id, replace(self._progress.of(seen.run_id), denied_since=since))
        log.info("STS: %s", error)
        message = refused_run(error)
        # What has a pod is not failed for it: the run goes on with what it has.
        if seen.pod is None and now - since >= self._limits.denied:
            failure = TerminalFailure(SucceededReason.ACCESS_DENIED, message)
            self._progress.put(seen.run_id, replace(self._progress.of(seen.run_id), terminal_failure=failure))
            return
        self._failed(seen, CredentialsIssuedReason.ACCESS_DENIED, message)
        self._trust.request(integration_key(seen.run))

    async def be_rid_of_secret(self, seen: Observed) -> str:
        """Delete the Run's Secret and remember what came of it; the answer is that of `delete_secret`."""
        try:
            held_because = await self.delete_secret(seen.run.metadata.namespace, child_name(seen.run_id))
        except (Unanswered, NotNow) as error:
            held_because = f"the API server did not delete it: {error.message.rstrip('.')}"
        state = SecretState.HELD if held_because else SecretState.GONE
        if state is SecretState.GONE:
            self._journal.secret_deleted(seen, self._clock())
        self._progress.put(
            seen.run_id,
            replace(self._progress.of(seen.run_id), secret=state, deleted_at=self._clock(), held_because=held_because),
        )
        return held_because

    async def delete_secret(self, namespace: str, name: str) -> str:
        """Why the Secret is still there, as a clause; empty when it is gone.

        The chart's policies refuse the deletion of one with a finalizer, and of one that is not of our type.
        """
        try:
            deletion = await self._kube.delete_secret(namespace, name)
        except ApiError as error:
            return error.message.rstrip(".")
        return "it is held by a finalizer, which has to be removed" if deletion is Deletion.HELD else ""

    def _is_gone(self, run: Run) -> bool:
        current = self._view.run(key_of(run))
        return current is None or current.metadata.uid != run.metadata.uid

    def _overtaken(self, seen: Observed) -> bool:
        run = self._view.run(key_of(seen.run))
        if run is None or self._is_gone(seen.run) or run.status.phase.terminal or run.spec.stop:
            return True
        pod = own_pod(self._view, run)
        ended = pod is None or pod.gone or pod.finished or pod.deletion is not None
        # One that was gone already is followed by another pod, which is what they are for.
        return seen.pod is not None and not seen.pod.gone and ended

    def _failed(
        self,
        seen: Observed,
        reason: CredentialsIssuedReason,
        message: str,
        retry_after: float | None = None,
    ) -> None:
        self._progress.failed(seen.run_id, self._clock(), reason, message, retry_after)


def _words(error: StsError) -> str:
    """What STS said, without the ID of the request: the same trouble is told in the same words each time."""
    return f"{error.code}: {error.message}"


def scrubbed(message: str, credentials: Credentials, content: Mapping[str, str]) -> str:
    """A message without what may never be shown, should the server have quoted a Secret's content or parts of it."""
    hidden = (value for value in content.values() if value != credentials.access_key_id)
    for value in (*hidden, credentials.secret_access_key, credentials.session_token):
        encoded = base64.b64encode(value.encode()).decode()
        message = message.replace(value, "*****").replace(encoded, "*****")
    return message
