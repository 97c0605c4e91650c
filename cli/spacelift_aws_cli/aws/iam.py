"""IAM and STS as whoever calls. Every failure is a UserError with AWS's own words."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from spacelift_aws_cli.exits import UserError
from spacelift_aws_cli.model.roles import Role


class Iam:
    """Changes roles in the account that the caller's credentials are of."""

    def __init__(self, profile: str | None) -> None:
        """`profile` of the AWS configuration; None for what every SDK finds by itself."""
        try:
            import boto3
        except ImportError:
            raise UserError(
                "This acts in AWS and needs boto3: install `kubectl-spacelift-aws[aws]`, or leave out --apply and run "
                "the commands that are shown."
            ) from None
        with _said():
            session = boto3.Session(profile_name=profile)
            # IAM and STS are global where no region is set.
            region = session.region_name or "us-east-1"
            self._iam = session.client("iam", region_name=region)
            self._sts = session.client("sts", region_name=region)

    def who(self) -> tuple[str, str]:
        """Account and ARN of the caller."""
        with _said():
            answer = self._sts.get_caller_identity()
            return str(answer["Account"]), str(answer["Arn"])

    def create_role(self, role: Role) -> str:
        """The new role's ARN."""
        with _said():
            made = self._iam.create_role(
                RoleName=role.name,
                Path=role.path,
                AssumeRolePolicyDocument=json.dumps(role.trust),
                MaxSessionDuration=role.duration,
                Description="For Runs of the Spacelift AWS operator",
            )
            return str(made["Role"]["Arn"])

    def attach(self, role: str, policy_arn: str) -> None:
        """Attach a managed policy to a role."""
        with _said():
            self._iam.attach_role_policy(RoleName=role, PolicyArn=policy_arn)

    def put_policy(self, role: str, name: str, document: Mapping[str, Any]) -> None:
        """Write an inline policy of a role."""
        with _said():
            self._iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=json.dumps(document))

    def delete_policy(self, role: str, name: str) -> None:
        """Take an inline policy away; one that is not there is no failure."""
        with _said():
            try:
                self._iam.delete_role_policy(RoleName=role, PolicyName=name)
            except self._iam.exceptions.NoSuchEntityException:
                return


@contextmanager
def _said() -> Iterator[None]:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        told = error.response.get("Error", {})
        raise UserError(f"AWS refuses ({told.get('Code')}): {told.get('Message')}") from None
    except BotoCoreError as error:
        raise UserError(f"AWS could not be asked: {error} Look at your AWS credentials, or choose --profile.") from None
