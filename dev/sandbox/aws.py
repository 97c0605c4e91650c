"""An emulated AWS on loopback: IAM, STS and CloudFormation of ministack with access control on, and the AWS CLI.

What ministack 1.5.33 with ``AUTH=true`` does, as measured; ``tests/integration/test_aws_emulation.py`` has most of it.

It evaluates, as AWS documents it:
- signatures (also of the ``Host`` header), unknown keys, session tokens and their expiry;
- trust policies: user, role, session, account and ``*`` principals (a role with or without its path), external IDs by
  every string operator and ``IfExists``, ``sts:RoleSessionName``, ``aws:RequestTag/…``, Deny; ``sts:TagSession``;
- web identities: issuer, audience and subject as a role's trust policy wants them, but no signature of a token;
- the caller's identity policy, which a role in another account needs as well as its own trust;
- session policies: they limit the session; malformed JSON or no Statement is ``MalformedPolicyDocument``; an unknown
  managed policy or more than 2,048 characters is a ``ValidationError``. ``AWSDenyAll`` is there because `emulator.py`
  adds it.

It does not:
- look at ``DurationSeconds`` (the role's maximum, role chaining, STS's own bounds) or the form of a session name;
- ask for ``sts:SetSourceIdentity``, nor return the source identity; ask for ``sts:TagSession`` in the caller's policy;
- look at the path or the partition of a role's ARN: the name and the account decide;
- void a trust policy whose principal was deleted and created again, nor know unique IDs (``AIDA…``) as principals;
- check a policy's Version or Action, compute packed sizes (always 0), throttle, or know regions that are off;
- give a response header ``x-amzn-RequestId`` equal to the body's ``RequestId``;
- check a root's secret.

Its texts differ from AWS's here and there: a caller without a policy is told ``because no identity-based policy
allows …``, without the resource; a role that does not exist is ``User: is not authorized …``, without the caller.
For what is missing there is `Aws.faults`.
"""

import json
import os
import re
import shlex
import signal
import sys
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import botocore.session
from botocore.config import Config

from sandbox.faultproxy import FaultProxy
from sandbox.ports import free_port
from sandbox.process import Process, ProcessError, Supervisor
from sandbox.progress import Say, to_stderr
from sandbox.toolbox import only, tool

DEFAULT_REGION = "eu-west-1"
_EMULATOR = Path(__file__).with_name("emulator.py")
_LOOPBACK = "127.0.0.1"
_START_SECONDS = 60.0
_START_ATTEMPTS = 3
_POLICY_NAME = "inline"

Policy = Mapping[str, Any]
"""An IAM policy document, before it becomes JSON."""


@dataclass(frozen=True)
class Identity:
    """Somebody with access keys: an account's root, a user, or (with a session token) an assumed role."""

    arn: str
    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)
    user_id: str = ""
    """IAM's unique ID, ``AIDA…`` of a user."""


class Account:
    """One AWS account, managed as its root. Names are unique within it; a method that meets a name twice raises."""

    def __init__(self, account_id: str, endpoint: str, knows: Callable[[Identity], None]) -> None:
        self.account_id = account_id
        # An access key ID of twelve digits is the root of that account; its secret is never looked at.
        self.root = Identity(f"arn:aws:iam::{account_id}:root", account_id, "root")
        self._knows = knows
        self._iam = client("iam", self.root, endpoint=endpoint)

    def create_user(self, name: str, path: str = "/") -> Identity:
        user = self._iam.create_user(UserName=name, Path=path)["User"]
        key = self._iam.create_access_key(UserName=name)["AccessKey"]
        identity = Identity(user["Arn"], key["AccessKeyId"], key["SecretAccessKey"], user_id=user["UserId"])
        self._knows(identity)
        return identity

    def put_user_policy(self, user: str, policy: Policy, name: str = _POLICY_NAME) -> None:
        self._iam.put_user_policy(UserName=user, PolicyName=name, PolicyDocument=json.dumps(policy))

    def delete_user(self, name: str) -> None:
        """With its keys and inline policies."""
        for key in self._iam.list_access_keys(UserName=name)["AccessKeyMetadata"]:
            self._iam.delete_access_key(UserName=name, AccessKeyId=key["AccessKeyId"])
        for policy in self._iam.list_user_policies(UserName=name)["PolicyNames"]:
            self._iam.delete_user_policy(UserName=name, PolicyName=policy)
        self._iam.delete_user(UserName=name)

    def create_role(self, name: str, trust: Policy, path: str = "/", max_session_duration: int = 3600) -> str:
        """The new role's ARN."""
        role = self._iam.create_role(
            RoleName=name,
            Path=path,
            AssumeRolePolicyDocument=json.dumps(trust),
            MaxSessionDuration=max_session_duration,
        )["Role"]
        return str(role["Arn"])

    def set_trust(self, role: str, trust: Policy) -> None:
        self._iam.update_assume_role_policy(RoleName=role, PolicyDocument=json.dumps(trust))

    def put_role_policy(self, role: str, policy: Policy, name: str = _POLICY_NAME) -> None:
        self._iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=json.dumps(policy))

    def delete_role(self, name: str) -> None:
        """With its inline policies."""
        for policy in self._iam.list_role_policies(RoleName=name)["PolicyNames"]:
            self._iam.delete_role_policy(RoleName=name, PolicyName=policy)
        self._iam.delete_role(RoleName=name)


class Aws:
    """A running emulator. Accounts come into being when they are asked for."""

    def __init__(self, endpoint: str, address: str | None = None) -> None:
        """``address``: what other machines, and pods, call this one; None where nobody but this machine asks."""
        self.endpoint = endpoint
        self.outside = endpoint if address is None else f"http://{address}:{urlsplit(endpoint).port}"
        self._accounts: dict[str, Account] = {}
        self._arns: dict[str, str] = {}

    def account(self, account_id: str) -> Account:
        if not re.fullmatch(r"\d{12}", account_id):
            raise ValueError(f"An account ID has twelve digits: {account_id!r}")
        if account_id not in self._accounts:
            account = Account(account_id, self.endpoint, self._know)
            self._know(account.root)
            self._accounts[account_id] = account
        return self._accounts[account_id]

    def faults(self) -> FaultProxy:
        """A fault proxy in front of this emulator, to be entered by ``with``."""
        return FaultProxy(self.endpoint, self.caller_arn)

    def caller_arn(self, access_key_id: str) -> str | None:
        """Whose an access key is, of the users made here."""
        return self._arns.get(access_key_id)

    def _know(self, identity: Identity) -> None:
        self._arns[identity.access_key_id] = identity.arn

    def client(self, service: str, identity: Identity, region: str = DEFAULT_REGION) -> Any:
        return client(service, identity, region, self.endpoint)

    def assume_role(self, caller: Identity, role_arn: str, session_name: str, **parameters: Any) -> Identity:
        """A session of a role, by one plain call to STS; raises botocore's ``ClientError``."""
        answer = self.client("sts", caller).assume_role(RoleArn=role_arn, RoleSessionName=session_name, **parameters)
        keys, user = answer["Credentials"], answer["AssumedRoleUser"]
        return Identity(
            user["Arn"], keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"], user["AssumedRoleId"]
        )

    def environment(
        self, identity: Identity, region: str = DEFAULT_REGION, endpoint: str | None = None
    ) -> dict[str, str]:
        """Variables for a process that acts as this identity; ``endpoint`` is a fault proxy's, say."""
        variables = {
            **self.place(region, endpoint),
            "AWS_ACCESS_KEY_ID": identity.access_key_id,
            "AWS_SECRET_ACCESS_KEY": identity.secret_access_key,
        }
        if identity.session_token:
            variables["AWS_SESSION_TOKEN"] = identity.session_token
        return variables

    def place(self, region: str = DEFAULT_REGION, endpoint: str | None = None) -> dict[str, str]:
        """Variables that lead any SDK here, without an identity, and away from the user's own files and machine."""
        return {
            "AWS_ENDPOINT_URL": endpoint or self.endpoint,
            "AWS_REGION": region,
            "AWS_DEFAULT_REGION": region,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_PAGER": "",
        }


def client(
    service: str,
    identity: Identity,
    region: str = DEFAULT_REGION,
    endpoint: str | None = None,
    read_timeout: float = 30.0,
) -> Any:
    """A boto3 client that tries once and takes nothing from the user's own configuration."""
    return _session().client(
        service,
        region_name=region,
        endpoint_url=endpoint,
        aws_access_key_id=identity.access_key_id,
        aws_secret_access_key=identity.secret_access_key,
        aws_session_token=identity.session_token,
        config=Config(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=read_timeout, proxies={}),
    )


@cache
def _session() -> Any:
    # A profile named in the environment but not in the files would make every client fail.
    core = botocore.session.Session(session_vars={"profile": (None, None, None, None)})
    core.set_config_variable("config_file", os.devnull)
    core.set_config_variable("credentials_file", os.devnull)
    return boto3.session.Session(botocore_session=core)


def aws_cli(say: Say = to_stderr) -> Path:
    """A folder with the executable ``aws`` and nothing else, installed first if this user never did."""
    return only("aws", tool("awscli", say))


@contextmanager
def start_aws(
    supervisor: Supervisor | None = None, say: Say = to_stderr, *, address: str | None = None
) -> Iterator[Aws]:
    """Runs ministack, installed first if this user never did, until the ``with`` block is left or this process is gone.

    Its state is in memory and ends with it. Raises `ToolError` or `ProcessError`. Without a supervisor it has its own;
    with one, ministack can also be stopped through it, by the name ``ministack``. It listens on loopback, or on
    ``address`` if that is an address of this machine's own.
    """
    python = tool("ministack", say) / "python"
    host = address if address is not None and _is_ours(address) else _LOOPBACK
    if supervisor is None:
        with Supervisor() as own:
            yield Aws(_start(own, python, host)[1], address)
        return
    process, endpoint = _start(supervisor, python, host)
    try:
        yield Aws(endpoint, address)
    finally:
        process.stop(grace=0)


def _start(supervisor: Supervisor, python: Path, host: str) -> tuple[Process, str]:
    """Starts ministack on a free port, and on another one if somebody else was faster to take it."""
    for attempt in range(1, _START_ATTEMPTS + 1):
        # Shown as its version by the health check: the sign that it is ours that answers on the port.
        mark = uuid.uuid4().hex
        port = free_port(host)
        endpoint = f"http://{host}:{port}"
        environment = _emulator_environment(supervisor.folder, host, port, mark)
        process = supervisor.start("ministack", [python, "-I", _EMULATOR], env=environment)
        try:
            process.wait_ready(lambda: _health(endpoint).get("version") == mark, _START_SECONDS)  # noqa: B023 - this round
        except ProcessError:
            if attempt == _START_ATTEMPTS or process.exit_code() is None:
                raise
        else:
            return process, endpoint
    raise AssertionError("unreachable")


def _emulator_environment(folder: Path, host: str, port: int, mark: str) -> dict[str, str]:
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "AUTH": "true",
        "BIND_HOST": host,
        "GATEWAY_PORT": str(port),
        "SERVICES": "iam,sts,s3,cloudformation,cloudtrail",
        # What was called, as CloudTrail tells it.
        "CLOUDTRAIL_RECORDING": "1",
        "MINISTACK_VERSION": mark,
        # Nothing beside the HTTP port, and no look at the user's containers.
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        "DOCKER_HOST": f"unix://{folder}/no-docker.sock",
        "LOG_LEVEL": "WARNING",
        "PYTHONUNBUFFERED": "1",
    }


def _health(endpoint: str) -> dict[str, Any]:
    try:
        with urllib.request.urlopen(f"{endpoint}/_ministack/health", timeout=1) as answer:
            health: dict[str, Any] = json.load(answer)
    except (OSError, ValueError):
        return {}
    return health


def _is_ours(address: str) -> bool:
    """Whether a program can listen on it here. `host.docker.internal`, say, leads here only from inside a pod."""
    try:
        free_port(address)
    except OSError:
        return False
    return True


def main() -> None:
    """``python -m sandbox.aws``: an emulator with an account to act from and one to act in, until interrupted."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit(0))
    with start_aws() as aws:
        operator = aws.account("111111111111").create_user("operator", "/spacelift/")
        target = aws.account("222222222222").root
        for title, identity in (("the user", operator), ("the root", target)):
            print(f"# As {title} {identity.arn}:")
            for name, value in aws.environment(identity).items():
                print(f"export {name}={shlex.quote(value)}")
        print("# Ctrl-C stops it.", flush=True)
        signal.pause()


if __name__ == "__main__":
    main()
