import json

from spacelift_aws.aws import policies
from spacelift_aws.aws.policies import SET_SOURCE_IDENTITY, TAG_SESSION

PRINCIPAL = "arn:aws:iam::111122223333:role/op"
ID = "demo@team@deploy"


def test_the_trust_names_the_principal_and_the_exact_id() -> None:
    assert policies.trust_statement(PRINCIPAL, ID) == {
        "Effect": "Allow",
        "Principal": {"AWS": PRINCIPAL},
        "Action": "sts:AssumeRole",
        "Condition": {"StringEquals": {"sts:ExternalId": ID}},
    }


def test_tags_and_source_identity_bring_their_actions_on_both_sides() -> None:
    extra = policies.session_actions(tags=True, source_identity=True)
    assert extra == (TAG_SESSION, SET_SOURCE_IDENTITY)
    actions = ["sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"]
    assert policies.trust_statement(PRINCIPAL, ID, extra)["Action"] == actions
    assert policies.caller_statement("arn:aws:iam::123456789012:role/deploy", extra)["Action"] == actions


def test_a_new_roles_policy_allows_tags_whether_or_not_sts_tells_the_external_id_for_them() -> None:
    document = policies.trust_policy(PRINCIPAL, ID, (TAG_SESSION,))
    first, second = document["Statement"]
    assert first == policies.trust_statement(PRINCIPAL, ID, (TAG_SESSION,))
    assert second == {"Effect": "Allow", "Principal": {"AWS": PRINCIPAL}, "Action": "sts:TagSession"}


def test_assuming_the_role_always_takes_the_external_id() -> None:
    for extra in ((), (TAG_SESSION,), (TAG_SESSION, SET_SOURCE_IDENTITY)):
        for statement in policies.trust_policy(PRINCIPAL, ID, extra)["Statement"]:
            if "sts:AssumeRole" in statement["Action"]:
                assert statement["Condition"] == {"StringEquals": {"sts:ExternalId": ID}}


def test_the_longest_trust_policy_stays_within_iams_quota() -> None:
    principal = f"arn:aws-us-gov:iam::111122223333:role/{'p' * 510}/{'n' * 64}"
    external_id = f"{'i' * 63}@{'n' * 63}@{'a' * 253}"
    text = policies.readable(policies.trust_policy(principal, external_id, (TAG_SESSION, SET_SOURCE_IDENTITY)))
    assert len("".join(text.split())) < 2048


def test_texts_are_json_and_stable() -> None:
    document = policies.trust_policy(PRINCIPAL, ID)
    assert json.loads(policies.readable(document)) == json.loads(policies.one_line(document)) == document
    assert policies.readable(document) == policies.readable(policies.trust_policy(PRINCIPAL, ID))
    assert "\n" not in policies.one_line(document)


def test_what_follows_the_partition() -> None:
    assert policies.deny_all_arn("aws-cn") == "arn:aws-cn:iam::aws:policy/AWSDenyAll"
    assert policies.role_placeholder("aws-us-gov").startswith("arn:aws-us-gov:iam::")
    assert json.loads(policies.deny_all())["Statement"] == [{"Effect": "Deny", "Action": "*", "Resource": "*"}]
