"""`python -m sandbox`: a Kubernetes control plane on loopback for as long as the command runs; and the demo."""

import argparse
import shlex
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import FrameType

from sandbox import binaries, controlplane, realnode
from sandbox.aws import Aws, aws_cli, start_aws
from sandbox.cluster import Cluster, KubectlError
from sandbox.components import FOR_NODES
from sandbox.demo import demo
from sandbox.download import ChecksumError
from sandbox.gobuild import BuildError
from sandbox.guest import GuestError
from sandbox.node import start_node
from sandbox.process import ProcessError
from sandbox.progress import to_stderr
from sandbox.realnode import packages
from sandbox.realnode.build import ImageError, operator_image, tools_image
from sandbox.realnode.images import BUSYBOX, busybox
from sandbox.stage import CUSTOMER, operator_of
from sandbox.toolbox import ToolError, tool
from sandbox.waiting import until_interrupted

_FAILURES = (
    binaries.BinaryError,
    BuildError,
    ChecksumError,
    GuestError,
    ImageError,
    KubectlError,
    ProcessError,
    ToolError,
    packages.PackageError,
    realnode.NodeError,
)
"""What needs no traceback: each says in words what is the matter."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand, `up` if none is named; the exit code."""
    arguments = _parser().parse_args((sys.argv[1:] if argv is None else argv) or ["up"])
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        return int(arguments.run(arguments))
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except _FAILURES as error:
        to_stderr(f"error: {error}")
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m sandbox", description=__doc__)
    commands = parser.add_subparsers(required=True)
    up = commands.add_parser(
        "up", help="start a cluster, print its kubeconfig and stay until interrupted (the default)"
    )
    up.add_argument("--crds", type=Path, nargs="*", default=[], help="files or folders of definitions to apply first")
    up.add_argument("--node", action="store_true", help="with a node that runs pods as processes of this machine")
    up.add_argument("--real-node", action="store_true", help="with a kubelet and containerd: as root, on Linux")
    up.add_argument("--aws", action="store_true", help="with an emulated AWS, where the node's pods look for it")
    up.set_defaults(run=_up)
    show = commands.add_parser("demo", help="run the main job where it can be watched; 0 if all was seen")
    show.add_argument("--keep", action="store_true", help="leave it running for kubectl until interrupted")
    show.set_defaults(run=lambda arguments: demo(keep=arguments.keep))
    prepare = commands.add_parser("prepare", help="download, build and install whatever the other commands need")
    prepare.add_argument("--real-node", action="store_true", help="and what a real node and its images need")
    prepare.add_argument(
        "--kueue", action="store_true", help="and Kueue, with which Jobs are tried that wait in queues"
    )
    prepare.set_defaults(run=_prepare)
    return parser


def _up(arguments: argparse.Namespace) -> int:
    started = time.monotonic()
    to_stderr("starting a control plane")
    with ExitStack() as stack:
        if arguments.real_node and (reason := realnode.unavailable()):
            raise realnode.NodeError(f"there can be no real node here: {reason}")
        controllers = FOR_NODES if arguments.real_node else ()
        cluster = stack.enter_context(controlplane.start(crds=arguments.crds, controllers=controllers))
        aws = stack.enter_context(start_aws(cluster.supervisor)) if arguments.aws else None
        if arguments.node:
            variables = aws.place() if aws else {}
            stack.enter_context(start_node(cluster, path=[aws_cli()], variables=variables))
        if arguments.real_node:
            node = stack.enter_context(realnode.start_node(cluster, images=[busybox()]))
            to_stderr(f"the node has the image {BUSYBOX}")
            if aws:
                to_stderr(f"pods reach AWS at {node.expose(aws.endpoint)}")
        to_stderr(f"ready after {time.monotonic() - started:.1f} s; Ctrl-C ends it and removes everything")
        print("\n".join([*_introduction(cluster), *(_identities(aws) if aws else ())]), flush=True)
        until_interrupted(cluster.check)
    return 0


def _prepare(arguments: argparse.Namespace) -> int:
    binaries.ensure(*controlplane.COMPONENTS, "kubectl", "helm", "kubeconform", "krew", "kstatus")
    tool("ministack")
    aws_cli()
    if arguments.kueue:
        binaries.ensure("kueue")
    if arguments.real_node:
        binaries.ensure("kubelet", "kube-scheduler")
        packages.ensure(packages.NODE)
        operator_image()
        tools_image()
    return 0


def _introduction(cluster: Cluster) -> Iterator[str]:
    """What to type to use `cluster`, ready to be copied into a shell."""
    command = shlex.quote(str(binaries.ensure("kubectl")["kubectl"]))
    yield f"export KUBECONFIG={shlex.quote(str(cluster.kubeconfig))}"
    yield f"{command} get namespaces"
    yield f"{command} auth whoami"
    if cluster.audit_log:
        yield f"tail -f {shlex.quote(str(cluster.audit_log))}"


def _identities(aws: Aws) -> Iterator[str]:
    """Variables for an operator, and for the administrator of an account whose roles it may assume."""
    operator, administrator = operator_of(aws), aws.account(CUSTOMER).root
    for title, identity in (("the operator", operator), ("the administrator", administrator)):
        yield f"# AWS as {title} {identity.arn}:"
        for name, value in aws.environment(identity).items():
            yield f"export {name}={shlex.quote(value)}"


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    """Let a SIGTERM unwind like a Ctrl-C."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
