"""The platform itself."""

import json

from landbridge.facts.node import Node


def test_answers(any_node: Node) -> None:
    assert any_node.facts.os_release


def test_is_enterprise_linux(node: Node) -> None:
    release = node.facts.os_release
    family = {release["ID"], *release.get("ID_LIKE", "").split()}
    assert family & {"rhel", "fedora"}, f"{release['ID']} is not of the Enterprise Linux family"


def test_is_a_target_of_the_bundle(node: Node) -> None:
    assert node.target in node.content["targets"]


def test_systemd_runs(node: Node) -> None:
    assert node.facts.systemd.state == "running"


def test_no_unit_failed(node: Node) -> None:
    units = node.facts.systemd.units
    assert [name for name, unit in units.items() if unit.active == "failed"] == []


def test_toolkit_is_the_bundles(node: Node) -> None:
    wanted = f"/opt/landbridge/toolkits/{node.content['toolkit']['id']}"
    assert node.facts.toolkit.installed == wanted
    assert node.facts.toolkit.command == f"{wanted}/bin/landbridge"


def test_release_is_the_one_of_the_toolkit(node: Node) -> None:
    recorded = json.loads(node.output("cat", "/var/lib/landbridge/release.json"))
    assert recorded["release"] == node.content["release"]


def test_toolkit_command_starts(node: Node) -> None:
    assert "apply" in node.output("/usr/local/bin/landbridge", "--help")
