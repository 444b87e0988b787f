"""Module landbridge_docker_survey on a node and a daemon of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.unit.roles.docker_daemon import Api, DockerNode, empty_daemon, served
from tests.unit.roles.modules import Runner

Answer = dict[str, Any]


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DockerNode:
    return DockerNode(tmp_path, monkeypatch)


@pytest.fixture
def run(node: DockerNode, capsys: pytest.CaptureFixture[str]) -> Runner:
    return Runner(node.module, capsys)


@pytest.fixture
def daemon(node: DockerNode) -> Iterator[Callable[[Answer], Api]]:
    """Starts Docker on the node with these answers of its API."""
    with ExitStack() as stack:

        def start(answers: Answer) -> Api:
            node.started()
            node.daemon_json(hosts=[f"unix://{node.socket}"])
            return stack.enter_context(served(node.socket, answers))

        yield start


def test_a_node_without_docker_is_told_so_at_once(run: Runner) -> None:
    answer = run(check=True)
    assert answer["changed"] is False
    survey = answer["survey"]
    assert survey["daemon"] == "absent"
    assert survey["unknown"] == {}
    assert survey["containers"] == survey["images"] == survey["packages"] == []


def test_a_daemon_that_does_not_run_is_not_spoken_to(node: DockerNode, run: Runner) -> None:
    node.write(
        "/etc/systemd/system/docker.service", "[Service]\nExecStart=-/opt/d/dockerd -H fd://\n"
    )
    node.write("/opt/d/dockerd")
    node.daemon_json(hosts=[f"unix://{node.socket}"])
    node.folder("/var/lib/docker/containers/0a1b")
    node.folder("/var/lib/docker/volumes/data/_data")
    node.write("/var/lib/docker/volumes/metadata.db")
    node.write("/var/lib/docker/image/overlay2/imagedb/content/sha256/0123")
    with served(node.socket, empty_daemon()) as api:
        survey = run()["survey"]
    # systemd would start Docker for whoever connects to docker.socket.
    assert api.asked == []
    assert survey["daemon"] == "stopped"
    counts = {key: survey["unknown"][key] for key in ("images", "containers", "volumes")}
    assert counts == {"images": 1, "containers": 1, "volumes": 1}


def test_podman_at_dockers_socket_is_not_docker(
    daemon: Callable[[Answer], Api], run: Runner
) -> None:
    answers = empty_daemon() | {"/version": {"Components": [{"Name": "Podman Engine"}]}}
    daemon(answers)
    assert run()["survey"]["daemon"] == "absent"


def test_a_stale_pid_file_is_no_daemon(node: DockerNode, run: Runner) -> None:
    node.started(name="sshd")
    assert run()["survey"]["daemon"] == "absent"


def test_what_is_left_of_a_unit_is_no_daemon(node: DockerNode, run: Runner) -> None:
    unit = node.write("/etc/systemd/system/docker.service", "[Service]\nExecStart=/opt/d/dockerd\n")
    node.folder("/var/lib/docker/volumes/data/_data")
    assert run()["survey"]["daemon"] == "absent"
    unit.unlink()
    unit.symlink_to("/dev/null")  # systemctl mask
    assert run()["survey"]["daemon"] == "absent"


def test_a_home_that_cannot_be_looked_into_is_no_docker(node: DockerNode, run: Runner) -> None:
    node.write("/etc/passwd", f"bob:x:1001:1001::/{'b' * 300}:/bin/sh\n")
    assert run()["survey"]["rootless"] == []


def test_a_running_daemon_is_asked(daemon: Callable[[Answer], Api], run: Runner) -> None:
    daemon(empty_daemon())
    survey = run()["survey"]
    assert survey["daemon"] == "running"
    assert survey["version"] == "27.0.0"
    assert survey["unknown"] == {}
    assert survey["swarm"]["state"] == "inactive"


def test_a_daemon_that_fails_is_named(daemon: Callable[[Answer], Api], run: Runner) -> None:
    answers = empty_daemon()
    del answers["/volumes"]
    daemon(answers)
    answer = run()
    assert answer["failed"]
    assert "/volumes: 404" in answer["msg"]
