"""A node with a Docker that answers on its socket, all of it in a folder of the test's."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from tests.unit.roles.modules import load, shared

PID = 4711
PARTS = ("host", "settings", "needs", "things")


class Api(socketserver.ThreadingUnixStreamServer):
    """Serves JSON by path; `answers` may be changed while it runs."""

    daemon_threads = True

    def __init__(self, path: Path, answers: dict[str, Any]) -> None:
        self.answers = answers
        self.asked: list[str] = []
        super().__init__(str(path), _Handler)


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        server: Any = self.server
        server.asked.append(path)
        found = server.answers.get(path, KeyError)
        status = 404 if found is KeyError else 200
        body = json.dumps({"message": f"no such thing: {path}"} if status == 404 else found)
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def address_string(self) -> str:
        return "unix"

    def log_message(self, format: str, *args: Any) -> None:
        del format, args


def empty_daemon() -> dict[str, Any]:
    """The answers of a daemon that has nothing."""
    return {
        "/version": {"Components": [{"Name": "Engine", "Version": "27.0.0"}]},
        "/info": {
            "ServerVersion": "27.0.0",
            "DockerRootDir": "/var/lib/docker",
            "Swarm": {"LocalNodeState": "inactive", "ControlAvailable": False},
        },
        "/images/json": [],
        "/containers/json": [],
        "/volumes": {"Volumes": None, "Warnings": None},
        "/networks": [],
        "/plugins": [],
    }


@contextmanager
def served(path: Path, answers: dict[str, Any]) -> Iterator[Api]:
    """A daemon that answers on the socket `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with Api(path, answers) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
            path.unlink()


class DockerNode:
    """A root of files for the module to look at; nothing of this machine is."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        self.module: ModuleType = load("podman", "landbridge_docker_survey")
        for part in PARTS:
            monkeypatch.setattr(shared(f"landbridge_docker_{part}"), "ROOT", root)
        monkeypatch.setattr(self.module, "ROOT", root)
        monkeypatch.setattr(self.module.shutil, "which", lambda _name: None)
        self.write("/etc/passwd", "root:x:0:0::/root:/bin/bash\n")
        self.socket = root / "s"

    def write(self, path: str, text: str = "") -> Path:
        """A file of the node."""
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    def folder(self, path: str) -> Path:
        """A folder of the node."""
        folder = self.root / path.lstrip("/")
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def daemon_json(self, **values: Any) -> None:
        """What daemon.json holds."""
        self.write("/etc/docker/daemon.json", json.dumps(values))

    def started(self, name: str = "dockerd") -> None:
        """A process that dockerd's pid file names."""
        self.write("/var/run/docker.pid", str(PID))
        self.write(f"/proc/{PID}/comm", f"{name}\n")


def container(name: str = "web", **changes: Any) -> dict[str, Any]:
    """What inspect says of a running container; keys of `Config` and `HostConfig` are given flat.

    Others are those of inspect itself.
    """
    config = {"Image": "registry.example.org/web:1", "Hostname": "", "Env": [], "Labels": {}}
    host = {
        "NetworkMode": "default",
        "RestartPolicy": {"Name": "always", "MaximumRetryCount": 0},
        "LogConfig": {"Type": "json-file", "Config": {}},
        "ShmSize": 64 << 20,
        "IpcMode": "private",
    }
    whole = {
        "Id": f"{sum(map(ord, name)):064x}",
        "Name": f"/{name}",
        "Image": IMAGE["Id"],
        "State": {"Status": "running", "ExitCode": 0},
        "Mounts": [],
        "NetworkSettings": {"Networks": {"bridge": {}}},
    }
    for key, value in changes.items():
        part = config if key in CONFIG else whole if key in whole else host
        part[key] = value
    return {**whole, "Config": config, "HostConfig": host}


CONFIG = {"Env", "Cmd", "Entrypoint", "Labels", "User", "WorkingDir", "Healthcheck"}
IMAGE: dict[str, Any] = {
    "Id": "sha256:" + "1a" * 32,
    "RepoTags": ["registry.example.org/web:1"],
    "Size": 3_000_000,
    "Config": {"Env": ["PATH=/bin"], "Cmd": ["serve"], "Entrypoint": None, "Labels": None},
}


def with_containers(*containers: dict[str, Any], image: dict[str, Any] = IMAGE) -> dict[str, Any]:
    """The answers of a daemon that runs these."""
    answers = empty_daemon()
    answers["/images/json"] = [image]
    answers[f"/images/{image['Id']}/json"] = image
    answers["/containers/json"] = [{"Id": each["Id"]} for each in containers]
    for each in containers:
        answers[f"/containers/{each['Id']}/json"] = each
        answers[f"/containers/{each['Id']}/changes"] = None
    return answers
