"""Kubeconfig files."""

import base64
from pathlib import Path

import yaml

from sandbox import kubeconfig
from sandbox.certificates import Authority


def test_a_kubeconfig_holds_everything_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    pair = authority.client("admin", "someone")
    path = tmp_path / "some.kubeconfig"
    for _ in range(2):
        written = kubeconfig.write(
            path,
            cluster=kubeconfig.cluster_entry("https://127.0.0.1:1", authority.certificate),
            user=kubeconfig.client_certificate(pair),
            name="someone",
            namespace="team",
        )
    assert written == path
    assert path.stat().st_mode & 0o777 == 0o600
    config = yaml.safe_load(path.read_text())
    assert config["current-context"] == config["contexts"][0]["name"] == config["users"][0]["name"] == "someone"
    assert config["contexts"][0]["context"]["namespace"] == "team"
    assert base64.b64decode(config["users"][0]["user"]["client-key-data"]) == pair.key.read_bytes()
    assert config["clusters"][0]["cluster"]["server"] == "https://127.0.0.1:1"
