"""What a process keeps of Jobs that are another's to execute."""

from datetime import timedelta
from typing import Any

from spacelift_aws.controllers.job.controller import JobController
from spacelift_aws.controllers.job.view import parse_job
from spacelift_aws.roles.pool_leases import OtherPools
from spacelift_aws.roles.worker import WorkerRole
from spacelift_aws.runtime.role import LeaseName

KEY = ("team", "drift")


async def test_anothers_job_is_kept_until_its_run_has_ended_too(sight: Any, kit: Any) -> None:
    role = WorkerRole("build", ("team",), LeaseName("team", "build"), OtherPools("build", timedelta(minutes=1)))
    nothing: Any = None
    jobs = JobController(role=role, view=sight.router, kube=nothing, recorder=nothing, clock=lambda: kit.at(9))
    sight.router.saw_run(kit.run("Running"))
    complete = {"conditions": [kit.condition("Complete", "True", "Finished")]}
    sight.router.saw_job(parse_job(kit.body(status=complete)))
    await jobs.reconcile(KEY)
    assert sight.router.job(KEY) is not None
    ended = kit.run("Finished").metadata.model_copy(update={"resource_version": "10"})
    sight.router.saw_run(kit.run("Finished").model_copy(update={"metadata": ended}))
    await jobs.reconcile(KEY)
    assert sight.router.job(KEY) is None
