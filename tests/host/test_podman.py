"""Podman in Docker's place."""

from typing import Any

from landbridge.facts.node import Node

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
