"""Builds the plugin as one file: `python cli/build_zipapp.py [FOLDER]` writes `kubectl-spacelift_aws` there.

The file runs wherever there is Python 3.11: everything in it is pure Python, and of boto3 it has the parts for IAM and
STS. It is downloaded as it is, or packed for krew by `build_krew.py`. `SOURCE_DATE_EPOCH` sets the time of its entries,
so that the same sources give the same bytes.

At its first call it unpacks itself into the user's cache folder, because botocore reads its data from files and Python
keeps compiled modules only there; from then on it starts as fast as an installed one.
"""

import argparse
import hashlib
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

CLI = Path(__file__).resolve().parent
NAME = "kubectl-spacelift_aws"
_SERVICES = ("iam", "sts")
_INSTALLERS = ("RECORD", "REQUESTED", "INSTALLER", "direct_url.json", "uv_cache.json", ".lock")
"""What an installer notes about itself."""
_DROPPED = ("bin", "__pycache__", "examples", "tests")

# Python itself reads `__main__.py`; what it unpacks is named after its own content.
_MAIN = """\
import atexit, os, pathlib, shutil, sys, tempfile, zipfile

DIGEST = "@DIGEST@"


def _folder():
    base = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")
    folder = base / "kubectl-spacelift-aws" / DIGEST
    try:
        if (folder / "complete").exists() and folder.stat().st_uid == os.getuid():
            return folder
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        partial = _unpacked(folder.parent)
        partial.rename(folder)
        return folder
    except OSError:
        # No cache that can be used, or somebody was faster: unpacked for this call alone.
        partial = _unpacked(None)
        atexit.register(shutil.rmtree, partial, True)
        return partial


def _unpacked(parent):
    partial = pathlib.Path(tempfile.mkdtemp(dir=parent))
    with zipfile.ZipFile(sys.argv[0]) as archive:
        archive.extractall(partial)
    (partial / "complete").touch()
    return partial


if sys.version_info < (3, 11):
    sys.exit("kubectl spacelift-aws needs Python 3.11 or newer, and this is " + sys.version.split()[0])
sys.path.insert(0, str(_folder() / "lib"))
if pathlib.Path(sys.argv[0]).name.startswith("kubectl_complete"):
    from spacelift_aws_cli.completion import main
else:
    from spacelift_aws_cli.main import main
main()
"""


def build(target: Path, uv: Sequence[str] = ("uv",)) -> Path:
    """Write the file into the folder `target`; its path."""
    with tempfile.TemporaryDirectory() as temporary:
        lib = Path(temporary) / "lib"
        wheel(Path(temporary), uv)
        built = next(Path(temporary).glob("*.whl"))
        requirements = Path(temporary) / "requirements.txt"
        export = ("export", "--quiet", "--locked", "--package", "kubectl-spacelift-aws", "--extra", "aws", "--no-dev")
        with requirements.open("w") as file:
            subprocess.run([*uv, *export, "--no-emit-workspace"], cwd=CLI, check=True, stdout=file)
        where = ("--target", str(lib), "--python-version", "3.11", "--only-binary", ":all:")
        for what in (("--no-deps", str(built)), ("--no-deps", "--require-hashes", "-r", str(requirements))):
            subprocess.run([*uv, "pip", "install", "--quiet", *where, *what], check=True)
        trim(lib)
        return pack(lib, target)


def wheel(folder: Path, uv: Sequence[str] = ("uv",)) -> None:
    """Build the plugin's wheel into a folder."""
    subprocess.run([*uv, "build", "--quiet", "--wheel", "--out-dir", str(folder), str(CLI)], check=True)


def trim(lib: Path) -> None:
    """Leave out what is compiled for one platform, and the data of the services that are not used."""
    for path in sorted(lib.rglob("*"), reverse=True):
        if path.is_dir() and path.name in _DROPPED:
            shutil.rmtree(path)
        elif path.suffix in (".so", ".pyd", ".pyc") or path.name in _INSTALLERS:
            path.unlink()
    for data in (lib / "botocore" / "data", lib / "boto3" / "data"):
        for service in data.iterdir():
            if service.is_dir() and service.name not in _SERVICES:
                shutil.rmtree(service)


def pack(lib: Path, target: Path) -> Path:
    """The folder as one executable file, the same for the same content."""
    moment = time.gmtime(int(os.environ.get("SOURCE_DATE_EPOCH", "315532800")))[:6]
    files = [(str(Path("lib") / path.relative_to(lib)), path.read_bytes()) for path in _files(lib)]
    digest = hashlib.sha256()
    for name, content in files:
        digest.update(name.encode() + b"\0" + hashlib.sha256(content).digest())
    target.mkdir(parents=True, exist_ok=True)
    file = target / NAME
    with file.open("wb") as out:
        out.write(b"#!/usr/bin/env python3\n")
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            main = _MAIN.replace("@DIGEST@", digest.hexdigest()[:16]).encode()
            for name, content in [("__main__.py", main), *files]:
                entry = zipfile.ZipInfo(name, moment)
                entry.compress_type = zipfile.ZIP_DEFLATED
                entry.external_attr = 0o644 << 16
                archive.writestr(entry, content)
    file.chmod(file.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
    return file


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file())


def main(arguments: Sequence[str] | None = None) -> int:
    """Build into the folder that is named."""
    parser = argparse.ArgumentParser(description="Build the plugin as one file.")
    parser.add_argument("folder", type=Path, nargs="?", default=Path("dist"), help="where (%(default)s)")
    parser.add_argument("--uv", default="uv", help="the uv to use (%(default)s)")
    options = parser.parse_args(arguments)
    uv = str(Path(options.uv).resolve()) if Path(options.uv).exists() else options.uv
    file = build(options.folder, (uv,))
    print(f"{file}: {file.stat().st_size:,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
