"""Podman in Docker's place."""

from typing import Any

from landbridge.facts.node import Node

HELLO = ("--rm", "--network=none")


def test_podman_is_installed_from_rpms(node: Node) -> None:
    assert {"podman", "podman-docker"} <= set(node.facts.rpms)


def test_image_runs_as_root(node: Node, image: dict[str, Any]) -> None:
    said = node.output("podman", "run", *HELLO, image["name"], "echo", "landbridge")
    assert said.strip() == "landbridge"


def test_image_runs_rootless(node: Node, image: dict[str, Any], user: str) -> None:
    name = image["name"]
    source = f"oci:{node.facts.depot.path}/images:{name}"
    node.output("skopeo", "copy", "--quiet", source, f"containers-storage:{name}", user=user)
    said = node.output("podman", "run", *HELLO, name, "echo", "landbridge", user=user)
    assert said.strip() == "landbridge"
