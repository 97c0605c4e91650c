from urllib.parse import parse_qs

import pytest

from spacelift_aws.aws.console import account_settings_url, create_role_url

ID = "demo@team@deploy"


def parameters(url: str) -> dict[str, list[str]]:
    return parse_qs(url.split("?", 1)[1], strict_parsing=True)


def test_the_wizard_is_filled_in() -> None:
    url = create_role_url("arn:aws:iam::111122223333:role/op", ID)
    assert url is not None
    assert url.startswith("https://console.aws.amazon.com/iam/home#/roles/create?")
    assert parameters(url) == {
        "step": ["selectEntities"],
        "trustedEntityType": ["AWS_ACCOUNT"],
        "awsAccount": ["111122223333"],
        "isThirdParty": ["true"],
        "externalId": [ID],
        "policies": ["arn:aws:iam::aws:policy/PowerUserAccess"],
    }


def test_policies_are_names_or_arns_of_the_partition() -> None:
    policies = ("ReadOnlyAccess", "arn:aws:iam::aws:policy/PowerUserAccess", "arn:aws-cn:iam::111122223333:policy/own")
    url = create_role_url("arn:aws-cn:iam::111122223333:role/op", ID, policies)
    assert url is not None
    assert url.startswith("https://console.amazonaws.cn/")
    assert parameters(url)["policies"] == [
        "arn:aws-cn:iam::aws:policy/ReadOnlyAccess",
        "arn:aws-cn:iam::aws:policy/PowerUserAccess",
        "arn:aws-cn:iam::111122223333:policy/own",
    ]


def test_nothing_in_an_external_id_breaks_out_of_its_parameter() -> None:
    url = create_role_url("111122223333", "a&policies=b#c d")
    assert url is not None
    assert parameters(url)["externalId"] == ["a&policies=b#c d"]


@pytest.mark.parametrize("principal", ["arn:aws-iso:iam::111122223333:role/op", "arn:aws:iam::x:role/op", "op"])
def test_no_link_where_the_console_or_the_account_is_unknown(principal: str) -> None:
    assert create_role_url(principal, ID) is None


def test_the_account_settings_page() -> None:
    assert account_settings_url("aws-us-gov") == "https://console.amazonaws-us-gov.com/iam/home#/account_settings"
    assert account_settings_url("aws-iso") is None
