"""The sandbox's certificate authority, as TLS itself sees it."""

import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from sandbox.certificates import Authority, KeyPair, service_account_keys


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def handshake(server: KeyPair, client: KeyPair, trusted: Path, host: str) -> dict[str, object]:
    """What the server learns of the client in a TLS handshake over memory; ssl.SSLError if one refuses the other."""
    accepts = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=trusted)
    accepts.verify_mode = ssl.CERT_REQUIRED
    accepts.load_cert_chain(server.certificate, server.key)
    asks = ssl.create_default_context(cafile=trusted)
    asks.load_cert_chain(client.certificate, client.key)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server_side = accepts.wrap_bio(to_server, to_client, server_side=True)
    client_side = asks.wrap_bio(to_client, to_server, server_hostname=host)
    done: set[ssl.SSLObject] = set()
    for _ in range(10):
        for side in (client_side, server_side):
            try:
                side.do_handshake()
                done.add(side)
            except ssl.SSLWantReadError:
                continue
    assert len(done) == 2
    return dict(server_side.getpeercert() or {})


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_server_and_client_trust_each_other(authority: Authority, host: str) -> None:
    server = authority.server("api", ["127.0.0.1", "localhost"])
    client = authority.client("admin", "someone", ["system:masters", "others"])
    seen = handshake(server, client, authority.certificate, host)
    assert seen["subject"] == (
        (("organizationName", "system:masters"),),
        (("organizationName", "others"),),
        (("commonName", "someone"),),
    )


def test_another_host_is_refused(authority: Authority) -> None:
    server, client = authority.server("api", ["127.0.0.1"]), authority.client("admin", "someone")
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(server, client, authority.certificate, "127.0.0.2")


def test_another_authority_is_refused(authority: Authority, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = Authority(tmp_path / "other")
    with pytest.raises(ssl.SSLError):
        handshake(authority.server("api", ["127.0.0.1"]), other.client("c", "c"), other.certificate, "127.0.0.1")


def test_a_client_certificate_serves_nobody(authority: Authority) -> None:
    client = authority.client("admin", "localhost")
    with pytest.raises(ssl.SSLError):
        handshake(client, client, authority.certificate, "localhost")


def test_keys_are_readable_by_their_owner_only(authority: Authority, tmp_path: Path) -> None:
    service_account_keys(tmp_path)
    authority.client("admin", "someone")
    keys = sorted(tmp_path.glob("*.key"))
    assert [key.name for key in keys] == ["admin.key", "ca.key", "service-accounts.key"]
    assert {key.stat().st_mode & 0o777 for key in keys} == {0o600}


def test_a_node_is_named_as_kubernetes_wants_it(authority: Authority) -> None:
    pair = authority.client("node", "system:node:alpha", ["system:nodes"])
    subject = x509.load_pem_x509_certificate(pair.certificate.read_bytes()).subject
    assert subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == "system:node:alpha"
    assert subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)[0].value == "system:nodes"
