"""What a process keeps of Jobs, and how often it asks."""

from datetime import timedelta
from typing import Any

from spacelift_aws.api.awsintegration import AwsIntegration
from spacelift_aws.controllers.job.controller import HELD_RETRY, JobController
from spacelift_aws.controllers.job.view import parse_job
from spacelift_aws.roles.controller import ControllerRole
from spacelift_aws.roles.pool_leases import OtherPools
from spacelift_aws.roles.worker import WorkerRole
from spacelift_aws.runtime.role import LeaseName

KEY = ("team", "drift")


async def test_anothers_job_is_kept_until_its_run_has_ended_too(sight: Any, kit: Any) -> None:
    role = WorkerRole("build", ("team",), LeaseName("team", "build"), OtherPools("build", timedelta(minutes=1)))
    nothing: Any = None
    jobs = JobController(role=role, view=sight.router, kube=nothing, recorder=nothing, clock=lambda: kit.at(9))
    spec = {"roleArn": "arn:aws:iam::222222222222:role/x", "generateCredentialsInWorker": True}
    metadata = {**kit.run().metadata.model_dump(by_alias=True, mode="json"), "name": "prod"}
    # For the pool `default`, which the Job means.
    sight.router.saw_integration(AwsIntegration.model_validate({"metadata": metadata, "spec": spec}))
    sight.router.saw_run(kit.run("Running"))
    complete = {"conditions": [kit.condition("Complete", "True", "Finished")]}
    sight.router.saw_job(parse_job(kit.body(status=complete)))
    await jobs.reconcile(KEY)
    assert sight.router.job(KEY) is not None
    ended = kit.run("Finished").metadata.model_copy(update={"resource_version": "10"})
    sight.router.saw_run(kit.run("Finished").model_copy(update={"metadata": ended}))
    await jobs.reconcile(KEY)
    assert sight.router.job(KEY) is None


class Held:
    """An API server where a finalizer holds the Run."""

    def __init__(self, body: dict[str, Any]) -> None:
        self.body = body
        self.deletions = 0

    async def delete(self, *_: object, **__: object) -> dict[str, Any] | None:
        self.deletions += 1
        return self.body


async def test_a_run_that_is_to_make_way_and_that_a_finalizer_holds_is_asked_for_twice_a_minute(
    sight: Any, kit: Any
) -> None:
    held = Held({})
    nothing: Any = None
    jobs = JobController(
        role=ControllerRole(),
        view=sight.router,
        kube=held,  # type: ignore[arg-type]
        recorder=nothing,
        clock=lambda: kit.at(9),
    )
    sight.router.saw_run(kit.run("Stopped", stop=True))
    sight.router.saw_job(parse_job(kit.body(suspend=True)))
    assert await jobs.reconcile(KEY) == HELD_RETRY
    assert held.deletions == 1
