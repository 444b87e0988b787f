"""Docker's images, volumes, networks, compose projects, swarm, plugins, packages and users."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from landbridge.docker.survey import parse
from tests.unit.roles.docker_daemon import (
    PID,
    DockerNode,
    container,
    empty_daemon,
    served,
    with_containers,
)
from tests.unit.roles.modules import Runner, shared

Answer = dict[str, Any]
Survey = Callable[[Answer], Answer]


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DockerNode:
    return DockerNode(tmp_path, monkeypatch)


@pytest.fixture
def survey(node: DockerNode, capsys: pytest.CaptureFixture[str]) -> Survey:
    """The survey of a daemon with these answers."""
    run = Runner(node.module, capsys)

    def look(answers: Answer) -> Answer:
        node.started()
        node.daemon_json(hosts=[f"unix://{node.socket}"])
        with served(node.socket, answers):
            answer = run()
        assert not answer.get("failed"), answer
        found: Answer = answer["survey"]
        parse("node", found)  # what the command line knows of an answer
        return found

    return look


names = shared("landbridge_docker_names")


@pytest.mark.parametrize(
    ("short", "full"),
    [
        ("nginx", "docker.io/library/nginx:latest"),
        ("nginx:1", "docker.io/library/nginx:1"),
        ("me/app", "docker.io/me/app:latest"),
        ("docker.io/nginx", "docker.io/library/nginx:latest"),
        ("localhost/a/b:1", "localhost/a/b:1"),
        ("localhost:5000/a", "localhost:5000/a:latest"),
        ("reg.example.org/a@sha256:01", "reg.example.org/a@sha256:01"),
        ("reg.example.org/a:1@sha256:01", "reg.example.org/a@sha256:01"),
        ("sha256:01", "sha256:01"),
    ],
)
def test_names_of_images_are_made_whole(short: str, full: str) -> None:
    assert names.qualified(short) == full


def test_images(survey: Survey) -> None:
    answers = empty_daemon()
    tags = {"a": ["nginx:1"], "b": ["<none>:<none>"], "c": ["localhost:5000/x:1"]}
    images = [{"Id": f"sha256:{key * 64}", "RepoTags": t, "Size": 1} for key, t in tags.items()]
    answers["/images/json"] = images
    answers |= {f"/images/{image['Id']}/json": image for image in images}
    found = {entry["id"][7]: entry for entry in survey(answers)["images"]}
    assert found["a"]["needs"] == []
    assert "has no name" in found["b"]["needs"][0]
    assert "insecure: true" in found["c"]["needs"][0]


def volume(name: str, **more: Any) -> Answer:
    return {"Name": name, "Driver": "local", "Mountpoint": f"/v/{name}/_data", **more}


def test_volumes(survey: Survey) -> None:
    answers = with_containers(
        container(Mounts=[{"Type": "volume", "Name": "data", "Destination": "/d"}])
    )
    cifs = {"type": "cifs", "device": "//s/x", "o": "username=u,password=hunter2"}
    answers["/volumes"] = {
        "Volumes": [
            volume("share", Options=cifs),
            volume("data", Options=None, Labels={"a": "b"}),
            volume("bound", Options={"type": "none", "device": "/srv/x", "o": "bind"}),
            volume("plugged", Driver="rexray/ebs"),
            volume("0" * 64),
        ]
    }
    found = {entry["name"]: entry for entry in survey(answers)["volumes"]}
    assert found["data"]["needs"] == []
    assert found["data"]["used_by"] == ["web"]
    assert found["data"]["path"] == "/v/data/_data"
    assert "virt_use_samba: true" in found["share"]["needs"][0]
    assert "container_file_t" in found["bound"]["needs"][0]
    assert "hunter2" not in str(found)
    assert "plugin of Docker's" in found["plugged"]["needs"][0]
    assert "no container uses it" in found["0" * 64]["needs"][0]


BRIDGE = "com.docker.network.bridge."
NETWORKS = [
    ({"Driver": "bridge", "Options": {f"{BRIDGE}name": "br0", f"{BRIDGE}enable_icc": "true"}}, ""),
    ({"Driver": "macvlan", "Options": {"parent": "eth0"}}, "Options=parent=eth0"),
    ({"Driver": "bridge", "Options": {f"{BRIDGE}enable_icc": "false"}}, "isolate=true"),
    ({"Driver": "bridge", "Options": {f"{BRIDGE}inhibit_ipv4": "true"}}, "inhibit_ipv4=true"),
    ({"Driver": "overlay", "Scope": "swarm"}, "Podman has none"),
    ({"Driver": "weave"}, "driver weave"),
    ({"Driver": "macvlan", "IPAM": {"Driver": "dhcp"}}, "netavark-dhcp-proxy.socket"),
    ({"Driver": "null", "ConfigOnly": True}, "only holds settings"),
    (
        {"Driver": "bridge", "IPAM": {"Config": [{"AuxiliaryAddresses": {"h": "10.1.0.5"}}]}},
        "reserves 10.1.0.5",
    ),
]


@pytest.mark.parametrize(("settings", "words"), NETWORKS)
def test_networks(survey: Survey, settings: Answer, words: str) -> None:
    answers = empty_daemon()
    own = {"Name": "app", "Scope": "local", **settings}
    answers["/networks"] = [own, *({"Name": name} for name in ("bridge", "host", "none"))]
    (found,) = survey(answers)["networks"]
    assert words in " ".join(found["needs"]) if words else found["needs"] == []


def test_a_network_is_told_as_podman_would_make_it(survey: Survey) -> None:
    answers = empty_daemon()
    pool = {"Subnet": "10.1.0.0/24", "Gateway": "10.1.0.1", "IPRange": "10.1.0.128/25"}
    answers["/networks"] = [
        {"Name": "app", "Driver": "bridge", "Internal": True, "EnableIPv6": False,
         "IPAM": {"Driver": "default", "Config": [pool]}, "Labels": {"a": "b"}, "Options": {}}
    ]  # fmt: skip
    (found,) = survey(answers)["networks"]
    assert found["subnets"] == ["10.1.0.0/24"]
    assert found["gateways"] == ["10.1.0.1"]
    assert found["ip_ranges"] == ["10.1.0.128/25"]
    assert found["internal"] is True
    assert found["labels"] == {"a": "b"}


def of_compose(name: str, **labels: str) -> Answer:
    more = {f"com.docker.compose.{key.replace('__', '.')}": value for key, value in labels.items()}
    return container(name, Labels={"com.docker.compose.project": "shop", **more})


def test_compose_projects(node: DockerNode, survey: Survey) -> None:
    node.write(
        "/srv/shop/docker-compose.yml",
        "services:\n  web:\n    build: .\n    deploy: {}\n    image: x\n",
    )
    where = {
        "project__config_files": "docker-compose.yml,/srv/gone.yml",
        "project__working_dir": "/srv/shop",
    }
    web = of_compose("web", service="web", depends_on="db:service_healthy:false", **where)
    found = survey(with_containers(web, of_compose("db", service="db", **where)))
    (project,) = found["compose"]
    assert project["project"] == "shop"
    assert project["files"] == ["/srv/shop/docker-compose.yml", "/srv/gone.yml"]
    assert project["services"] == ["db", "web"]
    text = "\n".join(project["needs"])
    assert "/srv/gone.yml is not on this node" in text
    for word in ("podman-compose", "`build`", "`deploy`", "Notify=healthy"):
        assert word in text
    assert "`links`" not in text


def test_swarm_and_plugins(survey: Survey) -> None:
    answers = empty_daemon()
    answers["/info"]["Swarm"] = {"LocalNodeState": "active", "ControlAvailable": True}
    for kind, name in (("services", "svc"), ("secrets", "key"), ("configs", "conf")):
        answers[f"/{kind}"] = [{"Spec": {"Name": name}}]
    interface = {"Types": [{"Capability": "volumedriver"}]}
    answers["/plugins"] = [{"Name": "rexray", "Enabled": True, "Config": {"Interface": interface}}]
    found = survey(answers)
    assert found["swarm"]["services"] == ["svc"]
    assert len(found["swarm"]["needs"]) == 3
    assert "volumedriver" in found["plugins"][0]["needs"][0]


def test_a_worker_of_a_swarm_is_not_asked_for_what_it_may_not_say(survey: Survey) -> None:
    answers = empty_daemon()
    answers["/info"]["Swarm"] = {"LocalNodeState": "active", "ControlAvailable": False}
    assert survey(answers)["swarm"]["services"] == []


def test_a_daemon_without_a_unix_socket(node: DockerNode, capsys: Any) -> None:
    node.started()
    node.daemon_json(hosts=["tcp://127.0.0.1:2375"])
    node.folder("/var/lib/docker/volumes/data")
    found = Runner(node.module, capsys)()["survey"]
    assert found["daemon"] == "running"
    assert "unix:///run/docker.sock" in found["unknown"]["needs"][0]


def test_users_with_a_docker_of_their_own(node: DockerNode, capsys: Any) -> None:
    lines = "root:x:0:0::/root:/bin/sh\nbob:x:1001:1001::/home/bob:/bin/sh\nal:x:9:9::/home/al:\n"
    node.write("/etc/passwd", lines)
    node.folder("/home/bob/.local/share/docker/volumes/v1")
    node.write("/home/bob/.local/share/docker/image/fuse-overlayfs/imagedb/content/sha256/aa")
    node.write("/run/user/1001/docker.pid", str(PID))
    node.write(f"/proc/{PID}/comm", "dockerd\n")
    (bob,) = Runner(node.module, capsys)()["survey"]["rootless"]
    assert (bob["user"], bob["running"]) == ("bob", True)
    assert (bob["images"], bob["volumes"]) == (1, 1)
    assert len(bob["needs"]) == 3


def test_packages_are_asked_for_by_name(
    node: DockerNode, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rpm = node.write("/bin/rpm", '#!/bin/sh\nprintf "docker-ce-27.0.0-1.el9\\n"\n')
    rpm.chmod(0o755)
    monkeypatch.setattr(node.module.shutil, "which", lambda _name: str(rpm))
    monkeypatch.setenv("PATH", f"{rpm.parent}:/usr/bin:/bin")
    found = Runner(node.module, capsys)()["survey"]
    assert found["packages"] == ["docker-ce-27.0.0-1.el9"]
    assert found["daemon"] == "stopped"


def test_units_that_need_docker(node: DockerNode, capsys: Any) -> None:
    folder = "/etc/systemd/system"
    lines = "[Unit]\nAfter=docker.service\nRequires = docker.service network.target\n[Service]\n"
    node.write(f"{folder}/web.service", lines + "ExecStart=/usr/bin/docker run --rm web\n")
    node.write(f"{folder}/other.service", "[Unit]\nAfter=docker.service\n")
    node.write(f"{folder}/shop.service.d/o.conf", "[Unit]\nBindsTo=containerd.service\n")
    node.write(f"{folder}/docker.service.d/o.conf", "[Unit]\nRequires=docker.socket\n")
    found = {
        unit["path"]: unit["needs"] for unit in Runner(node.module, capsys)()["survey"]["units"]
    }
    assert sorted(found) == [f"{folder}/shop.service.d/o.conf", f"{folder}/web.service"]
    web = found[f"{folder}/web.service"]
    assert web[0].startswith("Requires= names a unit of Docker's")
    assert "podman-docker" in web[1]
