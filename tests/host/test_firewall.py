"""firewalld runs with what the roles declare, and with nothing else."""

import re

import pytest

from landbridge.facts.node import Node

ZONE = ("firewall-cmd", "--zone=landbridge")
pytestmark = pytest.mark.usefixtures("walls")


def test_interfaces_are_behind_the_walls(node: Node) -> None:
    assert node.output("firewall-cmd", "--state").strip() == "running"
    assert node.output("firewall-cmd", "--get-default-zone").strip() == "landbridge"


def test_open_ports_are_those_that_are_declared(node: Node) -> None:
    plain = node.output(*ZONE, "--list-ports").split()
    rules = node.output(*ZONE, "--list-rich-rules")
    ruled = ["/".join(found) for found in re.findall(r'port="(\S+)" protocol="(\w+)"', rules)]
    assert set(plain) | set(ruled) == set(node.promised("firewall")["ports"])
    assert "ssh" in node.output(*ZONE, "--list-services").split()


def test_outbound_connections_are_as_promised(node: Node) -> None:
    found = re.findall(
        r"^landbridge-\w+", node.output("firewall-cmd", "--get-active-policies"), re.M
    )
    restricted = node.promised("firewall")["outbound"] == "restricted"
    assert ("landbridge-node" in found) is restricted
