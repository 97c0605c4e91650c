"""One file a command. Each reads through `kube/`, decides in `model/`, and shows through `output/`."""

import typer

from spacelift_aws_cli.commands.create_role import create_role
from spacelift_aws_cli.commands.doctor import doctor
from spacelift_aws_cli.commands.explain import explain
from spacelift_aws_cli.commands.get import get
from spacelift_aws_cli.commands.integrations import integrations
from spacelift_aws_cli.commands.logs import logs
from spacelift_aws_cli.commands.rerun import rerun
from spacelift_aws_cli.commands.revoke import revoke
from spacelift_aws_cli.commands.run import run
from spacelift_aws_cli.commands.runs import runs
from spacelift_aws_cli.commands.stop import stop
from spacelift_aws_cli.commands.trace import trace
from spacelift_aws_cli.commands.trust import trust
from spacelift_aws_cli.commands.trust_policy import trust_policy
from spacelift_aws_cli.commands.wait import wait
from spacelift_aws_cli.options import on_cluster

RUNS = "Runs"
TRUST = "Integrations and their roles"
CLUSTER = "The cluster"

_PANELS = {
    RUNS: (run, runs, get, logs, stop, rerun, wait, trace, revoke),
    TRUST: (integrations, trust, trust_policy, create_role),
    CLUSTER: (doctor,),
}


def register(app: typer.Typer) -> None:
    """Add every command to the program."""
    for panel, commands in _PANELS.items():
        for command in commands:
            app.command(rich_help_panel=panel)(on_cluster(command))
    # Needs no cluster.
    app.command(rich_help_panel=CLUSTER)(explain)
