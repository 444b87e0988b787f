"""From Docker CE to Podman: killed at every point it goes on; told to, it takes nothing over.

One story: each test goes on where the one before ended.
"""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.conftest import Ended, LabNode
from tests.lab import docker_ce

PLATFORM = "el10"
NAME = "localhost/tools/busybox:1"
SETTINGS = {"data-root": "/home/docker", "live-restore": True}
OWN = ("shop/two:2", "shop/one:1")
DOCKER = ("docker-ce", "docker-ce-cli", "containerd.io", "docker-compose-plugin")
# Two images of its own besides the bundle's, and what runs of them.
# Docker lists images by the second in which they were made.
USE = """
docker volume create data
docker network create --subnet 198.18.7.0/24 app
docker run --detach --name web --network app --publish 8080:8080 --volume data:/data \\
    IMAGE sh -c 'echo kept >/data/file; exec sleep 1000000'
docker commit --change 'LABEL own=1' web shop/one:1
sleep 2
docker commit --change 'LABEL own=2' web shop/two:2
"""
# What Docker has on the disk, but for mounts.
DATA = """
cd /home/docker
find image overlay2 volumes '(' -name merged -o -name work ')' -prune -o -print | sort
ls containers
cat volumes/data/_data/file
"""
# A program that kills who calls it when its arguments say so, and then is the real one again.
KILLER = """#!/bin/sh
real=$(PATH=/usr/sbin:/usr/bin command -v {name})
case "$*" in
  {pattern}) rm "$0"; kill -KILL $PPID; exit 1;;
esac
exec "$real" "$@"
"""

pytestmark = pytest.mark.usefixtures("mitogen")


def must(node: LabNode, script: str) -> str:
    """Output of a script that has to go well."""
    ended = node.run(f"set -e; {script}")
    assert ended.code == 0, ended.output
    return ended.output


def switch(node: LabNode, how: str, *options: str) -> Ended:
    """Converge the node with that value of podman_replace_docker."""
    return node.apply(*options, "--extra-vars", f"podman_replace_docker={how}")


def switched(node: LabNode, how: str, *options: str) -> str:
    """Converge it, which has to go well."""
    ended = switch(node, how, *options)
    assert ended.code == 0, ended.output
    return ended.output


def killed_at(node: LabNode, name: str, pattern: str, *options: str) -> None:
    """Converge to `migrate`, and have a program kill its caller there."""
    file = f"/usr/local/bin/{name}"
    killer = KILLER.format(name=name, pattern=pattern)
    must(node, f"cat >{file} <<'EOF'\n{killer}EOF\nchmod 755 {file}")
    ended = switch(node, "migrate", *options)
    assert ended.code != 0, ended.output
    assert node.run(f"test -e {file}").code != 0, ended.output


def installed(node: LabNode) -> set[str]:
    """Which of the packages that matter are there."""
    names = [*DOCKER, "podman", "podman-docker"]
    said = node.run(f"rpm --query --queryformat '%{{NAME}}\\n' {' '.join(names)}").output
    return set(names) & set(said.splitlines())


def runs_docker(node: LabNode) -> None:
    """Install Docker and start it."""
    docker_ce.install(node.name)
    text = json.dumps(SETTINGS)
    must(node, f"mkdir -p /etc/docker; echo '{text}' >/etc/docker/daemon.json")
    must(node, "systemctl enable --now docker.service")


@pytest.fixture(scope="module")
def image(bundle: Path) -> str:
    """Name of an image of the bundle."""
    content = json.loads((bundle / "content.json").read_text())
    return str(content["images"][0]["name"])


@pytest.fixture(scope="module")
def node(boot: Callable[..., LabNode], bundle: Path, image: str) -> LabNode:
    """A node on which Docker runs a container."""
    node = boot("switch", PLATFORM, bundle)
    runs_docker(node)
    docker_ce.load(node.name, bundle / "images", image)
    must(node, USE.replace("IMAGE", image))
    return node


@pytest.fixture(scope="module")
def before(node: LabNode) -> str:
    """What Docker has on the disk before."""
    return must(node, DATA)


@pytest.fixture(scope="module")
def ids(node: LabNode) -> list[str]:
    """Ids of Docker's own images; it hands over the newer one first."""
    return must(node, f"docker image inspect --format '{{{{.Id}}}}' {' '.join(OWN)}").split()


def test_killed_between_two_images(node: LabNode, before: str, ids: list[str]) -> None:
    _newer, older = (identity.removeprefix("sha256:") for identity in ids)
    killed_at(node, "skopeo", f"*containers-storage:@{older}", "--tags", "repositories,podman")
    assert must(node, "podman image exists docker.io/shop/two:2; docker ps --quiet")
    assert before == must(node, DATA)


def test_nothing_ends_for_what_dnf_cannot_do(node: LabNode) -> None:
    must(node, "echo excludepkgs=podman-docker >>/etc/dnf/dnf.conf")
    ended = switch(node, "migrate", "--tags", "install")
    assert ended.code != 0
    said = " ".join(ended.output.split())
    assert "dnf cannot remove containerd.io, docker-buildx-plugin, docker-ce," in said
    must(node, "pgrep -f 'sleep 1000000'; docker ps; sed -i /^excludepkgs/d /etc/dnf/dnf.conf")


def test_killed_before_dockers_packages_go(node: LabNode) -> None:
    killed_at(node, "dnf", "--assumeyes*shell*", "--tags", "install")
    assert installed(node) == {*DOCKER, "podman"}
    assert node.run("systemctl is-active docker.service docker.socket").code != 0
    assert node.run("pgrep -f 'sleep 1000000'").code != 0


def test_killed_after_they_have_gone(node: LabNode) -> None:
    killed_at(node, "iptables-restore", "*", "--tags", "install")
    assert installed(node) == {"podman", "podman-docker"}
    assert "-P FORWARD DROP" in must(node, "iptables -S FORWARD")


def test_goes_on_to_the_end(node: LabNode, image: str, before: str, ids: list[str]) -> None:
    switched(node, "migrate", "--tags", "podman")
    assert "-P FORWARD ACCEPT" in must(node, "iptables -S FORWARD")
    names = " ".join(f"docker.io/{name}" for name in OWN)
    said = must(node, f"podman image inspect --format 'sha256:{{{{.Id}}}}' {names}")
    assert said.split() == ids
    assert must(node, f"podman run --rm --volume data:/data {image} cat /data/file") == "kept\n"
    assert "198.18.7.0/24" in must(node, "podman network inspect app")
    assert before == must(node, DATA)
    must(node, "systemctl mask docker.service")  # of a unit that has gone
    assert "changed=0 " in switched(node, "migrate", "--tags", "podman")
    must(node, "systemctl unmask docker.service")


def test_a_docker_of_no_package_is_left_alone(node: LabNode) -> None:
    must(node, "install --mode=755 /dev/null /usr/local/bin/dockerd")
    ended = switch(node, "migrate", "--tags", "validate")
    assert ended.code != 0
    assert "Install docker-ce in its place" in " ".join(ended.output.split())
    must(node, "rm /usr/local/bin/dockerd")


def test_a_docker_that_is_stopped_is_not_removed_unseen(node: LabNode) -> None:
    must(node, "dnf --assumeyes --quiet remove podman-docker")
    runs_docker(node)
    must(node, "docker volume create late; docker start web")
    must(node, "systemctl stop docker.socket docker.service")
    for how in ("refuse", "migrate"):
        ended = switch(node, how, "--tags", "validate")
        assert ended.code != 0
        said = " ".join(ended.output.split())
        assert f"podman_replace_docker is {how}" in said
        assert "start Docker and look again" in said


def test_removed_as_it_is(node: LabNode, before: str) -> None:
    must(node, "systemctl start docker.service; pgrep -f 'sleep 1000000'")
    switched(node, "remove", "--tags", "podman")
    assert installed(node) == {"podman", "podman-docker"}
    assert node.run("pgrep -f 'sleep 1000000'").code != 0
    assert node.run("podman volume exists late").code != 0
    assert set(before.splitlines()) <= set(must(node, DATA).splitlines())
    assert "changed=0 " in switched(node, "remove", "--tags", "podman")
