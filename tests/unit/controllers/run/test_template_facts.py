"""What is kept of a template: little, once, and no longer than it is needed."""

import tracemalloc
from typing import Any

import pytest

from spacelift_aws.api.run import Run
from spacelift_aws.controllers.run import template_facts, template_rules
from spacelift_aws.controllers.run.template_facts import facts_of, trimmed, with_template
from spacelift_aws.controllers.stores import Stores


def big(kit: Any, number: int = 0, size: int = 200_000, **status: Any) -> Run:
    variables = [{"name": f"V{index}", "value": "x" * 40} for index in range(size // 60)]
    pod = {"containers": [{"name": "main", "image": "i", "env": variables}]}
    metadata = {"name": f"run-{number}", "uid": f"uid-{number}"}
    run: Run = kit.run(pod=pod, metadata=metadata, status=status)
    return run


def test_a_small_template_comes_back_as_it_was(kit: Any) -> None:
    run = kit.run(template={"metadata": {"labels": {"a": "b"}}}, pod={"containers": [{"name": "main", "image": "ü"}]})
    facts = facts_of(run, None)
    assert facts.raw is not None
    assert with_template(trimmed(run), facts.raw) == run
    assert trimmed(run).spec.template.spec is None


@pytest.mark.parametrize(("phase", "kept"), [("Queued", True), ("Preparing", False), ("Running", False)])
def test_it_is_kept_until_the_pod_is_made(kit: Any, phase: str, kept: bool) -> None:
    facts = facts_of(kit.run(status={"phase": phase}), None)
    assert (facts.raw is not None) is kept
    assert facts.credentialed == ("main",)


def test_an_ended_run_keeps_nothing(kit: Any) -> None:
    stores = Stores()
    stores.put_run(kit.run())
    ended = kit.run(status={"phase": "Finished"}, metadata={"resourceVersion": "2"})
    stores.put_run(ended)
    assert stores.template_of(ended) == template_facts.TemplateFacts()


def test_a_copy_of_the_object_in_an_annotation_is_not_kept(kit: Any) -> None:
    annotations = {"kubectl.kubernetes.io/last-applied-configuration": "x" * 100_000, "mine": "y"}
    assert trimmed(kit.run(metadata={"annotations": annotations})).metadata.annotations == {"mine": "y"}


def test_hundreds_of_large_templates_cost_little_memory(kit: Any) -> None:
    stores = Stores()
    tracemalloc.start()
    try:
        for number in range(8):
            stores.put_run(big(kit, number))
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size / 8 < 50_000, "bytes a Run whose template has 200,000"


def test_a_template_is_looked_through_once(kit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[Any] = []
    refusal = template_rules.refusal

    def counted(spec: Any, **parts: Any) -> str | None:
        looked.append(spec)
        return refusal(spec, **parts)

    monkeypatch.setattr(template_rules, "refusal", counted)
    stores = Stores()
    for version in range(1, 9):
        stores.put_run(kit.run(metadata={"resourceVersion": str(version)}))
    assert len(looked) == 1


def test_what_is_nested_without_end_or_too_large_is_refused(kit: Any) -> None:
    deep: Any = {}
    for _ in range(9_000):
        deep = {"x": deep}
    pod = {"containers": [{"name": "main", "x": deep}]}
    assert "nested" in (facts_of(kit.run(pod=pod), None).refusal or "")
    assert "bytes, and at most" in (facts_of(big(kit, size=2_000_000), None).refusal or "")
