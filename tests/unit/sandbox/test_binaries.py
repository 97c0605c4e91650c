"""Where the programs of a control plane are looked for, in which order, and what happens when they are nowhere."""

import threading
import time
from pathlib import Path

import pytest

from sandbox import binaries, download, gobuild
from sandbox.paths import MODULES, binary_folder

NOWHERE = download.Releases(*["http://127.0.0.1:9"] * 4)


def program(path: Path, text: str = "#!/bin/sh\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.fixture(autouse=True)
def empty_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No cached program, no variable of envtest's, no memory of publishers that did not answer."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("KUBEBUILDER_ASSETS", "TEST_ASSET_ETCD", "TEST_ASSET_KUBECTL", "TEST_ASSET_KUBE_APISERVER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(download, "_unreachable", set())


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The packages of every build asked for; each build writes small programs instead."""
    asked: list[list[str]] = []

    def build(module: Path, targets: dict[Path, str], linker_flags: str, say: object) -> None:
        asked.append(list(targets.values()))
        for target in targets:
            program(target)

    monkeypatch.setattr(gobuild, "build", build)
    return asked


def test_nothing_is_found_on_an_empty_machine() -> None:
    assert binaries.find("etcd") is None


def test_the_cache_is_found() -> None:
    cached = program(binary_folder(binaries.ETCD_VERSION) / "etcd")
    assert binaries.find("etcd") == cached


def test_the_assets_folder_wins_over_the_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program(binary_folder(binaries.ETCD_VERSION) / "etcd")
    asset = program(tmp_path / "assets" / "etcd")
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path / "assets"))
    assert binaries.find("etcd") == asset


def test_a_program_missing_in_the_assets_folder_is_looked_for_further(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """envtest's folder has no kube-controller-manager."""
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path))
    cached = program(binary_folder(binaries.KUBERNETES_VERSION) / "kube-controller-manager")
    assert binaries.find("kube-controller-manager") == cached


def test_a_named_asset_wins_over_the_assets_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program(tmp_path / "assets" / "kube-apiserver")
    named = program(tmp_path / "mine" / "apiserver")
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path / "assets"))
    monkeypatch.setenv("TEST_ASSET_KUBE_APISERVER", str(named))
    assert binaries.find("kube-apiserver") == named


def test_a_named_asset_that_is_no_program_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TEST_ASSET_ETCD", str(tmp_path / "etcd"))
    with pytest.raises(binaries.BinaryError, match="TEST_ASSET_ETCD"):
        binaries.ensure("etcd")


def test_kubectl_comes_with_its_wheel() -> None:
    assert binaries.ensure("kubectl")["kubectl"].is_file()


def test_only_what_is_asked_for_is_built_and_only_once(builds: list[list[str]]) -> None:
    said: list[str] = []
    found = binaries.ensure("kube-apiserver", "etcd", releases=NOWHERE, say=said.append)
    again = binaries.ensure("etcd", "kube-apiserver", releases=NOWHERE, say=said.append)
    assert sorted(builds) == [["."], ["k8s.io/kubernetes/cmd/kube-apiserver"]]
    assert found == again


def test_two_commands_at_once_build_once(builds: list[list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    quick = gobuild.build

    def slow(*arguments: object) -> None:
        time.sleep(0.2)  # long enough for the other to ask for the lock meanwhile
        quick(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(gobuild, "build", slow)
    commands = [
        threading.Thread(target=binaries.ensure, args=("etcd",), kwargs={"releases": NOWHERE, "say": lambda _: None})
        for _ in range(3)
    ]
    for command in commands:
        command.start()
    for command in commands:
        command.join()
    assert builds == [["."]]


def test_what_a_killed_command_left_unfinished_is_removed(builds: list[list[str]]) -> None:
    folder = binary_folder(binaries.ETCD_VERSION)
    program(folder / ".partial-abc" / "etcd")
    binaries.ensure("etcd", releases=NOWHERE, say=lambda _: None)
    assert [path.name for path in folder.iterdir()] == ["etcd"]


def test_an_unknown_program_is_an_error() -> None:
    with pytest.raises(binaries.BinaryError, match="kube-proxy"):
        binaries.ensure("kube-proxy")


def test_the_pinned_modules_are_of_the_versions_that_the_cache_is_named_after() -> None:
    kubernetes = (MODULES / "kubernetes" / "go.mod").read_text()
    assert f"k8s.io/kubernetes {binaries.KUBERNETES_VERSION}" in kubernetes
    assert f"=> k8s.io/api {binaries.KUBERNETES_VERSION.replace('v1.', 'v0.')}\n" in kubernetes
    assert f"go.etcd.io/etcd/server/v3 {binaries.ETCD_VERSION}" in (MODULES / "etcd" / "go.mod").read_text()


class TestGo:
    """Which Go builds."""

    @pytest.fixture
    def module(self, tmp_path: Path) -> Path:
        (tmp_path / "module").mkdir()
        (tmp_path / "module" / "go.mod").write_text("module example\n\ngo 1.26.0\n")
        return tmp_path / "module"

    @pytest.mark.parametrize("version", ["go1.26.0", "go1.26.8 X:nodwarf5", "go1.30.1"])
    def test_the_one_on_the_path_if_it_is_new_enough(
        self, module: Path, version: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        go = program(tmp_path / "bin" / "go", f"#!/bin/sh\necho '{version}'\n")
        monkeypatch.setenv("PATH", str(go.parent))
        assert gobuild.find_go(module, lambda _: None) == go

    @pytest.mark.parametrize("script", ["echo go1.25.9", "exit 3"])
    def test_else_the_one_of_the_wheel(
        self, module: Path, script: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        go = program(tmp_path / "bin" / "go", f"#!/bin/sh\n{script}\n")
        monkeypatch.setenv("PATH", f"{go.parent}:/usr/bin:/bin")
        home = tmp_path / "cache" / "spacelift-aws" / "go-1.27.3"
        # Stands for uv: `venv … HOME` and `pip install --python HOME/bin/python …`.
        uv = program(
            tmp_path / "bin" / "uv",
            f'#!/bin/sh\n[ "$1" = pip ] || exit 0\nmkdir -p {home}/lib/python3.11/site-packages/go/bin\n'
            f"touch {home}/lib/python3.11/site-packages/go/bin/go\n",
        )
        monkeypatch.setenv("UV", str(uv))
        (tmp_path / "cache" / "spacelift-aws").mkdir(parents=True)
        assert gobuild.find_go(module, lambda _: None).is_relative_to(home)

    def test_without_any_the_error_says_what_is_missing(
        self, module: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.delenv("UV", raising=False)
        with pytest.raises(gobuild.BuildError, match="neither a Go"):
            gobuild.find_go(module, lambda _: None)

    def test_a_failed_build_shows_the_last_lines_and_leaves_nothing(
        self, module: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        script = '#!/bin/sh\n[ "$1" = env ] && echo go1.26.8 && exit\necho undefined: frobnicate >&2\nexit 1\n'
        monkeypatch.setenv("PATH", f"{program(tmp_path / 'bin' / 'go', script).parent}:/usr/bin:/bin")
        target = tmp_path / "out" / "etcd"
        with pytest.raises(gobuild.BuildError, match="undefined: frobnicate"):
            gobuild.build(module, {target: "."}, "", lambda _: None)
        assert list(target.parent.iterdir()) == []
