"""The kinds of objects that are watched for Runs and integrations, each with its way into the router."""

from spacelift_aws.api.awsintegration import AwsIntegration
from spacelift_aws.api.run import Phase
from spacelift_aws.controllers.job.view import parse_job
from spacelift_aws.controllers.router import EventRouter
from spacelift_aws.controllers.run.ended import parse_run
from spacelift_aws.controllers.run.pod.view import parse_pod
from spacelift_aws.controllers.stores import Namespace, Stores
from spacelift_aws.kube.resources import INTEGRATIONS, JOBS, NAMESPACES, PODS, RUNS
from spacelift_aws.names import LABEL_RUN_ID
from spacelift_aws.runtime.controller import Kind


def kinds(router: EventRouter, stores: Stores, *, namespaces_too: bool, jobs_too: bool) -> tuple[Kind, ...]:
    """What is watched; what others refer to comes first. Who acts in given namespaces may not look at these.

    Jobs only where they are executed. The API server cannot select them by `managedBy`; others' are dropped at once.
    """
    namespaces = Kind(
        NAMESPACES,
        Namespace.parse,
        router.saw_namespace,
        router.lost_namespace,
        stores.namespaces,
        reflected=True,
    )
    integrations = Kind(
        INTEGRATIONS,
        AwsIntegration.model_validate,
        router.saw_integration,
        router.lost_integration,
        stores.integrations,
    )
    # Ended Runs change no more and are most of those that there are. The watch does not show them; it shows that one
    # ends as if it were deleted, with what it was before.
    runs = Kind(
        RUNS,
        parse_run,
        router.saw_listed_run,
        router.lost_run,
        stores.runs,
        watched_fields=",".join(f"status.phase!={phase}" for phase in Phase if phase.terminal),
        left_watch=router.run_left_watch,
    )
    # The server filters: other pods cost nothing.
    pods = Kind(
        PODS, parse_pod, router.saw_pod, router.lost_pod, stores.pods, label_selector=LABEL_RUN_ID, reflected=True
    )
    jobs = Kind(JOBS, parse_job, router.saw_job, router.lost_job, stores.jobs, reflected=True)
    return (*((namespaces,) if namespaces_too else ()), integrations, runs, pods, *((jobs,) if jobs_too else ()))
