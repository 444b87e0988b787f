"""What Docker's users find in Docker's place: its command, its socket, and nothing of itself."""

import json
from typing import Any

import pytest
from testinfra.backend.base import CommandResult

from landbridge.facts.node import Node

DOCKER_CE = {
    "docker-ce",
    "docker-ce-cli",
    "docker-ce-rootless-extras",
    "docker-buildx-plugin",
    "docker-compose-plugin",
    "containerd.io",
}
ROOTS = "unix:///run/docker.sock"
OUR_PROFILE = "/etc/profile.d/landbridge-docker-host.sh"


def version(url: str) -> list[str]:
    """A command that asks who serves a socket."""
    return ["podman", "--url", url, "version", "--format={{.Server.Version}}"]


def own_socket(node: Node, user: str) -> str:
    """Where a user's own socket is."""
    return f"unix:///run/user/{node.output('id', '-u', user).strip()}/podman/podman.sock"


def at_login(node: Node, user: str) -> str:
    """DOCKER_HOST as a login shell has it."""
    return node.output("sh", "-c", 'echo "${DOCKER_HOST-}"', user=user).strip()


def test_docker_command_is_podman(node: Node) -> None:
    done = node.run("docker", "ps", "--all", "--format", "json")
    assert isinstance(json.loads(done.stdout or "[]"), list)
    assert "Emulate" not in done.stderr
    assert "podman" in node.output("docker", "--version")


def test_socket_listens_at_dockers_path(node: Node) -> None:
    assert node.unit("podman.socket") == "active"
    assert node.output("systemctl", "is-enabled", "podman.socket").strip() == "enabled"
    assert node.output(*version(ROOTS)).strip()


def test_docker_ce_is_gone(node: Node) -> None:
    assert DOCKER_CE & set(node.facts.rpms) == set()


@pytest.mark.usefixtures("podman")
def test_nothing_of_docker_listens_or_is_half_gone(node: Node) -> None:
    for unit in ("docker.socket", "docker.service", "containerd.service"):
        assert node.unit(unit) != "active"
    assert node.run("test", "-e", "/var/lib/landbridge/podman/docker.json").rc != 0


@pytest.mark.parametrize("family", ["iptables", "ip6tables"])
def test_no_rule_of_docker_drops_packets(node: Node, family: str) -> None:
    if node.run("sh", "-c", f"command -v {family}-save").rc == 0:
        assert ":DOCKER" not in node.output(f"{family}-save")
    assert node.run("ip", "link", "show", "docker0").rc != 0


def test_socket_is_the_groups_or_roots_alone(node: Node) -> None:
    group = node.promised("podman")["docker_group"]
    paths = ("/run/podman", "/run/podman/podman.sock")
    said = node.output("stat", "--format=%a %U %G", *paths).splitlines()
    assert said == [f"{711 if group else 700} root root", f"660 root {group or 'root'}"]
    # What the next one will be, after a reboot or an update.
    again = ("systemctl", "show", "--property=SocketGroup", "--value", "podman.socket")
    gid = node.output("getent", "group", group).split(":")[2] if group else ""
    assert node.output(*again).strip() == gid


@pytest.mark.usefixtures("podman")
def test_others_do_not_reach_roots_socket(node: Node, user: str) -> None:
    done = node.run(*version(ROOTS), user=user)
    assert done.rc != 0
    assert "permission denied" in done.stderr


def as_member(node: Node, user: str, group: str, *command: str) -> CommandResult:
    """Run a command as a user who is in a group besides."""
    uid = node.output("id", "-u", user).strip()
    session = f"XDG_RUNTIME_DIR=/run/user/{uid}"
    return node.run("runuser", "-u", user, "-G", group, "--", "env", session, *command)


def test_members_reach_roots_socket(node: Node, docker_group: str, user: str) -> None:
    done = as_member(node, user, docker_group, *version(ROOTS))
    assert done.rc == 0, done.stderr
    login = as_member(node, user, docker_group, "sh", "-lc", 'echo "$DOCKER_HOST"')
    assert login.stdout.strip() == ROOTS


@pytest.mark.usefixtures("podman")
def test_each_user_has_a_socket_if_promised(node: Node, user: str) -> None:
    promised = node.promised("podman")
    active = node.run("systemctl", "--user", "is-active", "podman.socket", user=user)
    assert (active.stdout.strip() == "active") is promised["user_sockets"]
    if promised["user_sockets"]:
        assert at_login(node, user) == own_socket(node, user)
        assert node.output(*version(own_socket(node, user)), user=user).strip()
    elif not promised["docker_group"]:
        assert node.run("test", "-e", OUR_PROFILE).rc == 1


def test_rootless_user_has_a_socket_if_promised(node: Node, rootless_user: dict[str, Any]) -> None:
    name, promised = rootless_user["name"], node.promised("podman")["user_sockets"]
    assert (node.run(*version(own_socket(node, name)), user=name).rc == 0) is promised
