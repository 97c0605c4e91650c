"""Ratios of pairs: what the machine does to both sides of a pair does not show."""

import pytest

from sandbox.bench import pairs, result


def test_what_slows_both_sides_of_a_pair_does_not_show() -> None:
    slowed_by = [1.0, 5.0, 2.0, 1.0, 9.0, 3.0, 1.0]
    found = pairs.ratio([80 / times for times in slowed_by], [100 / times for times in slowed_by])
    assert found.median == pytest.approx(0.8)
    assert found.spread == pytest.approx(0)
    assert found.worthless is None


def test_it_says_when_it_is_worthless() -> None:
    few = pairs.ratio([1.0] * 3, [2.0] * 3)
    assert "only 3 pairs" in str(few)
    wild = pairs.ratio([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0], [4.0] * 7)
    assert wild.worthless is not None
    assert "too busy" in str(wild)


def test_pairs_have_two_sides() -> None:
    with pytest.raises(ValueError, match="shorter"):
        pairs.ratio([1.0, 2.0], [1.0])


def test_percentiles_are_values_that_were_measured() -> None:
    values = [float(number) for number in range(1, 101)]
    assert (result.percentile(values, 0.5), result.percentile(values, 0.99)) == (51, 100)
    assert result.percentile([3.0], 0.99) == 3
