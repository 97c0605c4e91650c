"""The words that alerts and scripts rely on stay as they are."""

import re
from enum import StrEnum

import pytest

from spacelift_aws.api import reasons

WORDS = {
    reasons.ConditionType: "TrustVerified Ready CredentialsIssued LogsMasked Complete Succeeded Reconciling Stalled",
    reasons.TrustVerifiedReason: "Verified RoleNotSet AccessDenied ExternalIdNotRequired OtherExternalIdAccepted "
    "DurationTooLong TagSessionDenied SourceIdentityDenied RegionDisabled InvalidSessionPolicy NoIdentity "
    "NotVerifiable Retrying",
    reasons.CredentialsIssuedReason: "IntegrationNotFound IntegrationNotReady NotAllowed NoWorker AccessDenied "
    "Retrying WorkerModeIsNamespaced",
    reasons.LogsMaskedReason: "NotAsked NoCommand NoHelper Terminal",
    reasons.SucceededReason: "Finished ContainerFailed OOMKilled Evicted NodeLost PodDeleted DeadlineExceeded "
    "StartingDeadlineExceeded TemplateRefused AccessDenied Stopped ResultUnknown Restored",
}


@pytest.mark.parametrize("group", WORDS, ids=lambda group: group.__name__)
def test_no_word_is_lost(group: type[StrEnum]) -> None:
    assert set(WORDS[group].split()) <= {str(word) for word in group}


@pytest.mark.parametrize("group", [*WORDS, reasons.ReadyReason], ids=lambda group: group.__name__)
def test_every_word_is_one_that_a_condition_may_carry(group: type[StrEnum]) -> None:
    assert all(re.fullmatch("[A-Z][A-Za-z]+", word) for word in group)
