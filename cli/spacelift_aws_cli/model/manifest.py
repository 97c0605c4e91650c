"""The Run that `run` creates, from a file or from options. Raises UserError for what makes no Run."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from spacelift_aws.api import API_VERSION
from spacelift_aws_cli.exits import Exit, UserError
from spacelift_aws_cli.model.references import split

IMAGES = {
    "terraform": "hashicorp/terraform:1.13",
    "tofu": "ghcr.io/opentofu/opentofu:1.10",
    "aws": "public.ecr.aws/aws-cli/aws-cli:latest",
}
"""The images of commands that have one of their own."""

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
OWN = "aws.spacelift.io/"


@dataclass(frozen=True)
class Options:
    """What the command line says about a Run. None and empty: nothing."""

    integration: str | None = None
    type: str | None = None
    stack: str | None = None
    image: str | None = None
    name: str | None = None
    delivery: str | None = None
    worker_pool: str | None = None
    service_account: str | None = None
    ttl: int | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    command: Sequence[str] = ()


def variables(given: Sequence[str], environment: Mapping[str, str]) -> dict[str, str]:
    """`KEY=VALUE`, or `KEY` alone for the value that it has here, as `docker run --env` has it."""
    found = {}
    for one in given:
        key, equals, value = one.partition("=")
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", key):
            raise UserError(f"`--env {key}` is no variable: write KEY=VALUE, or KEY for its value here.", Exit.USAGE)
        if not equals and key not in environment:
            raise UserError(f"`--env {key}` has no value here: write {key}=VALUE.", Exit.USAGE)
        found[key] = value if equals else environment[key]
    return found


def from_options(options: Options, namespace: str) -> dict[str, Any]:
    """A Run of one container."""
    if not options.integration:
        raise UserError("Say which AwsIntegration to use: --integration NAME, or a Run from --filename.", Exit.USAGE)
    if not options.command:
        raise UserError("Say what to run after two dashes: `-- terraform plan`.", Exit.USAGE)
    container: dict[str, Any] = {
        "name": _container_name(options.command[0]),
        "image": options.image or _image_of(options.command[0]),
        "command": list(options.command),
    }
    if options.env:
        container["env"] = [{"name": key, "value": value} for key, value in options.env.items()]
    pod: dict[str, Any] = {"containers": [container]}
    if options.service_account:
        pod["serviceAccountName"] = options.service_account
    name = split(options.integration, namespace)[1]
    metadata = {"name": options.name} if options.name else {"generateName": f"{name}-"}
    return {
        "apiVersion": API_VERSION,
        "kind": "Run",
        "metadata": {**metadata, "namespace": namespace},
        "spec": {**_spec(options, namespace), "template": {"spec": pod}},
    }


def from_documents(documents: Sequence[Any], options: Options, namespace: str) -> dict[str, Any]:
    """The one Run of a file, with the options written over it. Other kinds in the file are refused, not left out."""
    run = documents[0] if len(documents) == 1 else None
    if not isinstance(run, dict) or run.get("kind") != "Run":
        raise UserError(f"The file has to hold one Run and nothing else; it holds {_kinds(documents)}.", Exit.USAGE)
    if options.command or options.image or options.env or options.service_account:
        raise UserError("A file brings its own template: leave out --image, --env and the command.", Exit.USAGE)
    metadata = dict(run.get("metadata") or {})
    place = metadata.get("namespace", namespace)
    if place != namespace:
        raise UserError(f"The file says namespace {place}: give --namespace {place}, or correct it.", Exit.USAGE)
    spec = {**(run.get("spec") or {}), **_spec(options, namespace)}
    if options.name:
        metadata = {**metadata, "name": options.name}
        metadata.pop("generateName", None)
    if not metadata.get("name") and not metadata.get("generateName"):
        metadata["generateName"] = f"{(spec.get('integrationRef') or {}).get('name', 'run')}-"
    return {**run, "metadata": {**metadata, "namespace": namespace}, "spec": spec}


def again(run: Mapping[str, Any], name: str | None = None) -> dict[str, Any]:
    """A new Run of the same spec. What happened to the old one, its being stopped included, does not come along."""
    old = run["metadata"]
    spec = {key: value for key, value in run["spec"].items() if key != "stop"}
    stem = old.get("generateName") or re.sub(r"-rerun-[a-z0-9]{5}$", "", str(old["name"]))[:220] + "-rerun-"
    metadata: dict[str, Any] = {"name": name} if name else {"generateName": stem}
    for kind in ("labels", "annotations"):
        kept = {key: value for key, value in (old.get(kind) or {}).items() if not _is_of_the_old_one(key)}
        if kept:
            metadata[kind] = kept
    return {
        "apiVersion": API_VERSION,
        "kind": "Run",
        "metadata": {**metadata, "namespace": old["namespace"]},
        "spec": spec,
    }


def _is_of_the_old_one(key: str) -> bool:
    return key == LAST_APPLIED or key.startswith(OWN)


def _spec(options: Options, namespace: str) -> dict[str, Any]:
    """The fields of the spec that options name."""
    said: dict[str, Any] = {
        "type": options.type,
        "stack": options.stack,
        "workerPool": options.worker_pool,
        "delivery": options.delivery,
        "ttlSecondsAfterFinished": options.ttl,
    }
    if options.integration:
        place, name = split(options.integration, namespace)
        said["integrationRef"] = {"name": name, **({"namespace": place} if place != namespace else {})}
    return {key: value for key, value in said.items() if value is not None}


def _image_of(command: str) -> str:
    if command in IMAGES:
        return IMAGES[command]
    known = ", ".join(f"`{one}`" for one in IMAGES)
    raise UserError(f"Say which image holds `{command}`: --image; only {known} have a default.", Exit.USAGE)


def _container_name(command: str) -> str:
    word = re.sub(r"[^a-z0-9]+", "-", command.rsplit("/", 1)[-1].lower()).strip("-")
    return word[:63].rstrip("-") or "main"


def _kinds(documents: Sequence[Any]) -> str:
    kinds = [str(one.get("kind", "an object without a kind")) if isinstance(one, dict) else "text" for one in documents]
    return ", ".join(kinds) or "nothing"
