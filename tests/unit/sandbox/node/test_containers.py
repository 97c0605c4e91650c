"""Processes under the keeper: how they start and end, and that nothing of them stays."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from sandbox.node.containers import Launch, Runtime, StartFailed

ENV = {"PATH": os.defpath}


@pytest.fixture
async def runtime() -> AsyncIterator[Runtime]:
    async with Runtime() as runtime:
        yield runtime


def launch(runtime: Runtime, *argv: str, name: str = "c", env: dict[str, str] | None = None) -> Launch:
    return Launch(name, argv, env or ENV, runtime.folder, runtime.folder / f"{name}.log")


def shell(runtime: Runtime, script: str, name: str = "c") -> Launch:
    return launch(runtime, "sh", "-c", script, name=name)


@pytest.mark.parametrize(("script", "code"), [("exit 0", 0), ("exit 3", 3), ("kill -KILL $$", -signal.SIGKILL)])
async def test_exit_codes(runtime: Runtime, script: str, code: int) -> None:
    assert await (await runtime.start(shell(runtime, script))).exited == code


async def test_output_goes_to_the_log_and_the_environment_is_what_was_given(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INHERITED", "no")
    what = launch(
        runtime, "sh", "-c", "env; echo err >&2", env={**ENV, "BYTES": b"\xff".decode(errors="surrogateescape")}
    )
    await (await runtime.start(what)).exited
    lines = what.log.read_bytes().splitlines()
    assert b"BYTES=\xff" in lines
    assert b"err" in lines
    assert not any(line.startswith(b"INHERITED") for line in lines)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["no-such-command"], 'exec: "no-such-command": executable file not found in $PATH'),
        (["/No/such"], 'exec: "/No/such": stat /No/such: no such file or directory'),
        (["./plain"], 'exec: "./plain": permission denied'),
        (["./garbage"], 'exec: "./garbage": exec format error'),
        (["echo", "\0"], "invalid argument: a NUL byte in the command or the environment"),
    ],
)
async def test_what_cannot_be_started(runtime: Runtime, argv: list[str], message: str) -> None:
    (runtime.folder / "plain").write_text("")
    garbage = runtime.folder / "garbage"
    garbage.write_bytes(b"\x7fnot a program")
    garbage.chmod(0o700)
    with pytest.raises(StartFailed) as failure:
        await runtime.start(launch(runtime, *argv))
    assert str(failure.value) == message


async def test_the_end_of_the_first_process_ends_the_container(runtime: Runtime) -> None:
    """A child in the background, one that left the session, and a child of that one."""
    script = (
        "sleep 1001 & setsid sh -c 'echo $$ > detached; sleep 1002 & sleep 1003' & while ! [ -s detached ]; do :; done"
    )
    other = await runtime.start(launch(runtime, "sleep", "1004", name="other"))
    container = await runtime.start(shell(runtime, script))
    assert await container.exited == 0
    assert sleeping(runtime) == {"1004"}
    other.send(signal.SIGTERM)
    assert await other.exited == -signal.SIGTERM


async def test_a_detached_process_lives_as_long_as_its_container(runtime: Runtime) -> None:
    container = await runtime.start(shell(runtime, "setsid sleep 1001 & sleep 1002"))
    another = await runtime.start(shell(runtime, "exit 0", name="another"))
    await another.exited
    await eventually(lambda: sleeping(runtime) == {"1001", "1002"})
    container.send(signal.SIGKILL)
    await container.exited
    assert sleeping(runtime) == set()


async def test_signals_reach_the_whole_group(runtime: Runtime) -> None:
    container = await runtime.start(shell(runtime, "trap 'exit 7' TERM; sleep 1000"))
    # A shell that is told while it starts the sleep would see it to its end first.
    await eventually(lambda: sleeping(runtime) == {"1000"})
    container.send(signal.SIGTERM)
    assert await container.exited == 7
    container.send(signal.SIGTERM)  # too late, and harmless


async def test_leaving_kills_everything_and_removes_the_folder() -> None:
    async with Runtime() as runtime:
        await runtime.start(shell(runtime, "trap '' TERM; setsid sleep 1001 & sleep 1002"))
        await eventually(lambda: sleeping(runtime) == {"1001", "1002"})
    assert sleeping(runtime) == set()
    assert not runtime.folder.exists()


async def test_the_death_of_the_keeper_is_noticed_and_takes_first_processes_along() -> None:
    async with Runtime() as runtime:
        await runtime.start(launch(runtime, "sleep", "1001"))
        os.kill(runtime.keeper_pid, signal.SIGKILL)
        await asyncio.wait_for(runtime.ended.wait(), 5)
        await eventually(lambda: sleeping(runtime) == set())
    assert not runtime.folder.exists()


def test_secrets_are_not_shown() -> None:
    assert "hush" not in repr(Launch("c", ["true"], {"TOKEN": "hush"}, Path(), Path()))


def sleeping(runtime: Runtime) -> set[str]:
    """What the `sleep`s that run in the runtime's folder were told."""
    found = set()
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdigit() and (process / "cwd").readlink() == runtime.folder:
                words = (process / "cmdline").read_bytes().split(b"\0")
                found |= {words[1].decode()} if words[0] == b"sleep" else set()
        except OSError:
            continue
    return found


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - the process table sends no events
            await asyncio.sleep(0.01)
