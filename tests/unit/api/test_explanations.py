"""Every reason is explained, under its condition, once."""

from enum import StrEnum

import pytest

from spacelift_aws.api.explanations import EXPLANATIONS, explanations_of
from spacelift_aws.api.reasons import (
    ConditionType,
    CredentialsIssuedReason,
    LogsMaskedReason,
    ReadyReason,
    SucceededReason,
    TrustVerifiedReason,
)


@pytest.mark.parametrize(
    ("condition", "reasons"),
    [
        (ConditionType.TRUST_VERIFIED, TrustVerifiedReason),
        (ConditionType.READY, ReadyReason),
        (ConditionType.CREDENTIALS_ISSUED, CredentialsIssuedReason),
        (ConditionType.LOGS_MASKED, LogsMaskedReason),
        (ConditionType.SUCCEEDED, SucceededReason),
    ],
)
def test_each_reason_is_explained_once(condition: ConditionType, reasons: type[StrEnum]) -> None:
    explained = [one.reason for one in EXPLANATIONS if one.condition is condition]
    assert sorted(explained) == sorted(reasons)


def test_no_sentence_breaks_a_table() -> None:
    assert [one for one in EXPLANATIONS if "|" in one.meaning + (one.remedy or "") or one.meaning.endswith(".")] == []


def test_a_word_of_several_conditions_is_explained_for_each() -> None:
    assert [one.condition for one in explanations_of("accessdenied")] == [
        ConditionType.TRUST_VERIFIED,
        ConditionType.CREDENTIALS_ISSUED,
        ConditionType.SUCCEEDED,
    ]
