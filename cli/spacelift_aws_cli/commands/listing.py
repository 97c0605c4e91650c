"""What `runs` and `integrations` share: a table once or as it changes, or a list for programs."""

import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime

from spacelift_aws_cli.following.collection import changes
from spacelift_aws_cli.kube.resources import Resource
from spacelift_aws_cli.model.objects import Object
from spacelift_aws_cli.options import Output, Session
from spacelift_aws_cli.output.console import answer, in_colour, rich_text, say, show
from spacelift_aws_cli.output.documents import written
from spacelift_aws_cli.output.tables import Cell, columns

RowOf = Callable[[Object, datetime], list[Cell]]
EVERY = 1.0
"""Seconds between two drawings of a live table: ages and countdowns go on without any change."""


def list_once(found: Sequence[Object], header: Sequence[str], row: RowOf, output: Output | None, nothing: str) -> None:
    """The table, or with `output` all objects as one List."""
    if output is not None:
        answer({"apiVersion": "v1", "kind": "List", "items": list(found)}, output)
    elif not found:
        say(nothing)
    else:
        now = datetime.now(UTC)
        show(columns(header, [row(one, now) for one in found]))


def watch(
    session: Session,
    resource: Resource,
    namespace: str | None,
    header: Sequence[str],
    row: RowOf,
    output: Output | None,
    **query: str,
) -> None:
    """The table as it changes: drawn anew on a terminal, else a line for each change. Until Ctrl-C."""
    stream = changes(session.client, resource, namespace, say=say, **query)
    if output is not None:
        for _, changed in stream:
            for one in changed:
                sys.stdout.write(("---\n" if output is Output.YAML else "") + written(one, output))
                sys.stdout.flush()
    elif in_colour(sys.stdout):
        _live(stream, header, row)
    else:
        _appended(stream, header, row)


def _appended(stream: Iterable[tuple[object, list[Object]]], header: Sequence[str], row: RowOf) -> None:
    titles: Sequence[str] = header
    for _, changed in stream:
        now = datetime.now(UTC)
        if changed:
            show(columns(titles, [row(one, now) for one in changed]))
            titles = ()


def _live(stream: Iterable[tuple[dict[tuple[str, str], Object], object]], header: Sequence[str], row: RowOf) -> None:
    import threading

    from rich.live import Live
    from rich.text import Text

    known: dict[tuple[str, str], Object] = {}

    def drawn() -> Text:
        now = datetime.now(UTC)
        return rich_text(columns(header, [row(one, now) for _, one in sorted(known.items())]))

    with Live(get_renderable=drawn, refresh_per_second=1 / EVERY, screen=False):
        failure: list[BaseException] = []

        def read() -> None:
            nonlocal known
            try:
                for everything, _ in stream:
                    known = dict(everything)
            except BaseException as error:
                failure.append(error)

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        while reader.is_alive():
            reader.join(EVERY)
        raise failure[0]
