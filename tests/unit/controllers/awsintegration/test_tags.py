"""Which session tags an integration asks for beside the operator's own."""

import pytest

from spacelift_aws.api.awsintegration import SessionTag, TagSource
from spacelift_aws.controllers.awsintegration.tags import further_tags, probed_tags, tag_value

TAGS = (
    SessionTag(key="costcenter", value="4711"),
    SessionTag(key="pipeline", from_=TagSource(label="example.com/pipeline")),
    SessionTag(key="who", from_=TagSource(requester=True)),
)


def test_a_tag_is_fixed_or_from_a_label_or_the_requester() -> None:
    tags = further_tags(TAGS, {"example.com/pipeline": "nightly"}, "jane@example.com")
    assert tags == (("costcenter", "4711"), ("pipeline", "nightly"), ("who", "jane@example.com"))


def test_a_tag_whose_source_is_missing_is_there_and_empty() -> None:
    """A policy may rely on the key."""
    assert further_tags(TAGS, {}, None) == (("costcenter", "4711"), ("pipeline", ""), ("who", ""))


def test_without_tags_there_are_none() -> None:
    assert further_tags(None, {"a": "b"}, "jane") == ()
    assert probed_tags(None, "trust-probe") == ()


def test_a_probe_has_all_keys_and_the_fixed_values() -> None:
    assert probed_tags(TAGS, "probe-1") == (("costcenter", "4711"), ("pipeline", "probe-1"), ("who", "probe-1"))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("system:serviceaccount:ci:deployer", "system:serviceaccount:ci:deployer"),
        ("https://issuer.example.com#jane", "https://issuer.example.com_jane"),
        ("arn:aws:sts::1:assumed-role/a/b@c=d+e", "arn:aws:sts::1:assumed-role/a/b@c=d+e"),
        ("Jürgen Müller", "Jürgen Müller"),
        ("a\tb;c'd", "a_b_c_d"),
        ("x" * 300, "x" * 256),
    ],
)
def test_what_sts_would_not_take_is_replaced_or_cut(name: str, value: str) -> None:
    assert tag_value(name) == value
