"""The closed network."""

import json

from landbridge.facts.node import Node


def test_no_packet_went_outside(node: Node, counter: str) -> None:
    command = ["nft", "--json", "list", "counter", "inet", "landbridge_egress", counter]
    entries = json.loads(node.output(*command))["nftables"]
    (packets,) = [entry["counter"]["packets"] for entry in entries if "counter" in entry]
    assert packets == 0, f"{packets} packets were meant for the outside"
