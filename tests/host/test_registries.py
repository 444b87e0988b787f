"""Where images come from, and which are accepted."""

import base64
import hashlib
import json
import tomllib
from typing import Any

import pytest

from landbridge.facts.node import Node

pytestmark = pytest.mark.usefixtures("podman")

DROP_IN = "/etc/containers/registries.conf.d/50-landbridge.conf"
# What RHEL's own aliases would lead to a public registry, and what none knows.
SHORT_NAMES = ("busybox", "ubi9", "landbridge-must-not-be-pulled")
ACCEPT = [{"type": "insecureAcceptAnything"}]

CONFIG = b'{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}'
MANIFEST = {
    "schemaVersion": 2,
    "mediaType": "application/vnd.oci.image.manifest.v1+json",
    "config": {
        "mediaType": "application/vnd.oci.image.config.v1+json",
        "digest": f"sha256:{hashlib.sha256(CONFIG).hexdigest()}",
        "size": len(CONFIG),
    },
    "layers": [],
}
# An image that nobody signed, and that is not the depot's, as a folder.
ELSEWHERE = {
    "version": b"Directory Transport Version: 1.1\n",
    "manifest.json": json.dumps(MANIFEST).encode(),
    hashlib.sha256(CONFIG).hexdigest(): CONFIG,
}


def registries(node: Node, user: str | None) -> dict[str, dict[str, Any]]:
    """What Podman makes of every registries.conf that the user has."""
    found = json.loads(node.output("podman", "info", "--format", "json", user=user))["registries"]
    assert "search" not in found, f"unqualified names are searched in {found['search']}"
    return dict(found)


def test_drop_in_closes_the_search_list(node: Node) -> None:
    settings = tomllib.loads(node.output("cat", DROP_IN))
    assert settings["unqualified-search-registries"] == []
    assert settings["short-name-mode"] == "enforcing"


def test_registries_are_as_promised(node: Node, user: str) -> None:
    promised = node.promised("podman")
    rewritten = {entry["prefix"]: entry["location"] for entry in promised["registries"]}
    blocked = set(promised["blocked_registries"]) - set(rewritten)
    for found in (registries(node, None), registries(node, user)):
        assert {n: found[n]["Location"] for n in rewritten} == rewritten
        assert {n for n in rewritten if found[n]["Blocked"]} == set()
        assert {n for n in blocked if found[n]["Blocked"]} == blocked


def test_blocked_registries_are_refused(node: Node, user: str) -> None:
    promised = node.promised("podman")
    rewritten = {entry["prefix"] for entry in promised["registries"]}
    for name in set(promised["blocked_registries"]) - rewritten:
        image = f"{name.replace('*.', 'any.')}/landbridge/must-not-be-pulled:1"
        for who in (None, user):
            done = node.run("podman", "pull", "--quiet", image, user=who)
            assert done.rc != 0
            assert "is blocked" in done.stderr


@pytest.mark.parametrize("name", SHORT_NAMES)
def test_short_names_lead_nowhere(node: Node, user: str, name: str) -> None:
    for who in (None, user):
        done = node.run("podman", "pull", "--quiet", name, user=who)
        assert done.rc != 0
        assert "did not resolve to an alias" in done.stderr


def test_policy_is_the_promised_one(node: Node) -> None:
    promised = node.promised("podman")
    policy = json.loads(node.output("cat", "/etc/containers/policy.json"))
    transports = policy["transports"]
    assert transports["docker"].keys() == {s["prefix"] for s in promised["signed_registries"]}
    for signed in promised["signed_registries"]:
        (requirement,) = transports["docker"][signed["prefix"]]
        assert requirement["type"] == "signedBy"
        keys = base64.b64decode(requirement["keyData"]).decode()
        assert all(key.strip() in keys for key in signed["keys"])
    if promised["policy"] == "any":
        assert policy["default"] == ACCEPT
        return
    assert policy["default"] == [{"type": "reject"}]
    archives = {"dir", "docker-archive", "docker-daemon", "oci-archive", "tarball"}
    own = {"containers-storage", "docker", "oci"}
    assert transports.keys() == own | (archives if promised["policy_archives"] else set())
    layout = node.output("realpath", f"{node.facts.depot.path}/images").strip()
    (scope,) = transports["oci"]
    assert scope == "" if promised["policy_archives"] else f"{layout}/".startswith(f"{scope}/")


def test_podman_understands_the_policy(node: Node) -> None:
    promised = node.promised("podman")
    trust = json.loads(node.output("podman", "image", "trust", "show", "--json"))
    found = {e["name"]: e for e in trust if e["transport"] == "repository"}
    wanted = {s["prefix"]: s["signatures"] for s in promised["signed_registries"]}
    assert {name: entry["sigstore"] for name, entry in found.items()} == wanted
    assert {entry["type"] for entry in found.values()} <= {"signed"}
    (default,) = [e["type"] for e in trust if e["transport"] == "all"]
    assert default == ("reject" if promised["policy"] == "depot" else "accept")


def test_image_from_elsewhere_is_accepted_only_if_promised(node: Node, user: str) -> None:
    promised = node.promised("podman")
    accepted = promised["policy"] == "any" or promised["policy_archives"]
    folder = node.output("mktemp", "--directory", "/tmp/landbridge-check-XXXXXX").strip()
    try:
        for name, content in ELSEWHERE.items():
            data = base64.b64encode(content).decode()
            node.output("sh", "-c", f"echo {data} | base64 -d >{folder}/{name}")
        node.output("chmod", "-R", "a+rX", folder)
        for who in (None, user):
            target = node.output("mktemp", "--directory", user=who).strip()
            done = node.run("skopeo", "copy", f"dir:{folder}", f"dir:{target}", user=who)
            node.output("rm", "-r", target)
            assert (done.rc == 0) == accepted, done.stderr
            assert accepted or "rejected by policy" in done.stderr
    finally:
        node.output("rm", "-r", folder)


def test_users_are_logged_in(node: Node) -> None:
    for registry, user in node.promised("podman")["registry_logins"]:
        home = node.output("getent", "passwd", user).split(":")[5]
        file = f"{home}/.config/containers/auth.json"
        assert node.output("stat", "--format=%a %U", file).split() == ["600", user]
        ask = ["skopeo", "login", "--get-login", registry]
        if user == "root":  # root's services have neither a session nor a HOME
            assert node.output("systemd-run", "--quiet", "--pipe", "--wait", *ask).strip()
        else:
            assert node.output(*ask, user=user).strip()
