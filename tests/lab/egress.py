"""The guard of a node's network: whatever is meant for outside is refused at once and counted.

It lives in the node's network namespace but is set and read from the machine. A packet that slips
past the rules, should something on the node flush them, ends in an interface that leads nowhere
and is counted there.
"""

from __future__ import annotations

import json
import subprocess

from landbridge.errors import NodeError

_SINK = "outside0"

# Neighbour discovery and multicast membership never leave the link, and the kernel sends them by
# itself. Interfaces other than these two belong to containers inside the node.
_RULES = """
table inet landbridge_egress {{
  counter outside {{ }}
  chain refuse {{
    oifname "{sink}" icmpv6 type {{ mld2-listener-report, nd-router-solicit }} drop
    oifname "{sink}" ip protocol igmp drop
    oifname "eth0" icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert }} accept
    oifname "eth0" icmpv6 type {{ mld2-listener-report, nd-router-solicit }} accept
    oifname "eth0" ip daddr {subnet} accept
    oifname "eth0" ip6 daddr {subnet_6} accept
    oifname != {{ "eth0", "{sink}" }} accept
    counter name "outside"
    meta l4proto tcp reject with tcp reset
    reject with icmpx type admin-prohibited
  }}
  chain output {{ type filter hook output priority -400; policy accept; jump refuse; }}
  chain forward {{ type filter hook forward priority -400; policy accept; jump refuse; }}
}}
"""

# A bridge without ports: the kernel at hand may lack the dummy driver, and podman needs bridges.
_SINK_SCRIPT = f"""
ip link add {_SINK} type bridge mcast_snooping 0
ip link set {_SINK} multicast off arp off addrgenmode none
ip link set {_SINK} up
ip -6 address add fd00:99::1/128 dev {_SINK} nodad
ip -4 route add default dev {_SINK} src "$1"
ip -6 route add default dev {_SINK} src fd00:99::1
"""


def guard(pid: int, address: str, subnet: str, subnet_6: str) -> None:
    """Put the guard into the network namespace of process `pid`, whose address is `address`."""
    rules = _RULES.format(subnet=subnet, subnet_6=subnet_6, sink=_SINK)
    _in_namespace(pid, ["nft", "-f", "-"], rules)
    _in_namespace(pid, ["sh", "-ec", _SINK_SCRIPT, "sh", address])


def packets(pid: int) -> int:
    """How many packets process `pid`'s network namespace meant for outside since its guard is up.

    Raises:
        NodeError: the rules are gone (something flushed them), so that the count would be a guess.
    """
    listed = _in_namespace(pid, ["nft", "--json", "list", "table", "inet", "landbridge_egress"])
    rows = json.loads(listed)["nftables"]
    refused = next(row["counter"]["packets"] for row in rows if "counter" in row)
    links = json.loads(_in_namespace(pid, ["ip", "--json", "--stats", "link", "show", _SINK]))
    return int(refused) + int(links[0]["stats64"]["tx"]["packets"])


def _in_namespace(pid: int, command: list[str], text: str = "") -> str:
    done = subprocess.run(
        ["nsenter", "-t", str(pid), "-n", *command],
        input=text,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise NodeError(f"{' '.join(command)[:80]} in a node's network: {done.stderr.strip()}")
    return done.stdout
