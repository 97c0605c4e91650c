"""The main jobs where a person can watch them: trust that comes to be, a controller's Runs, a worker pool's Run."""

import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from sandbox import binaries
from sandbox.cluster import KubectlError
from sandbox.controlplane import uses_existing
from sandbox.demo.beats import Beat, Chapter, Check, Output, Prose
from sandbox.demo.narration import Narrator, narrator
from sandbox.demo.scene import Scene
from sandbox.demo.story import STORY
from sandbox.objects import RefusedError
from sandbox.process import ProcessError
from sandbox.stage import Stage, set_stage
from sandbox.waiting import until_interrupted

NAMESPACE = "payments"

SETTINGS = {
    # Trust that was found wanting is asked again every second; by default the delays grow to a minute, then to ten.
    "SPACELIFT_AWS_RETRY_FIRST": "1",
    "SPACELIFT_AWS_RETRY_LAST": "1",
}

OPENING = """\
{where}
One delay is shortened: trust that was found wanting is verified again every second ({settings}); \
by default the delays grow from two seconds to a minute, and to ten minutes later on."""

HERE = "A Kubernetes cluster, an emulated AWS and the operator are started on this machine, used, and removed."
ELSEWHERE = """\
An emulated AWS and the operator are started on this machine, for the cluster of the kubeconfig's context. \
What is made in the cluster is removed at the end."""

PATIENCE_ON_OWN_NODE = 120.0
PATIENCE_ELSEWHERE = 240.0
"""Seconds, which only what never comes takes; a node of another cluster has an image to pull."""


def demo(*, keep: bool = False) -> int:
    """Tell the whole story; 0 if all of it was seen. With `keep` it stays for kubectl until interrupted."""
    voice = narrator()
    settings = " ".join(f"{name}={value}" for name, value in SETTINGS.items())
    opening = OPENING.format(where=ELSEWHERE if uses_existing() else HERE, settings=settings)
    voice.tell(Chapter("Short-lived credentials for every run"))
    voice.tell(Prose(f"{opening}\n "))
    with _stage(voice) as stage:
        patience = PATIENCE_ELSEWHERE if stage.variables else PATIENCE_ON_OWN_NODE
        stopped = tell(voice, Scene(stage, stage.namespace(name=NAMESPACE), patience))
        for beat in _look_back(stage) if stopped else ():
            voice.tell(beat)
        complete = voice.conclude(stopped)
        if keep:
            print(f"\n{how_to_use(stage)}", flush=True)
            until_interrupted(stage.cluster.check)
    return 0 if complete else 1


def tell(voice: Narrator, scene: Scene) -> str:
    """Tell step after step until a check fails; what ended the story early, or nothing."""
    for step in STORY:
        try:
            for beat in step(scene):
                voice.tell(beat)
                if isinstance(beat, Check) and not beat.passed:
                    return "what follows relies on what was not seen."
        except (KubectlError, ProcessError, RefusedError, TimeoutError) as error:
            return str(error)
    return ""


def _look_back(stage: Stage) -> Iterator[Beat]:
    """What controller and worker said last, for whoever wants to know what went wrong."""
    for name in ("controller", "worker"):
        logs = sorted(stage.cluster.folder.glob(f"*{name}-[0-9]*.log"))
        if logs:
            yield Chapter(f"The {name}'s last words")
            yield Output("\n".join(logs[-1].read_text().splitlines()[-20:]))


def how_to_use(stage: Stage) -> str:
    """What to type while the demo is kept, ready to be copied into a shell."""
    kubectl = shlex.quote(str(binaries.ensure("kubectl")["kubectl"]))
    namespace = stage.namespaces[0]
    return "\n".join(
        [
            "# All of it is kept until Ctrl-C. In another shell:",
            f"export KUBECONFIG={shlex.quote(str(stage.cluster.kubeconfig))}",
            f"alias kubectl={kubectl}",
            f"kubectl config set-context --current --namespace={namespace}",
            "kubectl get awsintegrations,runs",
            "kubectl describe awsintegration prod",
            f"tail -f {shlex.quote(str(stage.cluster.folder))}/controller-*.log",
            "# The emulated AWS, as the administrator of the role's account, with any AWS CLI:",
            *(f"export {name}={shlex.quote(value)}" for name, value in _administrator(stage).items()),
        ]
    )


def _administrator(stage: Stage) -> Mapping[str, str]:
    return stage.aws.environment(stage.customer.root)


@contextmanager
def _stage(voice: Narrator) -> Iterator[Stage]:
    with set_stage(SETTINGS, install=False, say=voice.whisper) as stage:
        yield stage
