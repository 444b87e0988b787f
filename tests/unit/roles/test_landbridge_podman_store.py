"""Module landbridge_podman_store: which stores may become which."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.roles.modules import Runner, load


class Host:
    """A host with a storage.conf and a store, and the module on it."""

    def __init__(self, run: Runner, folder: Path) -> None:
        self.run = run
        self.graphroot = folder / "graph"
        self.conf = folder / "storage.conf"

    def __call__(self, graphroot: Path | str = "", **arguments: Any) -> dict[str, Any]:
        wanted = {"graphroot": str(graphroot or self.graphroot), "driver": "overlay"}
        return self.run(**(wanted | arguments))

    def configure(self, text: str) -> None:
        self.conf.write_text(text.format(graphroot=self.graphroot))

    def put(self, file: str, entries: int) -> None:
        path = self.graphroot / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps([{}] * entries))


@pytest.fixture
def host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Host:
    runner = Runner(load("podman", "landbridge_podman_store"), capsys)
    made = Host(runner, tmp_path)
    monkeypatch.setattr(runner.module, "CONFIGURATIONS", (made.conf, tmp_path / "none"))
    made.configure('[storage]\ndriver = "overlay"\ngraphroot = "{graphroot}"\n')
    return made


def test_an_empty_store_may_move(host: Host) -> None:
    host.put("overlay-images/images.json", 0)
    (host.graphroot / "volumes").mkdir()
    assert "failed" not in host("/elsewhere")


@pytest.mark.parametrize(
    ("file", "held"),
    [
        ("overlay-images/images.json", "2 images"),
        ("overlay-containers/containers.json", "2 containers"),
        ("volumes/data", "1 volumes"),
    ],
)
def test_a_store_in_use_is_not_lost_to_view(host: Host, file: str, held: str) -> None:
    host.put(file, 2)
    for arguments, variable in (
        ({"graphroot": "/elsewhere"}, "podman_graphroot is /elsewhere"),
        ({"driver": "vfs"}, "podman_storage_driver is vfs"),
    ):
        answer = host(**arguments)
        assert answer["msg"].startswith(variable)
        assert held in answer["msg"]
        assert f"set podman_graphroot to {host.graphroot}" in answer["msg"]
    assert "failed" not in host()


def test_the_same_directory_written_otherwise_is_the_same(host: Host) -> None:
    host.put("overlay-images/images.json", 1)
    host.configure('# [storage]\n[storage]\n  graphroot = "{graphroot}/./"  # there\n[other]\n')
    assert "failed" not in host()


def test_keys_of_other_tables_and_comments_are_none(host: Host) -> None:
    host.configure('[storage]\n# driver = "vfs"\n[storage.options]\ngraphroot = "/x"\n')
    assert host.run.module.configured((host.conf,)) == host.run.module.DEFAULT


def test_a_host_without_configuration_has_the_default(host: Host) -> None:
    host.conf.unlink()
    assert host.run.module.configured((host.conf,)) == host.run.module.DEFAULT


@pytest.mark.parametrize(
    ("said", "refused"),
    [("podman version 4.9.4-rhel", True), ("podman version 5.2.2", False), ("podman 10.0", False)],
)
def test_a_shared_store_takes_a_podman_that_shows_it_right(
    host: Host, monkeypatch: pytest.MonkeyPatch, said: str, refused: bool
) -> None:
    monkeypatch.setattr(host.run.module, "run", lambda *_args: said)
    monkeypatch.setattr(host.run.module.shutil, "which", lambda _name: "/usr/bin/podman")
    answer = host(shared="/var/lib/shared")
    assert answer.get("failed", False) is refused
    if refused:
        assert "Podman 4.9.4 shows" in answer["msg"]
        assert "5.2 or newer" in answer["msg"]


def test_before_podman_is_installed_nobody_knows(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host.run.module.shutil, "which", lambda _name: None)
    assert "failed" not in host(shared="/var/lib/shared")


@pytest.mark.parametrize(
    "stores",
    [
        {"shared": "/srv/images/"},
        {"graphroot": "/srv/images/graph"},
        {"additional": ["/srv/images"]},
    ],
)
def test_stores_are_apart(host: Host, tmp_path: Path, stores: dict[str, Any]) -> None:
    host.put("overlay-images/images.json", 0)
    (tmp_path / "srv").mkdir()
    answer = host(**({"graphroot": "/srv/images", "shared": "/srv/images"} | stores))
    assert "give each store a directory of its own" in answer["msg"]


def test_a_directory_with_somebodys_files_becomes_no_store(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = tmp_path / "images.json"
    monkeypatch.setattr(host.run.module, "IMAGES", record)
    monkeypatch.setattr(host.run.module.shutil, "which", lambda _name: None)
    data = tmp_path / "data"
    (data / "lost+found").mkdir(parents=True)
    assert "failed" not in host(data)
    assert "files are that this role has not made (lost+found)" in host(shared=str(data))["msg"]
    (data / "ledger").mkdir()
    assert "where other files are (ledger)" in host(data)["msg"]
    (data / "storage.lock").touch()  # moved here, as the role itself says
    assert "failed" not in host(data)
    record.write_text(json.dumps({"shared": [str(data)]}))
    assert "failed" not in host(shared=str(data))


def test_stores_of_others_are_stores(host: Host, tmp_path: Path) -> None:
    (tmp_path / "other/overlay-images").mkdir(parents=True)
    other = {"additional": [str(tmp_path / "other")]}
    assert "which is no store with images" in host(**other)["msg"]
    (tmp_path / "other/overlay-images/images.json").write_text("[]")
    assert "failed" not in host(**other)
