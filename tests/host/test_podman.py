"""Podman in Docker's place."""

from typing import Any

from landbridge.facts.node import Node

# How it ends tells more than what it prints: Podman of EL9 was seen to lose the output of a program
# that is quick, on a node that has much to do.
CODE = 42


def ends(node: Node, image: str, user: str | None = None) -> int:
    """The exit code of a container of the image, whose program ends with `CODE`."""
    options = ("--rm", "--network=none")
    script = ("sh", "-c", f"exit {CODE}")
    return int(node.run("podman", "run", *options, image, *script, user=user).rc)


def test_podman_is_installed_from_rpms(node: Node) -> None:
    assert {"podman", "podman-docker"} <= set(node.facts.rpms)


def test_image_runs_as_root(node: Node, image: dict[str, Any]) -> None:
    assert ends(node, image["name"]) == CODE


def test_image_runs_rootless(node: Node, image: dict[str, Any], user: str) -> None:
    name = image["name"]
    source = f"oci:{node.facts.depot.path}/images:{name}"
    node.output("skopeo", "copy", "--quiet", source, f"containers-storage:{name}", user=user)
    assert ends(node, name, user) == CODE
