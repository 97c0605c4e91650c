"""A thousand integrations under one reconciler, in time that passes by jumps: when STS is asked, and how often."""

import asyncio
import heapq
import re
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest

from spacelift_aws.api.awsintegration import AwsIntegration, ProbeAnswer, ProbeName
from spacelift_aws.aws.errors import Failure, StsError
from spacelift_aws.aws.identity import Identity
from spacelift_aws.aws.sts import AssumeRoleRequest, Credentials, Session, StsSettings
from spacelift_aws.aws.token_bucket import TokenBucket
from spacelift_aws.controllers.awsintegration.by_role import plan_for
from spacelift_aws.controllers.awsintegration.controller import IntegrationReconciler, IntegrationSettings
from spacelift_aws.controllers.awsintegration.history import Draw, History, Schedule, next_time, record_round
from spacelift_aws.controllers.awsintegration.probes.answers import Answers, ProbeResult
from spacelift_aws.controllers.awsintegration.probes.plan import plan_of
from spacelift_aws.controllers.awsintegration.trust_store import Key, TrustStore
from spacelift_aws.controllers.awsintegration.verdict import Verdict
from spacelift_aws.kube.events import Regarding
from spacelift_aws.kube.resources import Resource
from spacelift_aws.roles.controller import ControllerRole

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
COUNT = 1000


class Neighbours:
    """All that the reconciler talks to: an API server that agrees, an STS with a bucket in front of it, a clock."""

    def __init__(self, verify_every: str, broken: int = 0, count: int = COUNT) -> None:
        self.now = START
        self.asked: list[datetime] = []
        self.spelled: list[datetime] = []
        """Of those the spellings between the rounds."""
        self.bucket = TokenBucket(StsSettings.probes_per_second, StsSettings.probe_burst)
        self.bodies = {(f"team-{n % 20}", f"aws-{n}"): self._body(n, verify_every, n < broken) for n in range(count)}

    @staticmethod
    def _body(number: int, verify_every: str, broken: bool) -> dict[str, Any]:
        return {
            "metadata": {
                "name": f"aws-{number}",
                "namespace": f"team-{number % 20}",
                "uid": f"uid-{number}",
                "resourceVersion": "1",
                "generation": 1,
                "creationTimestamp": "2026-01-01T00:00:00Z",
            },
            "spec": {
                "roleArn": f"arn:aws:iam::123456789012:role/{'broken' if broken else 'good'}-{number}",
                "verifyEvery": verify_every,
            },
        }

    def integration(self, key: Key) -> AwsIntegration:
        return AwsIntegration.model_validate(self.bodies[key])

    def saw_integration(self, integration: AwsIntegration) -> None:
        key = (integration.metadata.namespace, integration.metadata.name)
        self.bodies[key] = integration.model_dump(by_alias=True, exclude_none=True, mode="json")

    async def patch_status(
        self, resource: Resource, namespace: str, name: str, status: Mapping[str, Any], *, resource_version: str
    ) -> dict[str, Any]:
        body = self.bodies[namespace, name]
        return body | {"status": body.get("status", {}) | status}

    def event(self, regarding: Regarding, type_: str, reason: str, message: str) -> None:
        pass

    async def current(self) -> Identity:
        return Identity("arn:aws:iam::111122223333:role/op", "AROAOP")

    def invalidate(self) -> None:
        raise AssertionError("the operator's identity was never in doubt")

    async def probe_if_idle(self, request: AssumeRoleRequest, tenant: str) -> Session | None:
        if self.bucket.wait(self.now.timestamp()) > 0:
            return None
        self.spelled.append(self.now)
        return await self.probe(request, tenant)

    def prioritize_probes(self, tenant: str, role_arn: str) -> None:
        raise AssertionError("no Run waits")

    async def probe(self, request: AssumeRoleRequest, tenant: str, *, urgent: bool = False) -> Session:
        """One call after another, each as soon as the bucket has a token: the narrowest that can be."""
        self.now += timedelta(seconds=self.bucket.wait(self.now.timestamp()))
        self.bucket.take(self.now.timestamp())
        self.asked.append(self.now)
        own = request.external_id is not None and not re.search("cannot-exist|[+]", request.external_id)
        if not own or "broken" in request.role_arn:
            raise StsError(Failure.ACCESS_DENIED, "AccessDenied", "no", "req")
        credentials = Credentials("ASIAPROBE", "secret", "token", self.now + timedelta(hours=1))
        return Session(credentials, "arn:aws:sts::123456789012:assumed-role/x/y", "req", None)

    def live(self, span: timedelta) -> None:
        """Reconcile each integration when it asks to be, until so much time has passed."""
        role = ControllerRole()
        reconciler = IntegrationReconciler(
            view=self,
            kube=self,
            recorder=self,
            sts=self,
            identity=self,
            settings=IntegrationSettings("demo"),
            role=role,
            clock=lambda: self.now,
            wake=lambda _: None,
            trust=TrustStore(lambda integration: plan_for(role, integration, "demo")),
            random=Random(1),
        )
        end = self.now + span
        row = [(self.now, key) for key in self.bodies]

        async def scenario() -> None:
            while row[0][0] < end:
                due, key = heapq.heappop(row)
                self.now = max(self.now, due)
                delay = await reconciler.reconcile(key)
                assert delay is not None
                heapq.heappush(row, (self.now + timedelta(seconds=delay), key))

        asyncio.run(scenario())

    def busiest_second(self) -> int:
        return max(Counter(int(at.timestamp()) for at in self.asked).values())


FEW = 100
"""Where every place of every external ID is asked: a thousand need ten times the time."""


@pytest.mark.slow
def test_sts_is_never_asked_faster_than_the_bucket_allows() -> None:
    """Also not with some that are broken and asked about again and again."""
    neighbours = Neighbours("5m", broken=20, count=FEW)
    neighbours.live(timedelta(minutes=6))
    assert neighbours.busiest_second() <= StsSettings.probes_per_second + StsSettings.probe_burst
    assert all(body["status"]["conditions"] for body in neighbours.bodies.values())
    assert len(neighbours.asked) - len(neighbours.spelled) > 2 * 11 * (FEW - 20)


def test_new_ones_are_verified_first_and_spelled_out_when_there_is_time() -> None:
    neighbours = Neighbours("24h", count=FEW)
    neighbours.live(timedelta(minutes=4))
    assert len(neighbours.asked) - len(neighbours.spelled) == 11 * FEW
    assert min(neighbours.spelled) - START > timedelta(seconds=4), "others go first"
    rounds = sorted(set(neighbours.asked) - set(neighbours.spelled))
    assert rounds[-1] - START < timedelta(minutes=4) * FEW / COUNT + timedelta(seconds=5)
    lengths = [len(f"demo@{namespace}@{name}") for namespace, name in neighbours.bodies]
    assert len(neighbours.spelled) == sum(length - 6 for length in lengths)
    assert neighbours.busiest_second() <= StsSettings.probes_per_second + StsSettings.probe_burst


def test_a_restart_asks_for_no_more_than_the_rounds() -> None:
    neighbours = Neighbours("24h", count=FEW)
    neighbours.live(timedelta(minutes=4))
    neighbours.asked.clear()
    neighbours.spelled.clear()
    begun = neighbours.now
    neighbours.live(timedelta(hours=4))
    assert len(neighbours.asked) - len(neighbours.spelled) == 11 * FEW
    # A sixth of a day: about a sixth of the 10 to 13 places that no round looks at.
    assert len(neighbours.spelled) == pytest.approx(2 * FEW, rel=0.3)
    per_minute = Counter(int((at - begun) / timedelta(minutes=1)) for at in neighbours.spelled)
    assert max(per_minute.values()) < FEW / 10, "never all at once"


def rounds_of_days(days: int) -> list[float]:
    """The hours, counted from the start, at which a thousand integrations verified every day are asked about."""
    day, asked = timedelta(hours=24), []
    draw = Draw(Schedule(), Random(1))
    plan = plan_of(Neighbours("24h").integration(("team-0", "aws-0")), "demo")
    assert plan is not None
    for number in range(COUNT):
        history = History(plan)
        at: datetime | None = START + timedelta(seconds=number * 0.08)
        while at is not None and at < START + timedelta(days=days):
            asked.append((at - START) / timedelta(hours=1))
            own = ProbeResult(ProbeName.OWN, ProbeAnswer.ALLOWED, at)
            history = record_round(history, Answers(own, (), at), Verdict("True", "Verified", "", at), None, draw)
            at = next_time(history, day)
    return asked


@pytest.mark.slow
def test_a_herd_that_started_together_drifts_apart() -> None:
    """Each round draws its jitter anew: after some weeks every hour has about its share."""
    asked = rounds_of_days(40)
    assert len([hour for hour in asked if hour < 24]) < 1.5 * COUNT, "no more than one round a day"
    hours = Counter(int(hour) for hour in asked if hour >= 30 * 24)
    assert sum(hours.values()) == pytest.approx(10 * COUNT, rel=0.05)
    assert len(hours) == 240, "there is no hour without a round"
    assert max(hours.values()) < 2.5 * COUNT / 24
    minutes = Counter(int(hour * 60) for hour in asked if hour >= 30 * 24)
    assert max(minutes.values()) < 10, "nor bursts within an hour"
