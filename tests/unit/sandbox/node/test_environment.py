"""Variables and command lines, as the kubelet makes them."""

from typing import Any

import pytest

from sandbox.node.environment import Place, Source, SourceMissing, command_line, expand, hostname, resolve, sources

POD: dict[str, Any] = {
    "metadata": {
        "name": "web",
        "namespace": "team-a",
        "uid": "u-1",
        "labels": {"app.kubernetes.io/name": "shop"},
        "annotations": {"note": "hello"},
    },
    "spec": {"serviceAccountName": "runner"},
}
PLACE = Place("node-1", "127.0.0.1")


def resolved(container: dict[str, Any], found: Any = None) -> dict[str, str]:
    return resolve(container, POD, found or {}, PLACE)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("$(A)", "1"),
        ("x$(A)y$(B)z", "x1y2z"),
        ("$(MISSING)", "$(MISSING)"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"),
        ("$A", "$A"),
        ("$(A", "$(A"),
        ("end$", "end$"),
        ("end$$", "end$"),
        ("$()", "$()"),
        ("$($(A))", "$($(A))"),
    ],
)
def test_expansion(text: str, expected: str) -> None:
    assert expand(text, {"A": "1", "B": "2"}) == expected


def test_an_expanded_value_is_not_expanded_again() -> None:
    assert expand("$(A)", {"A": "$(B)", "B": "2"}) == "$(B)"


def test_command_and_args_are_one_expanded_line() -> None:
    container = {"command": ["sh", "-c"], "args": ["echo $(A)", "$$(A)"]}
    assert command_line(container, {"A": "1"}) == ["sh", "-c", "echo 1", "$(A)"]


def test_later_sources_win_and_env_wins_over_them_all() -> None:
    container = {
        "envFrom": [
            {"configMapRef": {"name": "defaults"}},
            {"secretRef": {"name": "credentials"}},
            {"prefix": "P_", "configMapRef": {"name": "defaults"}},
        ],
        "env": [{"name": "B", "value": "env"}, {"name": "SUM", "value": "$(A)-$(B)-$(P_A)"}],
    }
    found = {
        ("configmap", "defaults"): {"A": "default", "B": "default", "C": "default"},
        ("secret", "credentials"): {"A": "secret"},
    }
    assert resolved(container, found) == {
        "A": "secret",
        "B": "env",
        "C": "default",
        "P_A": "default",
        "P_B": "default",
        "P_C": "default",
        "SUM": "secret-env-default",
    }


def test_an_empty_value_overrides() -> None:
    container = {"envFrom": [{"secretRef": {"name": "s"}}], "env": [{"name": "A", "value": ""}, {"name": "B"}]}
    assert resolved(container, {("secret", "s"): {"A": "1", "B": "2"}}) == {"A": "", "B": ""}


def test_fields_of_the_pod() -> None:
    paths = {
        "NAME": "metadata.name",
        "NAMESPACE": "metadata.namespace",
        "UID": "metadata.uid",
        "LABEL": "metadata.labels['app.kubernetes.io/name']",
        "ANNOTATION": "metadata.annotations['note']",
        "NO_LABEL": "metadata.labels['missing']",
        "NODE": "spec.nodeName",
        "ACCOUNT": "spec.serviceAccountName",
        "IP": "status.podIP",
    }
    container = {"env": [{"name": n, "valueFrom": {"fieldRef": {"fieldPath": p}}} for n, p in paths.items()]}
    assert resolved(container) == {
        "NAME": "web",
        "NAMESPACE": "team-a",
        "UID": "u-1",
        "LABEL": "shop",
        "ANNOTATION": "hello",
        "NO_LABEL": "",
        "NODE": "node-1",
        "ACCOUNT": "runner",
        "IP": "127.0.0.1",
    }


@pytest.mark.parametrize(
    ("container", "message"),
    [
        ({"envFrom": [{"secretRef": {"name": "s"}}]}, 'secret "s" not found'),
        ({"envFrom": [{"configMapRef": {"name": "c"}}]}, 'configmap "c" not found'),
        (
            {"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]},
            'secret "s" not found',
        ),
        (
            {"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "there", "key": "k"}}}]},
            "couldn't find key k in Secret team-a/there",
        ),
        (
            {"env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "there", "key": "k"}}}]},
            "couldn't find key k in ConfigMap team-a/there",
        ),
    ],
)
def test_what_is_missing_is_said_in_the_kubelets_words(container: dict[str, Any], message: str) -> None:
    found = {source: {"other": "x"} if source[1] == "there" else None for source in sources(container)}
    with pytest.raises(SourceMissing, match=f"^{message}$"):
        resolved(container, found)


def test_what_is_optional_and_missing_leaves_its_variables_out() -> None:
    container = {
        "envFrom": [
            {"secretRef": {"name": "s", "optional": True}},
            {"configMapRef": {"name": "c", "optional": True}},
        ],
        "env": [
            {"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k", "optional": True}}},
            {"name": "B", "valueFrom": {"configMapKeyRef": {"name": "there", "key": "k", "optional": True}}},
            {"name": "C", "value": "$(A)"},
        ],
    }
    found: dict[Source, dict[str, str] | None] = {
        ("secret", "s"): None,
        ("configmap", "c"): None,
        ("configmap", "there"): {},
    }
    assert sources(container) == set(found)
    assert resolved(container, found) == {"C": "$(A)"}


def test_hostname() -> None:
    assert hostname(POD) == "web"
    assert hostname({**POD, "spec": {"hostname": "other"}}) == "other"
    assert hostname({"metadata": {"name": "a" * 62 + ".b"}, "spec": {}}) == "a" * 62
