"""Builds the helper that masks what a run prints, from `operator/mask`."""

from pathlib import Path

from sandbox import gobuild, paths
from sandbox.program import ROOT
from sandbox.progress import Say, to_stderr

MODULE = ROOT / "operator" / "mask"


def build(say: Say = to_stderr) -> Path:
    """The path of the helper as its source is now; in a second, if Go has built it before."""
    target = paths.binary_folder("mask") / "spacelift-aws-mask"
    gobuild.build(MODULE, {target: "."}, "", say)
    return target
