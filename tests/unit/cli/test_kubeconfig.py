"""A kubeconfig is read as client-go reads it."""

import base64
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from spacelift_aws_cli.kube.credentials import Credentials
from spacelift_aws_cli.kube.errors import ConfigError, KubeError, api_error
from spacelift_aws_cli.kube.kubeconfig import Access, load


def config(name: str, server: str = "https://one", **more: Any) -> dict[str, Any]:
    """A kubeconfig with one of each."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": {"server": server}}],
        "users": [{"name": name, "user": {"token": f"token-{name}"}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name, "namespace": f"ns-{name}"}}],
        **more,
    }


def test_the_first_file_that_says_something_wins(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    first.write_text(yaml.safe_dump(config("one", **{"current-context": "two"})))
    merged = config("two", "https://two/")
    merged["clusters"] += config("one", "https://never")["clusters"]
    second.write_text(json.dumps({**merged, "current-context": "one"}))
    environment = {"KUBECONFIG": f"{first}:{second}:{tmp_path / 'missing'}"}
    access = load(None, None, environment)
    assert (access.server, access.namespace, access.context) == ("https://two", "ns-two", "two")
    assert load(None, "one", environment).server == "https://one"


def test_paths_are_relative_to_their_file(tmp_path: Path) -> None:
    content = config("one", **{"current-context": "one"})
    content["clusters"][0]["cluster"]["certificate-authority"] = "ca.crt"
    (tmp_path / "config").write_text(json.dumps(content))
    assert load(str(tmp_path / "config"), None, {}).cluster["certificate-authority"] == str(tmp_path / "ca.crt")


@pytest.mark.parametrize(
    ("content", "context", "words"),
    [
        (config("one"), None, "no current context"),
        (config("one"), "other", "no context other: it knows one"),
        ({**config("one", **{"current-context": "one"}), "clusters": []}, None, "no cluster one: it knows none"),
        ({**config("one", **{"current-context": "one"}), "users": []}, None, "no user one"),
    ],
)
def test_what_leads_nowhere_says_so(tmp_path: Path, content: dict[str, Any], context: str | None, words: str) -> None:
    (tmp_path / "config").write_text(json.dumps(content))
    with pytest.raises(ConfigError, match=words):
        load(str(tmp_path / "config"), context, {})


def test_no_kubeconfig_at_all() -> None:
    with pytest.raises(ConfigError, match="There is no kubeconfig"):
        load(None, None, {"KUBECONFIG": "/no/such"})


def access(user: dict[str, Any]) -> Access:
    """An access as this user."""
    return Access({"server": "https://x"}, user, "default", "x")


def test_tokens_certificates_and_passwords(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("one\n")
    of_file = Credentials(access({"tokenFile": str(token)}))
    assert of_file.current().authorization == "Bearer one"
    token.write_text("two")
    assert of_file.current().authorization == "Bearer two"
    data = base64.b64encode(b"PEM").decode()
    pair = Credentials(access({"client-certificate-data": data, "client-key-data": data})).current()
    assert (pair.certificate, pair.key, pair.authorization) == (b"PEM", b"PEM", None)
    basic = Credentials(access({"username": "a", "password": "b"})).current().authorization
    assert basic == "Basic " + base64.b64encode(b"a:b").decode()


def test_a_program_logs_in_and_is_asked_again_when_its_credential_runs_out(tmp_path: Path) -> None:
    counter = tmp_path / "count"
    script = (
        "import json, os, sys\n"
        f"path = {str(counter)!r}\n"
        "open(path, 'a').write('x')\n"
        "assert json.loads(os.environ['KUBERNETES_EXEC_INFO'])['kind'] == 'ExecCredential'\n"
        "print(json.dumps({'status': {'token': os.environ['WORD'] + str(len(open(path).read())),"
        " 'expirationTimestamp': '2020-01-01T00:00:00Z'}}))\n"
    )
    program = {"command": sys.executable, "args": ["-c", script], "env": [{"name": "WORD", "value": "t"}]}
    credentials = Credentials(access({"exec": program}))
    assert credentials.current().authorization == "Bearer t1"
    assert credentials.current().authorization == "Bearer t2"


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ({"command": "no-such-program", "installHint": "get it from us"}, "get it from us"),
        ({"command": sys.executable, "args": ["-c", "raise SystemExit(3)"]}, "ended with 3"),
        ({"command": sys.executable, "args": ["-c", "print(1)"]}, "no ExecCredential"),
    ],
)
def test_a_program_that_fails_is_named(program: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Credentials(access({"exec": program})).current()


@pytest.mark.parametrize(
    ("status", "message", "words"),
    [
        (401, "Unauthorized", "log in again"),
        (403, "runs is forbidden", "Ask an administrator"),
        (403, "admission denied request: bob may not. Bind a Role", "^bob may not. Bind a Role$"),
        (404, "the server could not find the requested resource", "install the operator's chart"),
        (422, "spec.type: Unsupported value", "refuses: spec.type"),
    ],
)
def test_refusals_say_what_to_do(status: int, message: str, words: str) -> None:
    with pytest.raises(KubeError, match=words):
        raise api_error(status, {"message": message}, "/apis/aws.spacelift.io/v1beta1/runs")
