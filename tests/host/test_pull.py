"""A node that converges itself does so by the clock, and nobody reads what it knows of itself."""

from typing import Any

from landbridge.facts.node import Node

OWN = "/etc/landbridge/inventory/hosts.yml /etc/landbridge/pull.json"


def test_the_timer_runs_and_starts_with_the_node(node: Node, pulls: dict[str, Any]) -> None:
    timer = pulls["timer"]
    assert node.output("systemctl", "is-active", timer).strip() == "active"
    assert node.output("systemctl", "is-enabled", timer).strip() == "enabled"


def test_the_nodes_inventory_is_roots(node: Node, pulls: dict[str, Any]) -> None:
    assert pulls
    modes = node.output("stat", "--format=%a %U", *OWN.split()).splitlines()
    assert set(modes) == {"600 root"}
