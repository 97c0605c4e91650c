"""`python -m sandbox`: a Kubernetes control plane on loopback for as long as the command runs."""

import argparse
import shlex
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from sandbox import binaries, controlplane
from sandbox.cluster import Cluster, KubectlError
from sandbox.download import ChecksumError
from sandbox.gobuild import BuildError
from sandbox.process import ProcessError
from sandbox.progress import to_stderr


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand, `up` if none is named; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m sandbox", description=__doc__)
    commands = parser.add_subparsers(required=True)
    up = commands.add_parser(
        "up", help="start a cluster, print its kubeconfig and stay until interrupted (the default)"
    )
    up.add_argument("--crds", type=Path, nargs="*", default=[], help="files or folders of definitions to apply first")
    up.set_defaults(run=_up)
    arguments = parser.parse_args((sys.argv[1:] if argv is None else argv) or ["up"])
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        return int(arguments.run(arguments))
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except (binaries.BinaryError, BuildError, ChecksumError, KubectlError, ProcessError) as error:
        to_stderr(f"error: {error}")
        return 1


def _up(arguments: argparse.Namespace) -> int:
    started = time.monotonic()
    to_stderr("starting a control plane")
    with controlplane.cluster(crds=arguments.crds) as cluster:
        to_stderr(f"ready after {time.monotonic() - started:.1f} s; Ctrl-C ends it and removes everything")
        print(_introduction(cluster), flush=True)
        try:
            while True:
                cluster.check()
                time.sleep(1)
        except KeyboardInterrupt:
            return 0


def _introduction(cluster: Cluster) -> str:
    """What to type to use `cluster`, ready to be copied into a shell."""
    kubectl = binaries.ensure("kubectl")["kubectl"]
    command = shlex.quote(str(kubectl))
    lines = [
        f"export KUBECONFIG={shlex.quote(str(cluster.kubeconfig))}",
        f"{command} get namespaces",
        f"{command} auth whoami",
    ]
    if cluster.audit_log:
        lines.append(f"tail -f {shlex.quote(str(cluster.audit_log))}")
    return "\n".join(lines)


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    """Let a SIGTERM unwind like a Ctrl-C."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
