"""Why STS cannot be reached, as boto3 itself fails: the message names the cause and what to look at."""

import ssl
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import boto3.session
import pytest
from botocore.config import Config

from spacelift_aws.aws.errors import Failure, StsError, classify


def told(endpoint: str, **options: object) -> StsError:
    """What becomes of a call to this endpoint."""
    config = Config(connect_timeout=2, read_timeout=2, retries={"total_max_attempts": 1}, **options)
    keys = {"aws_access_key_id": "AKIA", "aws_secret_access_key": "x"}
    try:
        client = boto3.session.Session().client(
            "sts", region_name="eu-west-1", endpoint_url=endpoint, config=config, **keys
        )
        client.get_caller_identity()
    except Exception as error:
        return classify(error)
    raise AssertionError("it was reached")


@pytest.fixture(scope="module")
def untrusted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server whose certificate nobody trusts."""
    folder: Path = tmp_path_factory.mktemp("tls")
    key, certificate = folder / "key.pem", folder / "cert.pem"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    new = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*new, *subject], check=True, capture_output=True)
    server = HTTPServer(("localhost", 0), BaseHTTPRequestHandler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"https://localhost:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_refused_connection() -> None:
    failure = told("http://127.0.0.1:9")
    assert failure.kind is Failure.RETRYING
    assert "STS could not be reached: the connection was refused" in failure.message
    assert "network policies" in failure.message


def test_a_name_that_does_not_resolve() -> None:
    failure = told("http://sts.nowhere.invalid")
    assert "its name could not be resolved" in failure.message
    assert "AWS_REGION" in failure.message


def test_a_certificate_that_is_not_trusted(untrusted: str) -> None:
    failure = told(untrusted)
    assert "its certificate is not trusted: " in failure.message
    assert "AWS_CA_BUNDLE" in failure.message


def test_a_bundle_that_is_not_there(untrusted: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "missing.pem"))
    assert "the file that AWS_CA_BUNDLE names does not exist" in told(untrusted).message


def test_a_proxy_that_does_not_answer(untrusted: str) -> None:
    failure = told(untrusted, proxies={"https": "http://user:geheim@127.0.0.1:9"})
    assert "the proxy that HTTPS_PROXY names does not answer" in failure.message
    assert "geheim" not in str(failure)
