"""Tools are installed once, whole or not at all. A shell script plays uv."""

import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sandbox.toolbox import ToolError, only, tool

# `uv venv … HOME` is given the folder last; `uv pip install --python HOME/bin/python …` finds it in its fourth word.
FAKE_UV = """#!/bin/sh
echo "$1" >> "$UV_LOG"
case "$1" in
venv) for home; do :; done; mkdir -p "$home/bin"; touch "$home/bin/python" ;;
pip) [ -z "$UV_FAILS" ] || exit 7; touch "$(dirname "$4")/ministack" ;;
esac
"""


@pytest.fixture
def uv_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    uv = tmp_path / "uv"
    uv.write_text(FAKE_UV)
    uv.chmod(0o755)
    log = tmp_path / "uv.log"
    monkeypatch.setenv("UV", str(uv))
    monkeypatch.setenv("UV_LOG", str(log))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return log


def test_a_tool_is_installed_once_and_says_so(uv_log: Path) -> None:
    said: list[str] = []
    with ThreadPoolExecutor() as pool:
        folders = set(pool.map(lambda _: tool("ministack", said.append), range(4)))
    (folder,) = folders
    assert sorted(entry.name for entry in folder.iterdir()) == ["ministack", "python"]
    assert uv_log.read_text().split() == ["venv", "pip"]
    assert len(said) == 1


def test_an_installation_that_failed_is_begun_anew(uv_log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_FAILS", "yes")
    with pytest.raises(ToolError, match=r"pip install .* exit status 7"):
        tool("ministack", lambda _: None)
    monkeypatch.delenv("UV_FAILS")
    assert (tool("ministack", lambda _: None) / "ministack").exists()
    assert uv_log.read_text().split() == ["venv", "pip"] * 2


def test_a_tool_whose_python_is_gone_is_installed_again(uv_log: Path) -> None:
    (tool("ministack", lambda _: None) / "python").unlink()
    assert (tool("ministack", lambda _: None) / "python").exists()


def test_a_folder_for_one_command(tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("aws", "python"):
        (programs / name).write_text("#!/bin/sh\necho hello\n")
        (programs / name).chmod(0o755)
    folder = only("aws", programs)
    assert list(only("aws", programs).iterdir()) == [folder / "aws"]
    assert subprocess.run([folder / "aws"], capture_output=True, check=True).stdout == b"hello\n"
