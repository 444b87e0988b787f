"""What a node trusts, and who reaches it: judged by clients, and by a peer that connects.

One story on a node and its peer: each test goes on where the one before ended.
"""

import base64
import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import BIN, Ended, LabNode, must, run, until
from tests.e2e.walls_peer import PROXY_PORT, TLS_PORT
from tests.lab import nodes, podman
from tests.lab.authority import authority

pytestmark = pytest.mark.usefixtures("mitogen")

PEER = "walls-peer"
SECURE = f"https://{PEER}:{TLS_PORT}"
PROXY = f"http://{PEER}:{PROXY_PORT}"
OUTSIDE = "http://outside.example.org"
PASSWORD = "a:word@with/signs"
BUNDLE = nodes.BUNDLE_MOUNT
BARE = "env -i PATH=$PATH"
PIP = f"python3 $(echo {BUNDLE}/toolkit/wheels/pip-*.whl)/pip"
PACKAGES = f'available.packages(repos = "{SECURE}/cran")'
# Each fails where it does not trust the server. None is told by the environment, so that sudo and
# cron, which have another one, are well served too.
CLIENTS = {
    "curl": f"curl -sSf {SECURE}/git/info/refs",
    "python": f"python3 -c 'import urllib.request as r; r.urlopen(\"{SECURE}/git/info/refs\")'",
    "pip": f"{PIP} download -qq --no-deps -d /tmp/pip -i {SECURE}/simple/ tabulate",
    "git": f"git ls-remote {SECURE}/git",
    "R": f"Rscript -e 'options(warn = 2); stopifnot(nrow({PACKAGES}) > 0)'",
}
# What each asks the proxy for. All end with the proxy's refusal.
ASKING = {
    "curl": f"curl -sS {OUTSIDE}/curl",
    "git": f"git ls-remote {OUTSIDE}/git",
    "pip": f"{PIP} download -qq --retries 0 -d /tmp/pip -i https://pip.example.org/ thing",
    "R": f'Rscript -e \'readLines(url("{OUTSIDE}/R", method = "libcurl"))\'',
}
# Services, and programs that read files of their own.
ASKING_ALONE = {
    "unit": f"systemd-run --quiet --wait --pipe curl -sS {OUTSIDE}/unit",
    "dnf": f"{BARE} dnf -q --repo=x --repofrompath=x,{OUTSIDE}/dnf makecache",
    "podman": f"{BARE} podman pull -q --tls-verify=false outside.example.org:80/podman/x",
}


@pytest.fixture(scope="module")
def peer(boot: Callable[..., LabNode], bundle: Path) -> LabNode:
    """A node that serves what walls_peer.py says, with the certificate of an authority."""
    peer = boot(PEER, "el10", bundle)
    pem = authority(peer.folder).issue(f"DNS:{PEER}").read_text()
    script = (Path(__file__).parent / "walls_peer.py").read_text()
    refs = f"{'0' * 39}1\\trefs/heads/main\\n"
    must(
        peer.run(
            f"""set -e
            mkdir -p /srv/files/git/info
            printf '{refs}' > /srv/files/git/info/refs
            ln -s {BUNDLE}/pypi/simple {BUNDLE}/cran /srv/files
            cat > /root/peer.pem <<'EOT'\n{pem}\nEOT
            cat > /root/peer.py <<'EOT'\n{script}\nEOT
            systemd-run --quiet --unit=peer \
                python3 /root/peer.py /root/peer.pem /srv/files /root/asked 8080"""
        )
    )
    listening = f"timeout 1 bash -c '</dev/tcp/127.0.0.1/{TLS_PORT}'"
    until(lambda: peer.run(listening).code == 0, "the peer does not serve")
    return peer


@pytest.fixture(scope="module")
def node(boot: Callable[..., LabNode], bundle: Path) -> LabNode:
    """A node with the clients."""
    node = boot("walls", "el10", bundle)
    must(apply(node, {}, tags="preflight,repositories"))
    must(node.run("dnf -q -y install git R-core podman"))
    return node


def apply(node: LabNode, variables: dict[str, Any], tags: str = "trust") -> Ended:
    """Converge the node."""
    file = node.folder / "variables.json"
    file.write_text(json.dumps(variables))
    command = ("ansible-playbook", "-i", node.inventory(), "site.yml", "--tags", tags)
    return run(BIN / command[0], *command[1:], "--extra-vars", f"@{file}")


def refused(node: LabNode) -> dict[str, str]:
    """What the clients say that do not trust the peer, all in an empty environment."""
    said = {name: node.run(f"{BARE} {way}") for name, way in CLIENTS.items()}
    return {name: ended.output for name, ended in said.items() if ended.code != 0}


def asked(peer: LabNode) -> str:
    """What the proxy was asked since the last time, and by whom."""
    return must(peer.run("cat /root/asked; : > /root/asked"))


@pytest.fixture(scope="module")
def settings(peer: LabNode) -> dict[str, Any]:
    """What role trust is told: the authority, and the proxy."""
    return {
        "trust_certificates": [(peer.folder / "ca.pem").read_text()],
        "trust_proxy_http": PROXY,
        "trust_no_proxy": [PEER],
    }


def test_nothing_is_changed_where_nothing_is_wanted(node: LabNode) -> None:
    assert "changed=0 " in must(apply(node, {}))
    assert set(refused(node)) == set(CLIENTS)


def test_a_key_among_the_certificates_is_refused(peer: LabNode, node: LabNode) -> None:
    ended = apply(node, {"trust_certificates": [str(peer.folder / f"{PEER}.pem")]})
    assert ended.code != 0
    assert "trust_certificates: entry 1 holds a private key" in ended.output


def test_every_client_trusts_the_authority(node: LabNode, settings: dict[str, Any]) -> None:
    must(apply(node, settings))
    assert refused(node) == {}
    ended = run(BIN / "landbridge", "verify", "--inventory", node.inventory(), "--only", "trust")
    must(ended)


@pytest.mark.usefixtures("settings")
def test_every_client_asks_the_proxy(node: LabNode, peer: LabNode) -> None:
    asked(peer)
    for name, way in ASKING.items():
        assert node.run(f"bash -lc {shlex.quote(way)}").code != 0 or name == "curl"
    for way in ASKING_ALONE.values():
        node.run(way)
    words = asked(peer)
    other = {"pip": "CONNECT pip.example.org:443", "podman": "outside.example.org:80/v2/"}
    for name in ASKING | ASKING_ALONE:
        assert other.get(name, f"{OUTSIDE}/{name}") in words
    must(node.run(f"bash -lc 'curl -sSf http://{PEER}:8080/git/info/refs'"))
    assert asked(peer) == ""


def test_only_root_has_the_credentials(
    node: LabNode, peer: LabNode, settings: dict[str, Any]
) -> None:
    secret = {"trust_proxy_user": "node", "trust_proxy_password": PASSWORD}
    ended = apply(node, settings | secret)
    must(ended)
    assert PASSWORD not in ended.output
    basic = base64.b64encode(f"node:{PASSWORD}".encode()).decode()
    curl = f"curl -sS {OUTSIDE}/mine"
    must(node.run(f"bash -lc '{curl}'"))
    assert f"/mine HTTP/1.1 Basic {basic}" in asked(peer)
    must(node.run(f"runuser -u nobody -- env -i bash -lc '{curl}'"))
    assert "/mine HTTP/1.1 nobody" in asked(peer)
    assert "outside.example.org" not in must(node.run("cat /etc/dnf/dnf.conf"))
    assert "changed=0 " in must(apply(node, settings | secret))
    must(run(BIN / "landbridge", "verify", "--inventory", node.inventory(), "--only", "trust"))


def test_what_is_not_wanted_any_more_goes(node: LabNode, peer: LabNode) -> None:
    must(apply(node, {}))
    assert set(refused(node)) == set(CLIENTS)
    left = "find /etc -name '*landbridge-trust*'; ls /etc/pki/ca-trust/source/anchors /etc/xdg/pip"
    assert [line for line in node.run(left).output.split() if line.startswith("land")] == []
    assert node.run("bash -lc env; systemctl show-environment").output.count("proxy") == 0
    assert asked(peer) == ""


# -- Who reaches the node, and whom it reaches -----------------------------------------------------

DECLARED, HIDDEN, NARROW, PUBLISHED = 9000, 9001, 9002, 9003
IMAGE = "localhost/tools/busybox:1"
# Node and peer by IPv6, and a port that only the peer has.
NODE_6, PEER_6, OTHER_6 = "fd00:6c62::1", "fd00:6c62::2", 9004
# The hub need not run to declare its port; something else listens there.
WALLS = {
    "preflight_ports": [],
    "firewall_enabled": True,
    "jupyterhub_address": "0.0.0.0",
    "jupyterhub_port": DECLARED,
}


@pytest.fixture(scope="module")
def listening(node: LabNode, peer: LabNode) -> LabNode:
    """The node with servers on its ports, one of them in a container of root's."""
    for each, address in ((node, NODE_6), (peer, PEER_6)):
        on = "sysctl -qw net.ipv6.conf.eth0.disable_ipv6=0"
        must(each.run(f"{on} && ip -6 address add {address}/64 dev eth0 nodad"))
    serve = "systemd-run --quiet python3 -m http.server --bind :: --directory /srv"
    must(peer.run(f"{serve} {OTHER_6}"))
    web = f"podman run -q -d --name web -p {PUBLISHED}:80 {IMAGE} httpd -f -p 80 -h /etc"
    must(
        node.run(
            f"""set -e
            for port in {DECLARED} {HIDDEN} {NARROW}; do {serve} $port; done
            podman pull -q oci:{BUNDLE}/images:{IMAGE}
            {web}"""
        )
    )
    return node


def reach(client: LabNode, address: str, *ports: int) -> set[int]:
    """The ports that a node can connect to."""
    tries = [f"timeout 3 bash -c '</dev/tcp/{address}/{port}' && echo {port}" for port in ports]
    return {
        int(port) for port in client.run(f"{{ {'; '.join(tries)}; }} 2>/dev/null").output.split()
    }


def from_peer(peer: LabNode, node: LabNode) -> set[int]:
    """The node's ports that the peer can connect to."""
    ports = (22, DECLARED, HIDDEN, NARROW, PUBLISHED)
    return reach(peer, nodes.find(node.name).host, *ports)


def by_ipv6(peer: LabNode) -> set[int]:
    """The same by IPv6, which the network of root's containers does not speak."""
    return reach(peer, NODE_6, 22, DECLARED, HIDDEN, NARROW)


def test_only_declared_ports_are_open(listening: LabNode, peer: LabNode) -> None:
    all_ports = {22, DECLARED, HIDDEN, NARROW}
    assert from_peer(peer, listening) == all_ports | {PUBLISHED}
    assert by_ipv6(peer) == all_ports
    others = ["192.0.2.0/24", "2001:db8::/32"]
    narrow = WALLS | {"firewall_extra": [{"port": NARROW, "sources": others}]}
    must(apply(listening, narrow, "firewall"))
    assert from_peer(peer, listening) == {22, DECLARED, PUBLISHED}
    assert by_ipv6(peer) == {22, DECLARED}


def test_a_restricted_node_reaches_the_depot_and_what_is_listed(
    listening: LabNode, peer: LabNode
) -> None:
    address = nodes.find(peer.name).host
    assert reach(listening, PEER, 22, 8080, TLS_PORT) == {22, 8080, TLS_PORT}
    restricted = WALLS | {
        "firewall_extra": [{"port": NARROW, "sources": [f"{address}/32", f"{PEER_6}/128"]}],
        "firewall_outbound": "restricted",
        "firewall_depot": SECURE,
        "firewall_outbound_to": [
            {"to": [podman.DNS], "port": 53, "protocol": "udp"},
            {"to": [PEER_6], "port": 22},
        ],
    }
    assert reach(listening, PEER_6, 22, OTHER_6) == {22, OTHER_6}
    must(apply(listening, restricted, "firewall"))
    assert from_peer(peer, listening) == {22, DECLARED, NARROW, PUBLISHED}
    assert by_ipv6(peer) == {22, DECLARED, NARROW}
    assert reach(listening, PEER, 22, 8080, TLS_PORT) == {TLS_PORT}
    assert reach(listening, PEER_6, 22, OTHER_6) == {22}
    inside = f"podman exec web sh -c 'echo | nc -w 3 {address} {{}}'"
    assert listening.run(inside.format(TLS_PORT)).code == 0
    assert listening.run(inside.format(8080)).code != 0
    assert "changed=0 " in must(apply(listening, restricted, "firewall"))
    inventory = listening.inventory()
    must(run(BIN / "landbridge", "verify", "--inventory", inventory, "--only", "firewall"))


def test_walls_that_are_not_wanted_any_more_go(listening: LabNode, peer: LabNode) -> None:
    must(apply(listening, WALLS | {"firewall_enabled": False}, "firewall"))
    assert reach(listening, PEER, 22, 8080) == {22, 8080}
    assert from_peer(peer, listening) == {22, PUBLISHED}
    left = "firewall-cmd --get-default-zone; find /etc/firewalld -name 'landbridge*'"
    assert must(listening.run(left)).split() == ["public"]
