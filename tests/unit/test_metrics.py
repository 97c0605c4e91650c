"""What the metrics are called, and that nothing stays of what is gone."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox import metricsdoc
from spacelift_aws import metrics
from spacelift_aws.metrics import Gauges


@pytest.fixture(autouse=True)
def nothing_counted() -> Iterator[None]:
    yield
    metrics.RUNS_ENDED.clear()


def scraped() -> list[tuple[str, ...]]:
    """The labels of all ended Runs."""
    return [tuple(sample.labels.values()) for family in metrics.RUNS_ENDED.collect() for sample in family.samples]


@pytest.mark.parametrize("page", metricsdoc.PAGES, ids=lambda path: path.name)
def test_the_pages_say_what_the_code_says(page: Path) -> None:
    assert page.read_text() == metricsdoc.wanted(page), "run `python -m sandbox.metricsdoc`"


def test_every_name_follows_the_conventions() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| (.*?) \|", metrics.reference(), re.MULTILINE)
    assert len(rows) > 30
    for name, kind, labels in rows:
        assert name.startswith("spacelift_aws_")
        assert (kind == "counter") == name.endswith("_total")
        if kind == "histogram":
            assert name.endswith("_seconds")
        # A label with a value for each Run would grow without end.
        assert not {"run", "name", "run_id", "pod", "uid"} & set(re.findall(r"`(\w+)`", labels))


def test_what_was_counted_of_a_gone_integration_goes_too() -> None:
    for integration in ("prod", "gone", ""):
        metrics.RUNS_ENDED.labels("team", integration, "Task", "Finished").inc()
    metrics.forget_unless(lambda namespace, integration: integration != "gone")
    assert [labels[:2] for labels in scraped()] == [("team", "prod"), ("team", "")]


def test_gauges_count_and_keep_the_least() -> None:
    gauges = Gauges()
    for value in (5.0, 3.0, 4.0):
        gauges.add(metrics.CREDENTIALS_LIVE, "team", "prod")
        gauges.least(metrics.EARLIEST_EXPIRY, value, "team", "prod")
    values = {family.name: [sample.value for sample in family.samples] for family in gauges.families()}
    assert values == {metrics.CREDENTIALS_LIVE.full_name: [3.0], metrics.EARLIEST_EXPIRY.full_name: [3.0]}
