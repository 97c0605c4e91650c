"""Who the operator is to AWS: the principal that a role must trust, and its unique ID."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final, Protocol

from spacelift_aws.aws.arns import CallerArn, parse_caller_arn, parse_role_arn
from spacelift_aws.aws.errors import Failure, StsError
from spacelift_aws.aws.sts import Caller

logger = logging.getLogger(__name__)

REFRESH_AFTER: Final = 600.0
"""Seconds for which an identity is believed: one call then tells of a role that was replaced."""
RETRY_AFTER: Final = 10.0
"""Seconds between two attempts to learn it."""


@dataclass(frozen=True)
class Identity:
    """What is known of the operator itself.

    `principal` None: nothing yet. `note` says why the principal may not be exact. `failure` is why STS does not tell
    now; principal and ID are then those last known.
    """

    principal: str | None = None
    principal_id: str | None = None
    note: str | None = None
    failure: StsError | None = None

    @property
    def is_missing(self) -> bool:
        """Whether there is no use in asking STS anything, as the operator has no credentials that it accepts."""
        return self.failure is not None and self.failure.kind is Failure.NO_IDENTITY


class IdentitySource(Protocol):
    """The calls that tell who we are; both raise StsError or answer None."""

    async def caller(self, region: str | None = None) -> Caller: ...

    async def role_arn_with_path(self, name: str) -> str | None: ...


class OwnIdentity:
    """The operator's identity, asked for when it is needed and remembered for a while."""

    def __init__(
        self,
        source: IdentitySource,
        environ: Mapping[str, str],
        *,
        configured_principal: str | None = None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        """`clock` gives seconds, by default those of the running loop."""
        self._source = source
        self._environ = environ
        self._configured = configured_principal
        self._clock = clock
        self._refreshing: asyncio.Task[None] | None = None
        self._known = Identity(principal=configured_principal)
        self._asked_at: float | None = None
        self._stale = True
        """Whether what is known is worth nothing until STS was asked again."""

    async def current(self) -> Identity:
        """Who the operator is. Never raises for what AWS answers.

        A known identity is refreshed in the background, as STS may take long to answer and others wait here; what is
        unknown or in doubt is waited for.
        """
        if self._is_due() and (self._refreshing is None or self._refreshing.done()):
            self._refreshing = asyncio.get_running_loop().create_task(self._refresh())
        if self._refreshing is not None and (self._stale or self._known.is_missing):
            await asyncio.shield(self._refreshing)
        return self._known

    @property
    def known(self) -> Identity:
        """What is known now, without asking."""
        return self._known

    def invalidate(self) -> None:
        """Ask again soon: a call was refused for the operator's own credentials."""
        self._stale = True

    def _now(self) -> float:
        return self._clock() if self._clock is not None else asyncio.get_running_loop().time()

    def _is_due(self) -> bool:
        if self._asked_at is None:
            return True
        hurry = self._stale or self._known.failure is not None
        return self._now() - self._asked_at >= (RETRY_AFTER if hurry else REFRESH_AFTER)

    async def _refresh(self) -> None:
        self._asked_at = self._now()
        self._known = await self._ask()
        self._stale = False

    async def _ask(self) -> Identity:
        try:
            caller = await self._source.caller()
        except StsError as error:
            if self._known.failure is None or self._known.failure.code != error.code:
                logger.warning("the operator's own identity is not known: %s", error)
            return replace(self._known, failure=error)
        return await self._identity_of(caller)

    async def _identity_of(self, caller: Caller) -> Identity:
        parsed = parse_caller_arn(caller.arn)
        unique_id = caller.user_id.split(":", 1)[0] or None
        if self._configured is not None:
            return Identity(self._configured, unique_id if _names(self._configured, parsed) else None)
        if parsed is None:
            return Identity(caller.arn, unique_id, f"the operator's ARN {caller.arn} has an unknown form")
        if parsed.role is None:
            return Identity(parsed.principal, unique_id)
        if _names(in_use := self._environ.get("AWS_ROLE_ARN", ""), parsed):
            return Identity(in_use, unique_id)
        if (exact := await self._source.role_arn_with_path(parsed.role)) is not None and _names(exact, parsed):
            return Identity(exact, unique_id)
        note = (
            f"if the operator's role has an IAM path, the ARN {parsed.principal} lacks the path, because STS does not "
            "report it: then configure the operator's principal, or allow its role iam:GetRole on itself"
        )
        return Identity(parsed.principal, unique_id, note)


def _names(arn: str, caller: CallerArn | None) -> bool:
    """Whether an ARN names the caller, a role's path left aside."""
    if caller is None:
        return False
    role = parse_role_arn(arn)
    if role is None:
        return arn == caller.principal
    return (role.partition, role.account, role.name) == (caller.partition, caller.account, caller.role)
