"""Images built from Dockerfiles by buildah, on a base made of Debian packages, without a registry or any engine.

    python -m sandbox.realnode.build        # the operator's image, with a table of what is in it

Finished images are docker-archives in the cache folder, named after all that they are made of; layers are kept beside
them, so that a change of the operator's code alone costs seconds. Package registries are those of this machine: what
the environment and pip's configuration say about them, and its certificate authorities, reach a build as secrets.
"""

import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sandbox import paths
from sandbox.process import log_tail
from sandbox.program import ROOT
from sandbox.progress import Say, Stopwatch, to_stderr
from sandbox.realnode import archive, images, packages
from sandbox.realnode.overlays import overlays_work
from sandbox.toolbox import locked

SUITE = "bookworm"
BASE = f"localhost/debian-minbase:{SUITE}"
OPERATOR = "localhost/spacelift-aws-operator"
TOOLS = "localhost/tools"

_TOOLS_FOLDER = Path(__file__).with_name("tools")
_OPERATOR_INPUTS = (
    "Dockerfile",
    ".dockerignore",
    "README.md",
    "LICENSE",
    "pyproject.toml",
    "uv.lock",
    "cli/pyproject.toml",
    "dev/pyproject.toml",
)
_OPERATOR_FOLDERS = ("image", "operator")
_REGISTRY_VARIABLES = (
    "PIP_INDEX_URL",
    "PIP_EXTRA_INDEX_URL",
    "UV_INDEX_URL",
    "UV_DEFAULT_INDEX",
    "UV_INDEX",
    "GOPROXY",
)
_CA_VARIABLES = ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
_SOURCES = f"""deb http://deb.debian.org/debian {SUITE} main
deb http://deb.debian.org/debian {SUITE}-updates main
deb http://deb.debian.org/debian-security {SUITE}-security main
"""


class ImageError(RuntimeError):
    """An image could not be built; the text ends with what the builder said last."""


@dataclass(frozen=True)
class Image:
    """A docker-archive and the name under which a node knows the image that is in it."""

    archive: Path
    reference: str


def operator_image(say: Say = to_stderr) -> Image:
    """The operator's image from the Dockerfile at the top; its tag tells what it is made of."""
    files = [ROOT / name for name in _OPERATOR_INPUTS]
    for folder in _OPERATOR_FOLDERS:
        files += [path for path in (ROOT / folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    return _built(OPERATOR, ROOT / "Dockerfile", ROOT, files, say)


def tools_image(say: Say = to_stderr) -> Image:
    """An image for runs: sh, coreutils, python3 with boto3, and the AWS CLI."""
    return _built(TOOLS, _TOOLS_FOLDER / "Dockerfile", _TOOLS_FOLDER, list(_TOOLS_FOLDER.iterdir()), say)


def _built(name: str, dockerfile: Path, context: Path, files: Iterable[Path], say: Say) -> Image:
    key = _digest(context, files)
    reference = f"{name}:{key}"
    target = images.folder() / f"{name.rpartition('/')[2]}-{key}.tar"
    if target.exists():
        return Image(target, reference)
    packages.ensure({**packages.NODE, **packages.IMAGES}, say)
    images.folder().mkdir(parents=True, exist_ok=True)
    with locked(images.folder() / "build.lock"):
        if not target.exists():
            builder = _Builder(say)
            builder.pull_base()
            builder.build(reference, dockerfile, context)
            builder.export(reference, target)
    return Image(target, reference)


def _digest(context: Path, files: Iterable[Path]) -> str:
    digest = hashlib.sha256(f"{BASE} {_SOURCES} {paths.go_platform()}".encode())
    for file in sorted(files):
        digest.update(f"{file.relative_to(context)} {file.stat().st_mode:o} ".encode())
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:12]


class _Builder:
    """buildah with a storage of its own in the cache folder."""

    def __init__(self, say: Say) -> None:
        self._say = say
        home = paths.cache_folder() / "buildah"
        home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=home) as trial:
            driver = "overlay" if overlays_work(Path(trial)) else "vfs"
        self._buildah = [
            "buildah",
            f"--root={home / driver}",
            f"--runroot={home / 'run'}",
            f"--storage-driver={driver}",
        ]

    def pull_base(self) -> None:
        known = subprocess.run([*self._buildah, "inspect", "--type=image", BASE], capture_output=True)
        if known.returncode != 0:
            self._run(["pull", f"docker-archive:{_base(self._say)}"], "unpacking the base image")

    def build(self, reference: str, dockerfile: Path, context: Path) -> None:
        with tempfile.TemporaryDirectory() as scratch:
            secrets = [f"--secret=id={name},src={path}" for name, path in _registry_secrets(Path(scratch)).items()]
            platform = "/".join(paths.go_platform())
            arguments = [
                "build",
                "--isolation=chroot",
                "--layers",
                "--force-rm",
                "--pull=never",
                f"--platform={platform}",
                f"--build-arg=BASE={BASE}",
                *secrets,
                f"--file={dockerfile}",
                f"--tag={reference}",
                str(context),
            ]
            self._run(arguments, f"building {reference}")

    def export(self, reference: str, target: Path) -> None:
        partial = target.with_name(f"{paths.SCRATCH_PREFIX}{target.name}")
        partial.unlink(missing_ok=True)
        self._run(["push", "--quiet", reference, f"docker-archive:{partial}:{reference}"], f"writing {target.name}")
        partial.replace(target)

    def _run(self, arguments: Sequence[str], what: str) -> None:
        _run([*self._buildah, *arguments], what, self._say)


def _base(say: Say) -> Path:
    """A docker-archive of a small Debian, made by debootstrap; delete it for a newer one."""
    target = images.folder() / f"debian-{SUITE}-{paths.go_platform()[1]}.tar"
    if target.exists():
        return target
    with tempfile.TemporaryDirectory(dir=images.folder(), prefix=paths.SCRATCH_PREFIX) as scratch:
        root, layer = Path(scratch) / "root", Path(scratch) / "layer.tar"
        _run(["debootstrap", "--variant=minbase", SUITE, str(root)], "debootstrap", say)
        (root / "etc/apt/sources.list").write_text(_SOURCES)
        for leftover in ("var/cache/apt/archives", "var/lib/apt/lists"):
            shutil.rmtree(root / leftover, ignore_errors=True)
        (root / "var/lib/apt/lists/partial").mkdir(parents=True)
        (root / "var/cache/apt/archives/partial").mkdir(parents=True)
        excluded = [f"--exclude=./{folder}/*" for folder in ("dev", "proc", "sys")]
        pack = ["tar", "--create", "--numeric-owner", *excluded, f"--file={layer}", f"--directory={root}", "."]
        _run(pack, "packing the base image", say)
        archive.write(target, BASE, layer, command=["sh"])
    return target


def _registry_secrets(scratch: Path) -> Mapping[str, Path]:
    """Files for a build's secrets, by their id: where packages come from here, and who vouches for it."""
    found: dict[str, Path] = {}
    told = {name: os.environ[name] for name in _REGISTRY_VARIABLES if os.environ.get(name)}
    if index := _pip("index-url"):
        told.setdefault("PIP_INDEX_URL", index)
    if told.get("PIP_INDEX_URL"):
        told.setdefault("UV_DEFAULT_INDEX", told["PIP_INDEX_URL"])
    if told:
        found["registry"] = scratch / "registry"
        found["registry"].touch(mode=0o600)
        found["registry"].write_text("".join(f"export {name}={shlex.quote(value)}\n" for name, value in told.items()))
    bundle = next((os.environ[name] for name in _CA_VARIABLES if os.environ.get(name)), None)
    if bundle and Path(bundle).is_file():
        found["ca"] = Path(bundle)
    return found


def _pip(setting: str) -> str:
    """A setting of pip's own configuration files; empty if it is not there."""
    read = [sys.executable, "-m", "pip", "config", "get", f"global.{setting}"]
    return subprocess.run(read, capture_output=True, text=True).stdout.strip()


def _run(argv: Sequence[str], what: str, say: Say) -> None:
    """Run `argv` with a line on how far it is every few seconds; ImageError with its last lines if it fails."""
    say(what)
    watch = Stopwatch(say)
    with tempfile.NamedTemporaryFile("w+", suffix=".log") as log:
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
        try:
            while True:
                try:
                    code = process.wait(timeout=1)
                    break
                except subprocess.TimeoutExpired:
                    last = log_tail(Path(log.name), 1).strip()
                    watch.tick(f"{what}: {last[:100]}")
        finally:
            process.kill()
            process.wait()
        if code != 0:
            raise ImageError(f"{what} failed (exit code {code}):\n{log_tail(Path(log.name), 40)}")


def contents(image: Image) -> dict[str, int]:
    """Bytes of the image's files by top folder of what they are: a table for people."""
    sizes: dict[str, int] = {}
    with tarfile.open(image.archive) as outer:
        for member in outer.getmembers():
            # The links beside the layers are an older form of the same.
            if not member.isfile() or not member.name.endswith(".tar"):
                continue
            layer = outer.extractfile(member)
            with tarfile.open(fileobj=layer) as inner:
                for entry in inner:
                    part = "/".join(entry.name.split("/")[:3])
                    sizes[part] = sizes.get(part, 0) + entry.size
    return sizes


def main() -> None:
    image = operator_image()
    sizes = contents(image)
    for part, size in sorted(sizes.items(), key=lambda item: -item[1])[:8]:
        print(f"{size / 1e6:8.1f} MB  {part}")
    print(f"{sum(sizes.values()) / 1e6:8.1f} MB  {image.reference}, unpacked")
    packed = subprocess.run(f"gzip -6 < {shlex.quote(str(image.archive))} | wc -c", shell=True, capture_output=True)
    print(f"{int(packed.stdout) / 1e6:8.1f} MB  packed, as a registry sends it")
    print(image.archive)


if __name__ == "__main__":
    main()
