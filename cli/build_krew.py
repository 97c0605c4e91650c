"""Packs the plugin for krew: `python cli/build_krew.py [FOLDER]` after `build_zipapp.py`, see
https://krew.sigs.k8s.io/docs/developer-guide/plugin-manifest/.

It takes the one file that is in FOLDER. It writes an archive of it, and a manifest with the archive's checksum and its
address among the files of a release. The same file gives the same archive.
"""

import argparse
import gzip
import hashlib
import io
import json
import sys
import tarfile
import tomllib
from collections.abc import Sequence
from pathlib import Path

CLI = Path(__file__).resolve().parent
NAME = "kubectl-spacelift_aws"
LICENSE = "LICENSE"
HOME = "https://github.com/spacelift-io/spacelift-aws-operator"


def build(folder: Path) -> tuple[Path, Path]:
    """Write archive and manifest beside the one file in `folder`; their paths."""
    archive, manifest = folder / f"{NAME}.tar.gz", folder / "spacelift-aws.yaml"
    archive.write_bytes(pack({NAME: (folder / NAME).read_bytes(), LICENSE: (CLI.parent / LICENSE).read_bytes()}))
    # JSON is YAML.
    manifest.write_text(json.dumps(describe(archive), indent=2) + "\n")
    return archive, manifest


def pack(files: dict[str, bytes]) -> bytes:
    """A compressed archive of programs, of no time and nobody."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o755 if name == NAME else 0o644
            archive.addfile(entry, io.BytesIO(content))
    return gzip.compress(packed.getvalue(), mtime=0)


def describe(archive: Path) -> dict[str, object]:
    """The manifest of a plugin that krew installs from this archive of a release."""
    project = tomllib.loads((CLI / "pyproject.toml").read_text())["project"]
    version = f"v{project['version']}"
    platform = {
        "selector": {"matchExpressions": [{"key": "os", "operator": "In", "values": ["darwin", "linux"]}]},
        "uri": f"{HOME}/releases/download/{version}/{archive.name}",
        "sha256": hashlib.sha256(archive.read_bytes()).hexdigest(),
        "files": [{"from": name, "to": "."} for name in (NAME, LICENSE)],
        "bin": NAME,
    }
    return {
        "apiVersion": "krew.googlecontainertools.github.com/v1alpha2",
        "kind": "Plugin",
        "metadata": {"name": "spacelift-aws"},
        "spec": {
            "version": version,
            "homepage": HOME,
            "shortDescription": "Runs with AWS credentials of their own",
            "description": (
                "Creates Runs, which get short-lived AWS credentials of their own, and follows them;\n"
                "shows and verifies the trust of AwsIntegrations; finds the Run behind a session in AWS.\n"
            ),
            "caveats": "It needs Python 3.11 or newer on the PATH, as python3.\n",
            "platforms": [platform],
        },
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Pack what is in the folder that is named."""
    parser = argparse.ArgumentParser(description="Pack the plugin, built as one file, for krew.")
    parser.add_argument("folder", type=Path, nargs="?", default=Path("dist"), help="where it is (%(default)s)")
    for path in build(parser.parse_args(arguments).folder):
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
