"""`run`: create a Run, follow it to its end, and end as it did."""

import os
import secrets
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spacelift_aws_cli.exits import Exit, UserError
from spacelift_aws_cli.following.attend import attend
from spacelift_aws_cli.kube.errors import KubeError
from spacelift_aws_cli.kube.resources import CONFIG_MAP, RUN
from spacelift_aws_cli.model import manifest, workdir
from spacelift_aws_cli.model.objects import Object, name_of, namespace_of
from spacelift_aws_cli.model.runs import exit_code, integration_of
from spacelift_aws_cli.options import Output, OutputOption, Session
from spacelift_aws_cli.output.console import answer, say
from spacelift_aws_cli.output.documents import parse

if TYPE_CHECKING:
    from spacelift_aws_cli.kube.client import Client

_FLAGS = os.O_RDONLY | os.O_NOFOLLOW


def run(
    session: Session,
    command: Annotated[list[str] | None, typer.Argument(help="What to run, after two dashes.")] = None,
    filename: Annotated[str | None, typer.Option("--filename", "-f", help="A Run in YAML or JSON; - reads it.")] = None,
    integration: Annotated[
        str | None, typer.Option("--integration", "-i", help="The AwsIntegration: NAME or NAMESPACE/NAME.")
    ] = None,
    type_: Annotated[
        str | None, typer.Option("--type", help="Proposed, Tracked, Task (the default), Testing or Destroy.")
    ] = None,
    stack: Annotated[str | None, typer.Option(help="The stack that it belongs to.")] = None,
    image: Annotated[str | None, typer.Option(help="The container's image.")] = None,
    name: Annotated[str | None, typer.Option(help="The Run's name; by default one is made up.")] = None,
    env: Annotated[list[str] | None, typer.Option(help="KEY=VALUE, or KEY for its value here; repeatable.")] = None,
    delivery: Annotated[str | None, typer.Option(help="Environment (the default) or File.")] = None,
    worker_pool: Annotated[str | None, typer.Option(help="The worker pool, in worker mode.")] = None,
    service_account: Annotated[str | None, typer.Option(help="The pod's service account.")] = None,
    ttl: Annotated[int | None, typer.Option(help="Seconds after its end until the Run is deleted.", min=0)] = None,
    folder: Annotated[
        Path | None,
        typer.Option("--dir", help="A folder to begin in, up to 900 KB: a ConfigMap, no Secret."),
    ] = None,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Only create it, and print its name.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be created.")] = False,
    timeout: Annotated[float | None, typer.Option(help="Seconds to wait for its end; it is not stopped then.")] = None,
    output: OutputOption = None,
) -> None:
    """Create a Run and follow it: phases on standard error, logs on standard output, its exit code in the end.

    Ctrl-C stops the Run, a second one leaves it. Needs the rights to create and read Runs, `use` or `propose` on the
    integration, and for logs `get` on `pods/log`; no terminal.
    """
    options = manifest.Options(
        integration=integration,
        type=type_,
        stack=stack,
        image=image,
        name=name,
        delivery=delivery,
        worker_pool=worker_pool,
        service_account=service_account,
        ttl=ttl,
        env=manifest.variables(env or (), os.environ),
        command=command or (),
    )
    wanted = _wanted(options, filename, session)
    files = list(_files(folder)) if folder else []
    source = f"workspace-{secrets.token_hex(5)}"
    if files:
        wanted = workdir.brought_along(wanted, source, files)
    if dry_run:
        answer(wanted, output or Output.YAML)
        return
    made = _create(session.client, wanted, source, files)
    if detach:
        print(name_of(made))
        return
    place, used = integration_of(made)
    say(f"Run {name_of(made)} in namespace {namespace_of(made)}, with AwsIntegration {place}/{used}")
    sys.exit(exit_code(attend(session.client, made, stop_on_interrupt=True, timeout=timeout)))


def _wanted(options: manifest.Options, filename: str | None, session: Session) -> Object:
    if filename is None:
        return manifest.from_options(options, session.namespace)
    try:
        text = sys.stdin.read() if filename == "-" else Path(filename).read_text()
        documents = parse(text)
    except OSError as error:
        raise UserError(f"{filename} cannot be read: {error.strerror}.", Exit.USAGE) from None
    except ValueError as error:
        raise UserError(f"{filename} cannot be understood: {error}.", Exit.USAGE) from None
    return manifest.from_documents(documents, options, session.namespace)


def _files(folder: Path) -> Iterator[workdir.File]:
    """The folder's files, smallest surprise first: what is a link is left out, for it may lead anywhere."""
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder: correct --dir.", Exit.USAGE)
    found = {str(path.relative_to(folder)): path for path in _walk(folder)}
    workdir.check_size({name: path.stat().st_size for name, path in found.items()}, str(folder))
    for name, path in sorted(found.items()):
        with os.fdopen(os.open(path, _FLAGS), "rb") as file:
            executable = bool(os.fstat(file.fileno()).st_mode & stat.S_IXUSR)
            yield workdir.File(name, file.read(), executable)


def _walk(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.is_symlink() or path.name in workdir.LEFT_OUT:
            continue
        if path.is_dir():
            yield from _walk(path)
        elif path.is_file():
            yield path


def _create(client: "Client", wanted: Object, source: str, files: list[workdir.File]) -> Object:
    """The Run first: the ConfigMap belongs to it, and a pod waits for its ConfigMap."""
    made = client.create(RUN, namespace_of(wanted), wanted)
    if not files:
        return made
    try:
        client.create(CONFIG_MAP, namespace_of(made), workdir.config_map(source, files, made))
    except KubeError as error:
        client.patch(RUN, namespace_of(made), name_of(made), {"spec": {"stop": True}})
        raise UserError(f"Run {name_of(made)} is stopped, because its folder could not be sent: {error}") from None
    return made
