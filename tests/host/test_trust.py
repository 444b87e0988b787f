"""The enterprise's certificates are in the node's store, and its proxies reach who needs them."""

import shlex
from typing import Any

from landbridge.facts.node import Node

ANCHORS = "/etc/pki/ca-trust/source/anchors"
STORE = "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem"


def variables(said: str) -> dict[str, str]:
    """What `env` has printed."""
    return dict(line.split("=", 1) for line in said.splitlines() if "=" in line)


def test_certificate_is_in_the_store(node: Node, anchor: str) -> None:
    certificate = node.output("cat", f"{ANCHORS}/{anchor}").split("-----")[2]
    assert certificate.split()
    assert "".join(certificate.split()) in "".join(node.output("cat", STORE).split())


def test_environment_reaches_services(node: Node, trust_environment: dict[str, Any]) -> None:
    run = ("systemd-run", "--quiet", "--wait", "--pipe", "env")
    assert variables(node.output(*run)).items() >= trust_environment.items()


def test_environment_reaches_shells(node: Node, trust_environment: dict[str, Any]) -> None:
    # nobody's shell: root's has the credentials.
    run = ("runuser", "-u", "nobody", "--", "env", "-i", "bash", "-lc", "env")
    assert variables(node.output(*run)).items() >= trust_environment.items()


def test_credentials_of_the_proxy_are_roots(node: Node, proxy_secret: str) -> None:
    assert node.output("stat", "--format=%a %U", proxy_secret).strip() == "600 root"
    value = next(iter(variables(node.output("cat", proxy_secret)).values()))
    credentials = value.partition("://")[2].partition("@")[0]
    assert credentials
    find = f"find /etc /run/systemd /usr/local -xdev -type f -perm -o=r ! -path {proxy_secret}"
    grep = f"{find} -exec grep -lF -e {shlex.quote(credentials)} {{}} +"
    assert node.run("sh", "-c", grep).stdout.strip() == ""
    assert credentials not in node.output("systemctl", "show-environment")
