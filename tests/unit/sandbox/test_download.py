"""Released binaries: verified against their checksum, from a server of the test's own."""

import hashlib
import http.server
import io
import socket
import tarfile
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox import download, paths

PROGRAM = b"#!/bin/sh\necho released\n"


def silent(_line: str) -> None:
    """Nobody reads it."""


class Publisher:
    """Serves `files` (path to content) over HTTP and remembers what it was asked for."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.cut_short = 0
        """Bytes that every answer announces but does not send."""
        publisher = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                publisher.asked.append(self.path)
                content = publisher.files.get(self.path)
                self.send_response(200 if content is not None else 404)
                self.send_header("Content-Length", str(len(content or b"") + publisher.cut_short))
                self.end_headers()
                self.wfile.write(content or b"")

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.releases = download.Releases(*[self.url] * 4)


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    publisher = Publisher()
    thread = threading.Thread(target=publisher.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield publisher
    publisher.server.shutdown()
    publisher.server.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def linux(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "go_platform", lambda: ("linux", "amd64"))
    monkeypatch.setattr(download, "_unreachable", set())


def sha256(content: bytes) -> bytes:
    return hashlib.sha256(content).hexdigest().encode()


def fetch(publisher: Publisher, target: Path, version: str = "v1.2.3") -> set[Path]:
    return download.fetch({target: publisher.releases.archive(target.name, version)}, silent)


def test_a_program_with_the_right_checksum_is_kept_and_executable(publisher: Publisher, tmp_path: Path) -> None:
    url = "/v1.2.3/bin/linux/amd64/kubelet"
    publisher.files = {url: PROGRAM, f"{url}.sha256": sha256(PROGRAM)}
    target = tmp_path / "bin" / "kubelet"
    assert fetch(publisher, target) == set()
    assert target.read_bytes() == PROGRAM
    assert target.stat().st_mode & 0o777 == 0o755
    assert list(target.parent.iterdir()) == [target]


def test_a_program_with_another_checksum_is_an_error_and_not_kept(publisher: Publisher, tmp_path: Path) -> None:
    url = "/v1.2.3/bin/linux/amd64/kubelet"
    publisher.files = {url: PROGRAM + b"#", f"{url}.sha256": sha256(PROGRAM)}
    with pytest.raises(download.ChecksumError, match=sha256(PROGRAM).decode()):
        fetch(publisher, tmp_path / "kubelet")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["tar.gz", "zip"])
def test_etcd_is_taken_out_of_its_archive(
    kind: str, publisher: Publisher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = "linux" if kind == "tar.gz" else "darwin"
    monkeypatch.setattr(paths, "go_platform", lambda: (system, "arm64"))
    stem = f"etcd-v3.0.1-{system}-arm64"
    archive = packed(kind, f"{stem}/etcd")
    publisher.files = {
        f"/v3.0.1/{stem}.{kind}": archive,
        "/v3.0.1/SHA256SUMS": b"0" * 64 + b"  etcd-other.zip\n" + sha256(archive) + f"  {stem}.{kind}\n".encode(),
    }
    assert fetch(publisher, tmp_path / "etcd", "v3.0.1") == set()
    assert (tmp_path / "etcd").read_bytes() == PROGRAM


def test_helm_is_taken_out_of_its_archive(publisher: Publisher, tmp_path: Path) -> None:
    archive = packed("tar.gz", "linux-amd64/helm")
    url = "/helm-v4.0.1-linux-amd64.tar.gz"
    listing = sha256(archive) + b"  helm-v4.0.1-linux-amd64.tar.gz\n"
    publisher.files = {url: archive, f"{url}.sha256sum": listing}
    assert fetch(publisher, tmp_path / "helm", "v4.0.1") == set()
    assert (tmp_path / "helm").read_bytes() == PROGRAM


def test_kubeconform_is_taken_out_of_its_archive(publisher: Publisher, tmp_path: Path) -> None:
    archive = packed("tar.gz", "kubeconform")
    publisher.files = {
        "/v0.8.1/kubeconform-linux-amd64.tar.gz": archive,
        "/v0.8.1/CHECKSUMS": sha256(archive) + b"  kubeconform-linux-amd64.tar.gz\n",
    }
    assert fetch(publisher, tmp_path / "kubeconform", "v0.8.1") == set()
    assert (tmp_path / "kubeconform").read_bytes() == PROGRAM


def packed(kind: str, member: str) -> bytes:
    content = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(content, "w") as files:
            files.writestr(member, PROGRAM)
    else:
        with tarfile.open(fileobj=content, mode="w:gz") as files:
            entry = tarfile.TarInfo(member)
            entry.size = len(PROGRAM)
            files.addfile(entry, io.BytesIO(PROGRAM))
    return content.getvalue()


@pytest.mark.parametrize("listing", [b"", b"<html>Please log in</html>", b"0" * 63])
def test_without_a_checksum_nothing_is_downloaded(listing: bytes, publisher: Publisher, tmp_path: Path) -> None:
    url = "/v1.2.3/bin/linux/amd64/kubelet"
    publisher.files = {url: PROGRAM, f"{url}.sha256": listing}
    assert fetch(publisher, tmp_path / "kubelet") == {tmp_path / "kubelet"}
    assert publisher.asked == [f"{url}.sha256"]


def test_a_program_that_is_not_published_is_unavailable(publisher: Publisher, tmp_path: Path) -> None:
    """kube-apiserver is released for Linux only."""
    assert fetch(publisher, tmp_path / "kubelet") == {tmp_path / "kubelet"}
    publisher.files["/v1.2.3/bin/linux/amd64/kubelet.sha256"] = sha256(PROGRAM)
    assert fetch(publisher, tmp_path / "kubelet") == {tmp_path / "kubelet"}


def test_a_download_that_breaks_off_is_unavailable(publisher: Publisher, tmp_path: Path) -> None:
    url = "/v1.2.3/bin/linux/amd64/kubelet"
    publisher.files = {url: PROGRAM, f"{url}.sha256": sha256(PROGRAM)}
    publisher.cut_short = 10
    said: list[str] = []
    target = tmp_path / "kubelet"
    assert download.fetch({target: publisher.releases.archive("kubelet", "v1.2.3")}, said.append) == {target}
    assert said[-1].startswith("cannot download kubelet: ")
    assert list(tmp_path.iterdir()) == []


def test_publishers_that_never_answer_cost_one_short_wait_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "_FIRST_ANSWER", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        base = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        releases = download.Releases(kubernetes=base, etcd=f"{base}/etcd")
        wanted = {tmp_path / name: releases.archive(name, "v1.2.3") for name in ("etcd", "kubelet", "kube-apiserver")}
        started = time.monotonic()
        assert download.fetch(wanted, silent) == set(wanted)
        waited = time.monotonic() - started
        assert download.fetch(wanted, silent) == set(wanted)
        waited_again = time.monotonic() - started - waited
    assert waited < 2
    assert waited_again < 0.2


def test_mirrors_are_named_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SANDBOX_KUBERNETES_RELEASES", "http://mirror.test/k8s/")
    archive = download.Releases.from_environment().archive("kubelet", "v1.2.3")
    assert archive.url == "http://mirror.test/k8s/v1.2.3/bin/linux/amd64/kubelet"
