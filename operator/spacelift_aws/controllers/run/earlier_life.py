"""Runs that come back: from a backup, as a copy, or by a tool that makes again what is gone. Pure.

A Run is executed once. What was executed bears the mark of it from its end on: an annotation with its run ID, which no
other Run has. Whoever makes the object anew, in this cluster or another, gets an object with another ID.
"""

from collections.abc import Mapping
from typing import Any

from spacelift_aws.api.run import Run
from spacelift_aws.names import ANNOTATION_ENDED, LABEL_NO_BACKUP, OWN_PREFIX

_TRACKED_BY: Mapping[str, str] = {
    # https://argo-cd.readthedocs.io/en/stable/user-guide/resource_tracking/
    "argocd.argoproj.io/tracking-id": "Argo CD",
    "argocd.argoproj.io/instance": "Argo CD",
    # https://fluxcd.io/flux/components/kustomize/kustomizations/#role-based-access-control, and of HelmReleases
    "kustomize.toolkit.fluxcd.io/name": "Flux",
    "helm.toolkit.fluxcd.io/name": "Flux",
}
"""Labels and annotations by which a tool knows what it is to keep in being."""

_HOOKS = ("argocd.argoproj.io/hook", "helm.sh/hook")
"""What is made for one synchronisation or release, and not made again because it is gone."""


def restored(run: Run, run_id: str) -> str | None:
    """Why this Run is not executed: it was before. None where it bears no other Run's mark."""
    mark = run.metadata.annotations.get(ANNOTATION_ENDED)
    if mark is None or mark == run_id:
        return None
    return (
        f"This Run was restored or copied: its annotation {ANNOTATION_ENDED} comes from an earlier Run. To execute it "
        f"again, create it without annotations under {OWN_PREFIX}."
    )


def mark(run: Run, run_id: str) -> dict[str, Any] | None:
    """The change of an ended Run's metadata that marks it, and has backups leave it out; None where it is marked."""
    metadata = run.metadata
    if metadata.annotations.get(ANNOTATION_ENDED) is not None and metadata.labels.get(LABEL_NO_BACKUP) == "true":
        return None
    # Of a Run that came back the first mark stays.
    value = metadata.annotations.get(ANNOTATION_ENDED, run_id)
    return {
        "metadata": {
            "uid": metadata.uid,
            "annotations": {ANNOTATION_ENDED: value},
            "labels": {LABEL_NO_BACKUP: "true"},
        }
    }


def kept_by(run: Run) -> str | None:
    """The tool that would make this Run again if its time to live deleted it; None where there is none."""
    return tracked_by({**run.metadata.labels, **run.metadata.annotations})


def tracked_by(known: Mapping[str, str]) -> str | None:
    """The same by a Run's labels and annotations."""
    if any(key in known for key in _HOOKS):
        return None
    return next((tool for key, tool in _TRACKED_BY.items() if key in known), None)
