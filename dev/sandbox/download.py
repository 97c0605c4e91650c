"""Released binaries from their publishers, verified against the published SHA-256 before anybody can run them."""

import concurrent.futures
import contextlib
import hashlib
import http.client
import os
import re
import shutil
import tarfile
import tempfile
import threading
import urllib.error
import urllib.request
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import IO

from sandbox import paths
from sandbox.progress import Say, Stopwatch

_FIRST_ANSWER = 3.0
"""Seconds that all publishers together have for their first answer; then this machine counts as cut off from them."""
_STALLED = 30.0
_CHUNK = 1 << 20

_unreachable: set[str] = set()
"""Base URLs that gave no first answer: one command asks each of them once."""


class ChecksumError(RuntimeError):
    """What was downloaded is not what its publisher says it is. It was not kept."""


@dataclass(frozen=True)
class Archive:
    """Where a released program is. `member` is its path inside an archive; None: `url` is the program itself."""

    base: str
    url: str
    checksums: str
    member: str | None = None


@dataclass(frozen=True)
class Releases:
    """The base URLs of the publishers; mirrors and tests set others by the environment variables named here."""

    kubernetes: str = "https://dl.k8s.io"
    """`SANDBOX_KUBERNETES_RELEASES`"""
    etcd: str = "https://github.com/etcd-io/etcd/releases/download"
    """`SANDBOX_ETCD_RELEASES`"""
    helm: str = "https://get.helm.sh"
    """`SANDBOX_HELM_RELEASES`"""
    kubeconform: str = "https://github.com/yannh/kubeconform/releases/download"
    """`SANDBOX_KUBECONFORM_RELEASES`"""

    @classmethod
    def from_environment(cls) -> "Releases":
        named = {field.name: os.environ.get(f"SANDBOX_{field.name.upper()}_RELEASES") for field in fields(cls)}
        return cls(**{name: url.rstrip("/") for name, url in named.items() if url})

    def archive(self, name: str, version: str) -> Archive:
        """Where `name` is published in `version` for this machine."""
        system, processor = paths.go_platform()
        match name:
            case "etcd":
                stem = f"etcd-{version}-{system}-{processor}"
                suffix = "tar.gz" if system == "linux" else "zip"
                release = f"{self.etcd}/{version}"
                return Archive(self.etcd, f"{release}/{stem}.{suffix}", f"{release}/SHA256SUMS", f"{stem}/etcd")
            case "helm":
                url = f"{self.helm}/helm-{version}-{system}-{processor}.tar.gz"
                return Archive(self.helm, url, f"{url}.sha256sum", f"{system}-{processor}/helm")
            case "kubeconform":
                release = f"{self.kubeconform}/{version}"
                url = f"{release}/kubeconform-{system}-{processor}.tar.gz"
                return Archive(self.kubeconform, url, f"{release}/CHECKSUMS", "kubeconform")
            case _:
                url = f"{self.kubernetes}/{version}/bin/{system}/{processor}/{name}"
                return Archive(self.kubernetes, url, f"{url}.sha256")


def fetch(wanted: Mapping[Path, Archive], say: Say) -> set[Path]:
    """Download each program to its path, verified; the set of paths that could not be had this way.

    An unreachable publisher costs a few seconds once, however many programs are wanted. Raises ChecksumError.
    """
    checksums = _checksums(wanted)
    unavailable = set(wanted) - set(checksums)
    for target, checksum in checksums.items():
        try:
            _download(wanted[target], checksum, target, say)
        except (OSError, KeyError, http.client.HTTPException) as error:
            say(f"cannot download {target.name}: {error}")
            unavailable.add(target)
    return unavailable


def _checksums(wanted: Mapping[Path, Archive]) -> dict[Path, str]:
    """The published checksums of those programs whose publisher answers in time.

    Name resolution knows no time-out, so the questions are asked by threads that nobody waits for in the end.
    """
    answers: dict[Path, concurrent.futures.Future[str]] = {}
    for target, archive in wanted.items():
        if archive.base not in _unreachable:
            answers[target] = concurrent.futures.Future()
            threading.Thread(target=_ask, args=(archive, answers[target]), daemon=True).start()
    done, _ = concurrent.futures.wait(answers.values(), timeout=_FIRST_ANSWER)
    _unreachable.update(wanted[target].base for target, answer in answers.items() if answer not in done)
    return {target: answer.result() for target, answer in answers.items() if answer in done and answer.result()}


def _ask(archive: Archive, answer: "concurrent.futures.Future[str]") -> None:
    """Settle `answer` with the checksum of `archive`; with an empty text if there is none to be had."""
    try:
        with urllib.request.urlopen(archive.checksums, timeout=_FIRST_ANSWER) as response:
            listing = response.read(_CHUNK).decode("ascii", "replace")
        answer.set_result(_checksum_of(archive.url.rpartition("/")[2], listing))
    except urllib.error.HTTPError:
        answer.set_result("")
    except (OSError, ValueError, http.client.HTTPException):
        _unreachable.add(archive.base)
        answer.set_result("")


def _checksum_of(file: str, listing: str) -> str:
    """The SHA-256 of `file` in `listing`: lines of `<hex>  <file>`, or one bare `<hex>`; "" if it is not there."""
    for line in listing.splitlines():
        match = re.fullmatch(r"([0-9a-f]{64})(?:\s+\*?(\S+))?", line.strip())
        if match and match[2] in (None, file):
            return match[1]
    return ""


def _download(archive: Archive, checksum: str, target: Path, say: Say) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=paths.SCRATCH_PREFIX) as scratch:
        body = Path(scratch) / "body"
        actual = _read(archive.url, body, target.name, say)
        if actual != checksum:
            raise ChecksumError(f"{archive.url} has the SHA-256 {actual}, but its publisher says {checksum}")
        program = Path(scratch) / target.name
        if archive.member is None:
            body.rename(program)
        else:
            _extract(body, archive.member, program)
        program.chmod(0o755)
        program.replace(target)


def _read(url: str, target: Path, name: str, say: Say) -> str:
    """Read `url` into the file `target`; its SHA-256 in hexadecimal."""
    digest = hashlib.sha256()
    size = 0
    watch = Stopwatch(say, every=3)
    say(f"downloading {name} from {url}")
    with urllib.request.urlopen(url, timeout=_STALLED) as response, target.open("wb") as file:
        while chunk := response.read(_CHUNK):
            file.write(chunk)
            digest.update(chunk)
            size += len(chunk)
            watch.tick(f"downloading {name}: {size >> 20} MB")
        expected = response.headers.get("Content-Length")
    if expected is not None and size != int(expected):
        raise OSError(f"the connection ended after {size} of {expected} bytes")
    return digest.hexdigest()


def _extract(archive: Path, member: str, target: Path) -> None:
    """Take one file out of a verified .tar.gz or .zip; OSError or KeyError if it is not in there."""
    content: IO[bytes] | None
    with target.open("wb") as file, contextlib.ExitStack() as opened:
        if zipfile.is_zipfile(archive):
            content = opened.enter_context(zipfile.ZipFile(archive)).open(member)
        else:
            content = opened.enter_context(tarfile.open(archive)).extractfile(member)
        if content is None:
            raise OSError(f"{member} is not a file")
        shutil.copyfileobj(opened.enter_context(content), file)
