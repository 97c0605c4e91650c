import pytest

from spacelift_aws.aws.arns import CallerArn, ParsedRoleArn, account_of, parse_caller_arn, parse_role_arn, partition_of


@pytest.mark.parametrize(
    ("text", "role"),
    [
        ("arn:aws:iam::123456789012:role/deploy", ParsedRoleArn("aws", "123456789012", "/", "deploy")),
        ("arn:aws-cn:iam::123456789012:role/a/b/deploy", ParsedRoleArn("aws-cn", "123456789012", "/a/b/", "deploy")),
        ("arn:aws-us-gov:iam::123456789012:role/x", ParsedRoleArn("aws-us-gov", "123456789012", "/", "x")),
        ("arn:aws:iam::123456789012:user/deploy", None),
        ("arn:aws:iam::12345:role/deploy", None),
        ("arn:aws:iam::123456789012:role/", None),
        ("arn:aws:iam::123456789012:role/path/", None),
        ("arn:other:iam::123456789012:role/deploy", None),
        ("", None),
    ],
)
def test_role_arns(text: str, role: ParsedRoleArn | None) -> None:
    assert parse_role_arn(text) == role
    assert role is None or str(role) == text


@pytest.mark.parametrize(
    ("text", "caller"),
    [
        pytest.param(
            "arn:aws:sts::111122223333:assumed-role/op/pod-1",
            CallerArn("aws", "111122223333", "arn:aws:iam::111122223333:role/op", "op"),
            id="a session stands for its role",
        ),
        pytest.param(
            "arn:aws:iam::111122223333:user/path/alice",
            CallerArn("aws", "111122223333", "arn:aws:iam::111122223333:user/path/alice", None),
            id="a user stands for itself",
        ),
        pytest.param(
            "arn:aws-cn:iam::111122223333:root",
            CallerArn("aws-cn", "111122223333", "arn:aws-cn:iam::111122223333:root", None),
            id="so does root",
        ),
        pytest.param("arn:aws:sts::111122223333:assumed-role/op", None, id="a session without a name is none"),
        pytest.param("nonsense", None, id="nonsense"),
    ],
)
def test_caller_arns(text: str, caller: CallerArn | None) -> None:
    assert parse_caller_arn(text) == caller


@pytest.mark.parametrize(
    ("arn", "account", "partition"),
    [
        ("arn:aws:iam::111122223333:role/op", "111122223333", "aws"),
        ("arn:aws-cn:iam::111122223333:root", "111122223333", "aws-cn"),
        ("111122223333", "111122223333", "aws"),
        ("arn:aws:iam::aws:policy/AWSDenyAll", None, "aws"),
        ("someone", None, "aws"),
    ],
)
def test_account_and_partition(arn: str, account: str | None, partition: str) -> None:
    assert (account_of(arn), partition_of(arn)) == (account, partition)
