"""Podman in Docker's place."""

import json
from typing import Any

from landbridge.facts.node import Node

DOCKER_CE = {
    "docker-ce",
    "docker-ce-cli",
    "docker-ce-rootless-extras",
    "docker-buildx-plugin",
    "docker-compose-plugin",
    "containerd.io",
}
HELLO = ("--rm", "--network=none")


def test_podman_is_installed_from_rpms(node: Node) -> None:
    assert {"podman", "podman-docker"} <= set(node.facts.rpms)


def test_image_is_the_bundles(node: Node, image: dict[str, Any]) -> None:
    found = [i for i in node.facts.images if image["name"] in i.names]
    assert found, f"{image['name']} is not in root's storage"
    digests = {found[0].digest, *(d.split("@")[-1] for d in found[0].digests)}
    assert image["digest"] in digests


def test_image_runs_as_root(node: Node, image: dict[str, Any]) -> None:
    said = node.output("podman", "run", *HELLO, image["name"], "echo", "landbridge")
    assert said.strip() == "landbridge"


def test_image_runs_rootless(node: Node, image: dict[str, Any], user: str) -> None:
    name = image["name"]
    source = f"oci:{node.facts.depot.path}/images:{name}"
    node.output("skopeo", "copy", "--quiet", source, f"containers-storage:{name}", user=user)
    said = node.output("podman", "run", *HELLO, name, "echo", "landbridge", user=user)
    assert said.strip() == "landbridge"


def test_docker_command_is_podman(node: Node) -> None:
    said = node.output("docker", "ps", "--all", "--format", "json")
    assert isinstance(json.loads(said or "[]"), list)
    assert "podman" in node.output("docker", "--version")


def test_socket_listens_at_dockers_path(node: Node) -> None:
    assert node.unit("podman.socket") == "active"
    said = node.output("podman", "--url", "unix:///run/docker.sock", "version", "--format=json")
    assert json.loads(said)["Server"]["Version"]


def test_docker_ce_is_gone(node: Node) -> None:
    assert DOCKER_CE & set(node.facts.rpms) == set()
