"""How the parts of a process are wired, whatever its role.

Kopf's watches ─┐                                           ┌─► IntegrationReconciler ─► STS probes, status
Relister ───────┼─► EventRouter ─► Stores, WorkQueue ─► key ┼─► Executor ─► STS, Secret, pod, status
answers to      │                                           └─► OrphanCollector (what a Run that is gone left)
our own writes ─┘
"""

import os
from dataclasses import replace
from importlib.metadata import version

from spacelift_aws.audit import open_trail
from spacelift_aws.aws.identity import OwnIdentity
from spacelift_aws.aws.sts import Sts, StsSettings
from spacelift_aws.clock import JumpDetector, utc_now
from spacelift_aws.controllers.awsintegration.by_role import plan_for
from spacelift_aws.controllers.awsintegration.controller import IntegrationReconciler, IntegrationSettings
from spacelift_aws.controllers.awsintegration.history import Schedule
from spacelift_aws.controllers.awsintegration.trust_store import TrustStore
from spacelift_aws.controllers.job.controller import JobController
from spacelift_aws.controllers.kinds import kinds
from spacelift_aws.controllers.router import DepartedKey, EventRouter, IntegrationKey, JobKey, RunKey
from spacelift_aws.controllers.run.controller import Executor, ExecutorSettings
from spacelift_aws.controllers.run.journal import Journal
from spacelift_aws.controllers.run.orphans import OrphanCollector
from spacelift_aws.controllers.run.pod.helper import Helper, HelperDelivery
from spacelift_aws.controllers.run.ports import OrphanKey
from spacelift_aws.controllers.run.reconciler import RunReconciler
from spacelift_aws.controllers.run.state import Limits
from spacelift_aws.controllers.state_metrics import Source, StateCollector
from spacelift_aws.controllers.stores import Stores
from spacelift_aws.runtime.controller import Assembly, Controller
from spacelift_aws.runtime.role import RoleContext
from spacelift_aws.settings import Settings
from spacelift_aws.tracing import Spans, open_spans


def assemble(context: RoleContext) -> Assembly:
    """Make and wire the controllers of a process."""
    settings = context.settings
    stores = Stores(settings.helper_image or None)
    router = EventRouter(stores, context.role.executor, context.queue.add, context.queue.add_after)
    sts = Sts(home_region=settings.region, settings=_sts_settings(settings))
    spans = open_spans(context.role.component, version("spacelift-aws"))
    identity = OwnIdentity(sts, os.environ, configured_principal=settings.principal)
    trust = TrustStore(lambda integration: plan_for(context.role, integration, context.installation))
    trust.subscribe(router.wake_runs_of)
    integrations = _integrations(context, router, sts, identity, trust)
    executor = Executor(
        role=context.role,
        view=router,
        trust=trust,
        kube=context.kube,
        sts=sts,
        recorder=context.recorder,
        settings=_executor_settings(context, sts.home_region),
        clock=utc_now,
        has_clock_jumped=JumpDetector().has_jumped,
        journal=Journal(open_trail(settings.audit_log), context.role.executor, spans),
    )
    router.on_lost_run(executor.orphan_of)
    runs = RunReconciler(executor, router, context.kube, utc_now)
    orphans = OrphanCollector(executor, router, context.kube, router.pod_named)
    jobs = JobController(role=context.role, view=router, kube=context.kube, recorder=context.recorder, clock=utc_now)
    return Assembly(
        kinds=kinds(router, stores, namespaces_too=not context.namespaces, jobs_too=settings.jobs),
        controllers=(
            Controller(RunKey, lambda key: runs.reconcile((key.namespace, key.name))),
            Controller(IntegrationKey, lambda key: integrations.reconcile((key.namespace, key.name))),
            Controller(OrphanKey, orphans.reconcile),
            Controller(JobKey, lambda key: jobs.reconcile((key.namespace, key.name))),
            Controller(DepartedKey, lambda key: orphans.look_for(key.namespace, key.name, key.uid)),
        ),
        adopt=lambda: executor.adopt(run for _, run in stores.whole_runs()),
        all_keys=router.all_keys,
        saw_everything=router.saw_everything,
        look_at_all_runs=router.look_at_all_runs,
        metrics=StateCollector(_source(context, stores, sts, identity)),
        close=lambda: _close(sts, spans),
    )


def _close(sts: Sts, spans: Spans | None) -> None:
    """At the very end, when nobody waits any more."""
    sts.close()
    if spans is not None:
        spans.close()


def _integrations(
    context: RoleContext, router: EventRouter, sts: Sts, identity: OwnIdentity, trust: TrustStore
) -> IntegrationReconciler:
    settings = context.settings
    return IntegrationReconciler(
        view=router,
        kube=context.kube,
        recorder=context.recorder,
        sts=sts,
        identity=identity,
        settings=IntegrationSettings(
            installation=context.installation,
            suggested_policies=settings.suggested_policies,
            schedule=_schedule(settings),
        ),
        role=context.role,
        clock=utc_now,
        wake=lambda key: context.queue.add(IntegrationKey(*key)),
        trust=trust,
        is_awaited=router.awaited,
    )


def _source(context: RoleContext, stores: Stores, sts: Sts, identity: OwnIdentity) -> Source:
    queue = context.queue
    return Source(
        component=context.role.component,
        pool=context.role.pool,
        stores=stores,
        health=context.health,
        acts=lambda: queue.is_open,
        queue=lambda: (queue.depth(), queue.longest()),
        aws=lambda: (sts, identity.known),
        clock=utc_now,
    )


def _executor_settings(context: RoleContext, home_region: str | None) -> ExecutorSettings:
    settings = context.settings
    limits = Limits(
        creation_in_doubt=settings.creation_in_doubt, denied=settings.denied_for, renew_after=settings.renew_after
    )
    return ExecutorSettings(
        context.installation,
        context.namespaces,
        home_region,
        context.account,
        limits,
        configured_helper(settings),
        trust_requester=settings.trust_requester,
    )


def configured_helper(settings: Settings) -> Helper | None:
    """The helper that masks logs; None where no image with it is configured."""
    if not settings.helper_image:
        return None
    helper = Helper(settings.helper_image, HelperDelivery(settings.helper_delivery))
    if settings.helper_resources is not None:
        helper = replace(helper, resources=settings.helper_resources.model_dump(exclude_defaults=True))
    if settings.helper_security_context is not None:
        helper = replace(helper, security_context=settings.helper_security_context)
    return helper


def _sts_settings(settings: Settings) -> StsSettings:
    return StsSettings(
        probes_per_second=settings.probes_per_second,
        read_timeout=settings.sts_timeout.total_seconds(),
    )


def _schedule(settings: Settings) -> Schedule:
    return Schedule(
        first_retry=settings.retry_first,
        confirm_after=settings.confirm_after,
        first_delay=settings.retry_first,
        last_fast_delay=settings.retry_last,
        slow_delay=settings.retry_slowly,
    )
