"""Prometheus and promtool, as Debian packages them: looked for, and installed where that is possible."""

import json
import shutil
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from sandbox.process import Process, Supervisor
from sandbox.progress import Say, to_stderr
from sandbox.realnode import packages

NEEDS: Mapping[str, str] = {"/usr/bin/prometheus": "prometheus", "/usr/bin/promtool": "prometheus"}


def find(program: str, say: Say = to_stderr) -> Path | None:
    """Where `prometheus` or `promtool` is, installed first by root; None where it cannot be had, which is said."""
    found = shutil.which(program)
    if found is None and packages.installable():
        try:
            packages.ensure(NEEDS, say)
        except packages.PackageError as error:
            say(str(error))
        found = shutil.which(program)
    if found is None:
        say(f"{program} IS MISSING (Debian package prometheus): what needs it is NOT tried")
    return Path(found) if found else None


class Prometheus:
    """A Prometheus that scrapes some addresses every second."""

    def __init__(
        self, supervisor: Supervisor, program: Path, scrapes: Sequence[Mapping[str, Any]], rules: Path, port: int
    ) -> None:
        """`scrapes` and `rules` as in Prometheus' own configuration."""
        self.address = f"http://127.0.0.1:{port}"
        folder = supervisor.folder / "prometheus"
        folder.mkdir()
        config = {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(rules)],
            "scrape_configs": list(scrapes),
        }
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        self.process: Process = supervisor.start(
            "prometheus",
            [
                program,
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
        )
        self.process.wait_ready(self._is_ready, 30)

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.address}/-/ready", timeout=1) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def query(self, expression: str) -> list[dict[str, Any]]:
        """What an expression is now: its series, each with `metric` and `value`."""
        return self._ask("query", query=expression)

    def range(self, expression: str, start: float, end: float, step: float = 1.0) -> list[dict[str, Any]]:
        """What an expression was over time: its series, each with `metric` and `values`."""
        return self._ask("query_range", query=expression, start=f"{start}", end=f"{end}", step=f"{step}")

    def _ask(self, what: str, **parameters: str) -> list[dict[str, Any]]:
        url = f"{self.address}/api/v1/{what}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
        return found
