"""The options that every command shares, and how a command gets from them to a cluster.

A command is a function whose first parameter is a `Session`; `on_cluster` gives it `--context`, `--namespace` and the
others instead, so that each is declared once.
"""

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from spacelift_aws_cli.kube.client import Client

CLUSTER = "Which cluster, and as whom"


class Output(StrEnum):
    """How an answer is written."""

    JSON = "json"
    YAML = "yaml"


@dataclass(frozen=True)
class Target:
    """The shared options as they were given."""

    namespace: str | None = None
    context: str | None = None
    kubeconfig: str | None = None
    as_user: str | None = None
    as_group: tuple[str, ...] = ()


class Session:
    """One cluster for one command. Nothing is read before it is needed."""

    def __init__(self, target: Target) -> None:
        self._target = target

    @functools.cached_property
    def client(self) -> "Client":
        """The API server, as whoever calls. HTTP and TLS are loaded here: `--help` needs neither."""
        from spacelift_aws_cli.kube.client import Client
        from spacelift_aws_cli.kube.kubeconfig import load

        target = self._target
        groups = {"Impersonate-Group": list(target.as_group)} if target.as_group else {}
        user = {"Impersonate-User": [target.as_user]} if target.as_user else {}
        return Client(load(target.kubeconfig, target.context), {**user, **groups})

    @property
    def namespace(self) -> str:
        """The namespace that is meant: the option's, else the context's."""
        return self._target.namespace or self.client.access.namespace


_Namespace = Annotated[
    str | None, typer.Option("--namespace", "-n", help="Namespace; by default the context's.", rich_help_panel=CLUSTER)
]
_Context = Annotated[str | None, typer.Option("--context", help="Context of the kubeconfig.", rich_help_panel=CLUSTER)]
_Kubeconfig = Annotated[
    str | None, typer.Option("--kubeconfig", help="Kubeconfig to use; else KUBECONFIG.", rich_help_panel=CLUSTER)
]
_AsUser = Annotated[str | None, typer.Option("--as", help="User to impersonate.", rich_help_panel=CLUSTER)]
_AsGroup = Annotated[
    list[str] | None, typer.Option("--as-group", help="Group to impersonate; repeatable.", rich_help_panel=CLUSTER)
]
_SHARED: dict[str, Any] = {
    "namespace": _Namespace,
    "context": _Context,
    "kubeconfig": _Kubeconfig,
    "as_user": _AsUser,
    "as_group": _AsGroup,
}

OutputOption = Annotated[Output | None, typer.Option("--output", "-o", help="Write json or yaml instead.")]
AllNamespaces = Annotated[bool, typer.Option("--all-namespaces", "-A", help="Look in all namespaces.")]


def on_cluster(command: Callable[..., None]) -> Callable[..., None]:
    """The command with the shared options in place of its first parameter."""
    signature = inspect.signature(command, eval_str=True)
    own = list(signature.parameters.values())[1:]
    shared = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
        for name, annotation in _SHARED.items()
        if name not in signature.parameters
    ]

    @functools.wraps(command)
    def run(**given: Any) -> None:
        options = {parameter.name: given.pop(parameter.name) for parameter in shared}
        options["as_group"] = tuple(options.get("as_group") or ())
        command(Session(Target(**options)), **given)

    parameters = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in own] + shared
    vars(run)["__signature__"] = signature.replace(parameters=parameters)
    run.__annotations__ = {one.name: one.annotation for one in parameters}
    del vars(run)["__wrapped__"]
    return run
