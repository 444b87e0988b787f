"""Module landbridge_docker_migrate: a small Docker behind a socket, the real skopeo and podman."""

import hashlib
import io
import json
import os
import socketserver
import subprocess
import tarfile
import threading
import urllib.parse
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.unit.roles.modules import Runner, load

NETWORK: dict[str, Any] = {
    "Name": "app",
    "Id": "0123456789abcdef",
    "Driver": "bridge",
    "EnableIPv6": False,
    "Internal": False,
    "Labels": {"com.docker.compose.network": "app"},
    "Options": {},
    "IPAM": {
        "Driver": "default",
        "Config": [{"Subnet": "198.18.5.0/24", "Gateway": "198.18.5.254"}],
    },
}


def docker_archive(text: str) -> tuple[str, bytes]:
    """An image's id and what `docker save` gives for it."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        add(tar, "file", text.encode())
    diff_id = "sha256:" + hashlib.sha256(layer.getvalue()).hexdigest()
    image = {"architecture": "amd64", "os": "linux", "config": {}}
    image["rootfs"] = {"type": "layers", "diff_ids": [diff_id]}
    config = json.dumps(image).encode()
    identity = hashlib.sha256(config).hexdigest()
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        add(tar, f"{identity}.json", config)
        add(tar, "layer/layer.tar", layer.getvalue())
        manifest = [{"Config": f"{identity}.json", "RepoTags": None, "Layers": ["layer/layer.tar"]}]
        add(tar, "manifest.json", json.dumps(manifest).encode())
    return identity, archive.getvalue()


def add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    """Add a file to an archive."""
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    tar.addfile(entry, io.BytesIO(data))


class Docker(socketserver.ThreadingUnixStreamServer):
    """As much of Docker's API as is asked for."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.archives: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.breaks = False
        self.answers: dict[str, Any] = {
            "/containers/json": [],
            "/images/json": [],
            "/info": {"SecurityOptions": ["name=seccomp,profile=builtin"]},
            "/networks": [],
            "/volumes": {"Volumes": None},
        }
        super().__init__(str(folder / "docker.sock"), Handler)

    def image(self, text: str, *names: str) -> str:
        """Give it an image; returns its id in Podman."""
        identity, archive = docker_archive(text)
        self.answers["/images/json"].append({"Id": f"sha256:{identity}", "RepoTags": list(names)})
        full = [f"docker.io/library/{name}" for name in names]  # by which Docker knows it, too
        self.archives.update(dict.fromkeys([f"sha256:{identity}", *names, *full], archive))
        return identity

    def volume(self, name: str, **changes: Any) -> Path:
        """Give it a volume; returns where its data is."""
        data = self.folder / "volumes" / name / "_data"
        data.mkdir(parents=True)
        entry = {"Name": name, "Driver": "local", "Mountpoint": str(data), "Options": None}
        volumes = self.answers["/volumes"]
        volumes["Volumes"] = [*(volumes["Volumes"] or []), {**entry, **changes}]
        return data

    def container(self, name: str, state: str = "running", image: str = "") -> None:
        """Give it a container."""
        entry = {"Id": f"id-{name}", "Names": [f"/{name}"], "State": state, "ImageID": image}
        self.answers["/containers/json"].append(entry)

    def stopped(self) -> list[str]:
        """What it was told to do."""
        return [line for line in self.asked if line.startswith("POST")]


class Handler(BaseHTTPRequestHandler):
    """Answers one question."""

    server: Docker

    def do_GET(self) -> None:
        path = urllib.parse.unquote(self.path.split("?")[0])
        self.server.asked.append(f"GET {path}")
        if path.startswith("/images/") and path.endswith("/get"):
            name = path.removeprefix("/images/").removesuffix("/get")
            archive = self.server.archives[name]
            self.answer(archive[:100] if self.server.breaks else archive, len(archive))
        else:
            self.answer(json.dumps(self.server.answers[path]).encode())

    def do_POST(self) -> None:
        self.server.asked.append(f"POST {self.path}")
        self.send_response(204)
        self.end_headers()

    def answer(self, body: bytes, length: int = 0) -> None:
        """Send it; with a length of its own it may end early."""
        self.send_response(200)
        self.send_header("Content-Length", str(length or len(body)))
        self.end_headers()
        self.wfile.write(body)

    def address_string(self) -> str:
        return "socket"

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@pytest.fixture
def docker(tmp_path: Path) -> Iterator[Docker]:
    with Docker(tmp_path) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


class Migrate:
    """The module, and Podman with a storage of its own."""

    def __init__(self, runner: Runner, folder: Path) -> None:
        self.runner, self.folder = runner, folder
        self.record = folder / "state" / "docker.json"
        self.copied = folder / "state" / "docker-images.json"

    def __call__(self, *, running: bool = True, **options: Any) -> dict[str, Any]:
        return self.runner(running=running, **options)

    def podman(self, *argv: str) -> str:
        """Podman's answer."""
        done = subprocess.run(["podman", *argv], capture_output=True, text=True, check=True)
        return done.stdout

    def images(self) -> dict[str, list[str]]:
        """Names by id."""
        rows = json.loads(self.podman("image", "ls", "--all", "--format", "json"))
        return {row["Id"]: sorted(row.get("Names") or []) for row in rows}


@pytest.fixture
def migrate(
    docker: Docker,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Migrate:
    (tmp_path / "storage.conf").write_text(
        f'[storage]\ndriver = "vfs"\ngraphroot = "{tmp_path}/graph"\nrunroot = "{tmp_path}/run"\n'
    )
    (tmp_path / "containers.conf").write_text(
        f'[engine]\ntmp_dir = "{tmp_path}/tmp"\nvolume_path = "{tmp_path}/podman-volumes"\n'
        f'[network]\nnetwork_backend = "netavark"\nnetwork_config_dir = "{tmp_path}/networks"\n'
    )
    monkeypatch.setenv("CONTAINERS_STORAGE_CONF", str(tmp_path / "storage.conf"))
    monkeypatch.setenv("CONTAINERS_CONF", str(tmp_path / "containers.conf"))
    made = Migrate(Runner(load("podman", "landbridge_docker_migrate"), capsys), tmp_path)
    module: ModuleType = made.runner.module
    monkeypatch.setattr(module, "socket_of", lambda _settings: docker.server_address)
    monkeypatch.setattr(module, "RECORD", made.record)
    monkeypatch.setattr(module, "COPIED", made.copied)
    return made


def test_everything_once(docker: Docker, migrate: Migrate) -> None:
    named = docker.image("one", "web:2", "plain:latest")
    used, unused = docker.image("two", "<none>:<none>"), docker.image("three")
    data = docker.volume("data", Labels={"a": "b"})
    docker.answers["/networks"] = [NETWORK]
    docker.container("web", image=f"sha256:{used}")
    foreseen = migrate(check=True)
    assert not migrate.record.exists()
    assert docker.stopped() == []
    first = migrate()
    names = ["docker.io/library/plain:latest", "docker.io/library/web:2"]
    assert migrate.images() == {named: names, used: []}
    assert unused not in migrate.images()
    (volume,) = json.loads(migrate.podman("volume", "inspect", "data"))
    assert volume["Options"]["device"] == str(data)
    assert volume["Labels"]["a"] == "b"
    (network,) = json.loads(migrate.podman("network", "inspect", "app"))
    assert network["subnets"] == [{"subnet": "198.18.5.0/24", "gateway": "198.18.5.254"}]
    assert network["labels"] == NETWORK["Labels"]
    assert network["options"] == {"isolate": "true"}
    assert docker.stopped() == ["POST /containers/id-web/stop"]
    assert first["images"] == [*names, f"sha256:{used}"]
    assert [first[key] for key in ("volumes", "networks", "left")] == [["data"], ["app"], []]
    assert foreseen["diff"] == first["diff"]
    assert migrate.record.exists()
    again = migrate()
    assert [again[key] for key in ("images", "volumes", "networks", "left")] == [[]] * 4


def test_check_mode_before_podman_is_installed(
    docker: Docker, migrate: Migrate, monkeypatch: pytest.MonkeyPatch
) -> None:
    docker.image("one", "web:1")
    docker.volume("data")
    docker.answers["/networks"] = [NETWORK]
    monkeypatch.setenv("PATH", os.devnull)
    answer = migrate(check=True)
    assert answer["images"] == ["docker.io/library/web:1"]
    assert (answer["volumes"], answer["networks"]) == (["data"], ["app"])


def test_an_interrupted_copy_goes_on(docker: Docker, migrate: Migrate) -> None:
    first = docker.image("one", "a:1")
    migrate()
    second = docker.image("two", "b:1")
    docker.container("web")
    docker.breaks = True
    answer = migrate()
    assert "Docker's archive is not whole" in answer["msg"]
    assert docker.stopped() == []
    assert not migrate.record.exists()  # Docker was started once more, and holds more
    scratch = migrate.folder / "graph" / "landbridge-docker-killed"
    scratch.mkdir()
    docker.breaks, docker.asked = False, []
    assert migrate()["images"] == ["docker.io/library/b:1"]
    assert "GET /images/docker.io/library/a:1/get" not in docker.asked
    assert set(migrate.images()) == {first, second}
    assert not list(scratch.parent.glob("landbridge-docker-*"))


def test_an_image_that_docker_calls_by_another_digest_is_copied_once(
    docker: Docker, migrate: Migrate
) -> None:
    identity = docker.image("one", "a:1")
    docker.answers["/images/json"][0]["Id"] = "sha256:" + "7" * 64  # containerd's manifest
    migrate()
    assert migrate.images() == {identity: ["docker.io/library/a:1"]}
    docker.asked = []
    assert migrate()["images"] == []
    assert "GET /images/docker.io/library/a:1/get" not in docker.asked


def test_what_podman_has_stays(docker: Docker, migrate: Migrate) -> None:
    migrate.podman("volume", "create", "data")
    migrate.podman("network", "create", "--subnet", "198.18.6.0/24", "app")
    docker.volume("data")
    docker.answers["/networks"] = [NETWORK]
    assert migrate()["left"] == [
        "volume data: Podman has one of this name already",
        "network app: Podman has one of this name already",
    ]
    (network,) = json.loads(migrate.podman("network", "inspect", "app"))
    assert network["subnets"][0]["subnet"] == "198.18.6.0/24"


def test_what_cannot_be_taken_over_is_named(docker: Docker, migrate: Migrate) -> None:
    docker.volume("cloud", Driver="rexray")
    docker.volume("odd", Options={"vers": "4"})
    docker.volume("gone", Mountpoint="/nonexistent")
    docker.answers["/networks"] = [{**NETWORK, "Name": "mesh", "Driver": "overlay"}]
    docker.answers["/images/json"] = []
    assert migrate()["left"] == [
        "volume cloud: Podman has no driver rexray",
        "volume odd: Podman's driver local has no option vers",
        "volume gone: /nonexistent is gone",
        "network mesh: driver overlay is not taken over",
    ]


def test_volumes_of_remapped_users_are_left(docker: Docker, migrate: Migrate) -> None:
    docker.volume("data")
    docker.answers["/info"]["SecurityOptions"].append("name=userns")
    assert migrate()["left"] == ["volume data: its files belong to the ids of userns-remap"]


def test_an_image_known_by_digest_alone_is_said_to_lose_it(
    docker: Docker, migrate: Migrate
) -> None:
    identity = docker.image("one")
    docker.answers["/images/json"][0]["RepoDigests"] = [f"web@sha256:{'5' * 64}"]
    assert migrate()["left"] == [
        f"image web@sha256:{'5' * 64}: Podman knows it by its id only, sha256:{identity}"
    ]
    assert migrate.images() == {identity: []}


def test_a_share_of_a_server_is_mounted_as_mount_wants_it(migrate: Migrate) -> None:
    options, _why = migrate.runner.module.volume_options(
        {
            "Driver": "local",
            "Options": {"type": "nfs", "o": "addr=192.0.2.1,rw", "device": ":/export"},
        }
    )
    assert options == ["type=nfs", "device=192.0.2.1:/export", "o=addr=192.0.2.1,rw"]


@pytest.mark.parametrize(
    ("name", "full"),
    [
        ("nginx:1", "docker.io/library/nginx:1"),
        ("shop/web:2", "docker.io/shop/web:2"),
        ("localhost/a:1", "localhost/a:1"),
        ("registry:5000/a/b:1", "registry:5000/a/b:1"),
        ("quay.io/a/b:1", "quay.io/a/b:1"),
    ],
)
def test_names_are_whole(migrate: Migrate, name: str, full: str) -> None:
    assert migrate.runner.module.full_name(name) == full


def test_a_paused_container_goes_on_to_its_end(docker: Docker, migrate: Migrate) -> None:
    docker.container("web", "paused")
    assert migrate(take_over=False)["containers"] == ["web"]
    assert docker.stopped() == [
        "POST /containers/id-web/unpause",
        "POST /containers/id-web/stop",
    ]


def test_nothing_is_taken_over_when_docker_is_to_go_as_it_is(
    docker: Docker, migrate: Migrate
) -> None:
    docker.image("one", "a:1")
    docker.volume("data")
    answer = migrate(take_over=False)
    assert (answer["images"], answer["volumes"]) == ([], [])
    assert migrate.images() == {}


def test_a_docker_that_is_stopped_is_recorded_once(migrate: Migrate) -> None:
    assert migrate(running=False)["changed"]
    assert not migrate(running=False)["changed"]


def test_bridges_with_names_of_a_users_choice_are_remembered(
    docker: Docker, migrate: Migrate
) -> None:
    option = "com.docker.network.bridge.name"
    docker.answers["/networks"] = [
        {**NETWORK, "Options": {option: "shop0"}},
        {**NETWORK, "Name": "bridge", "Options": {option: "br0"}},
    ]
    assert migrate(take_over=False)["bridges"] == ["shop0"]
    assert migrate(running=False)["bridges"] == ["shop0"]
