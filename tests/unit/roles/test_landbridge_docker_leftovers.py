"""Module landbridge_docker_leftovers on the real packet filter, in a network of its own."""

import base64
import json
import subprocess
import sys
from typing import Any

import pytest

from tests.unit.roles.modules import MODULE_UTILS, ROLES, RUN

MODULE = ROLES / "podman" / "library" / "landbridge_docker_leftovers.py"
BRIDGE = "br-0123456789ab"
# As Docker 26 has left them, in part.
DOCKERS = f"""*filter
:FORWARD DROP [0:0]
:DOCKER - [0:0]
:DOCKER-ISOLATION-STAGE-1 - [0:0]
:DOCKER-USER - [0:0]
-A FORWARD -j DOCKER-USER
-A FORWARD -j DOCKER-ISOLATION-STAGE-1
-A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -o docker0 -j DOCKER
-A FORWARD -i {BRIDGE} ! -o {BRIDGE} -j ACCEPT
-A DOCKER-ISOLATION-STAGE-1 -j RETURN
-A DOCKER-USER -s 192.0.2.0/24 -j DROP
-A DOCKER-USER -j RETURN
COMMIT
*nat
:DOCKER - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
-A DOCKER -i docker0 -j RETURN
COMMIT
"""
PODMANS = """*filter
:NETAVARK_FORWARD - [0:0]
-A FORWARD -m comment --comment "netavark firewall rules" -j NETAVARK_FORWARD
COMMIT
"""
OTHERS = """*filter
-A INPUT -i lo -j ACCEPT
-A FORWARD -i eth7 -j ACCEPT
COMMIT
"""
SCRIPT = """
mount -t sysfs sysfs /sys
for bridge in $BRIDGES; do ip link add "$bridge" type bridge; done
[ -z "$BUSY" ] || ip link add eth9 type veth peer name eth8
[ -z "$BUSY" ] || ip link set eth9 master "$BUSY"
printf '*filter\nCOMMIT\n%s' "$RULES" | iptables-restore --noflush
for round in $ROUNDS; do
  check=false; [ $round != check ] || check=true
  printf '%s' "$ARGUMENTS" | sed "s/\\"CHECK\\"/$check/" | "$@"; echo
  { echo; iptables-save; } | base64 -w0; echo
  ip -brief link | cut -d' ' -f1 | paste -sd' '
done
"""


def clean(
    *rules: str,
    rounds: str = "real",
    bridges: tuple[str, ...] = ("docker0", BRIDGE),
    known: tuple[str, ...] = (),
    busy: str = "",
) -> list[tuple[dict[str, Any], str, set[str]]]:
    """Per round of the module: its answer, the rules and the interfaces after it."""
    arguments = {"bridges": list(known), "_ansible_check_mode": "CHECK", "_ansible_diff": True}
    module = [sys.executable, "-c", RUN, str(MODULE), *MODULE_UTILS]
    done = subprocess.run(
        ["unshare", "--net", "--mount", "sh", "-ec", SCRIPT, "sh", *module],
        env={
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "BRIDGES": " ".join(bridges),
            "BUSY": busy,
            "RULES": "".join(rules),
            "ROUNDS": rounds,
            "ARGUMENTS": json.dumps({"ANSIBLE_MODULE_ARGS": arguments}),
        },
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [line for line in done.stdout.splitlines() if line.strip()]
    return [
        (json.loads(answer), base64.b64decode(saved).decode(), set(links.split()))
        for answer, saved, links in zip(lines[::3], lines[1::3], lines[2::3], strict=True)
    ]


def test_what_was_dockers_goes_and_the_rest_stays() -> None:
    foreseen, first, second = clean(DOCKERS, PODMANS, rounds="check real again")
    assert foreseen[0]["diff"] == first[0]["diff"]
    assert "DOCKER" in foreseen[1]
    assert "docker0" in foreseen[2]
    answer, rules, links = first
    assert answer["bridges"] == [BRIDGE, "docker0"]
    assert answer["user_rules"] == ["-A DOCKER-USER -s 192.0.2.0/24 -j DROP"]
    assert answer["policy"] == "ACCEPT"
    assert "DOCKER" not in rules
    assert "docker0" not in rules
    assert BRIDGE not in rules
    assert ":FORWARD ACCEPT" in rules
    assert "-j NETAVARK_FORWARD" in rules
    assert not {"docker0", BRIDGE} & links
    assert (first[0]["changed"], second[0]["changed"]) == (True, False)


def test_others_rules_stay_and_keep_the_policy() -> None:
    ((answer, rules, _links),) = clean(DOCKERS, OTHERS)
    assert answer["policy"] == "DROP"
    assert ":FORWARD DROP" in rules
    assert "-A FORWARD -i eth7 -j ACCEPT" in rules
    assert "-A INPUT -i lo -j ACCEPT" in rules


def test_a_policy_that_docker_has_not_set_stays() -> None:
    ((answer, rules, _links),) = clean("*filter\n:FORWARD DROP [0:0]\nCOMMIT\n", bridges=())
    assert not answer["changed"]
    assert ":FORWARD DROP" in rules


@pytest.mark.parametrize(("known", "gone"), [((), {"docker0"}), (("shop0",), {"docker0", "shop0"})])
def test_a_bridge_goes_by_docker_name_or_when_it_is_told(
    known: tuple[str, ...], gone: set[str]
) -> None:
    ((_answer, _rules, links),) = clean(bridges=("docker0", "shop0", "br0"), known=known)
    assert {"docker0", "shop0", "br0"} - links == gone


def test_a_bridge_that_something_is_connected_to_stays_with_its_rules() -> None:
    ((answer, rules, links),) = clean(DOCKERS, busy=BRIDGE)
    assert BRIDGE in links
    assert f"-A FORWARD -i {BRIDGE}" in rules
    assert answer["policy"] == "DROP"
