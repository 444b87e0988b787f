"""dnf, pip, conda clients and R read the depot and nothing else."""

import json
import tomllib

import pytest
import yaml

from landbridge.facts.node import Node

# What dnf makes of all its files, asked of the platform's Python.
IN_FORCE = """
import dnf, json
base = dnf.Base()
base.conf.read()
base.read_all_repos()
print(json.dumps({r.id: [r.gpgcheck, r.repo_gpgcheck] for r in base.repos.iter_enabled()}))
"""


def source(node: Node) -> str:
    """Where clients are to find the release: a depot's URL, or the node's own directory."""
    return str(node.promised("repositories")["source"])


def enabled(node: Node) -> dict[str, dict[str, str]]:
    listed = node.output("dnf", "-q", "repolist", "--enabled").splitlines()
    ids = {line.split()[0] for line in listed if line.strip()} - {"repo"}
    assert ids, "dnf has no repository"
    known = {n: k for file in node.facts.repositories.values() for n, k in file.items()}
    return {name: known.get(name, {}) for name in ids}


def test_dnf_has_the_depot_only(node: Node) -> None:
    outside = {
        name: keys.get("baseurl", "")
        for name, keys in enabled(node).items()
        if not keys.get("baseurl", "").startswith(f"{source(node)}/rpm/")
    }
    assert outside == {}


def test_dnf_checks_signatures(node: Node) -> None:
    unchecked = [name for name, keys in enabled(node).items() if keys.get("gpgcheck") != "1"]
    assert unchecked == []


@pytest.mark.usefixtures("signature")
def test_dnf_checks_who_signed_the_metadata(node: Node) -> None:
    checks = json.loads(node.output("/usr/bin/python3", "-c", IN_FORCE))
    assert checks == {name: [True, True] for name in enabled(node)}


@pytest.mark.usefixtures("signature")
def test_trusted_keys_are_roots_alone(node: Node) -> None:
    folder = "/etc/landbridge/keys"
    listed = node.output("sh", "-c", f"stat --format '%U:%G %a %n' {folder} {folder}/*.asc")
    lines = listed.splitlines()
    assert lines[0] == f"root:root 755 {folder}"
    assert [line for line in lines[1:] if not line.startswith("root:root 644 ")] == []


def test_dnf_reads_the_metadata(node: Node) -> None:
    assert "Metadata cache created" in node.output("dnf", "makecache", "--refresh")


def pip(node: Node, *arguments: str, user: str) -> str:
    """What the bundle's own pip says; it runs from its wheel, so no environment is needed."""
    depot = node.facts.depot.path
    (wheel,) = node.output("sh", "-c", f"ls {depot}/toolkit/wheels/pip-*.whl").split()
    python = f"/usr/bin/{node.content['targets'][node.target]['python']}"
    return node.output(python, f"{wheel}/pip", *arguments, user=user)


@pytest.mark.usefixtures("open_depot")
def test_pip_gets_a_wheel_from_the_depot(node: Node, user: str) -> None:
    project = node.facts.depot.pure_wheels[0]
    flags = ["--dry-run", "--no-deps", "--ignore-installed", "--target=/nonexistent"]
    assert f"Would install {project}" in pip(node, "install", *flags, project, user=user)


def test_pip_knows_the_depot_only(node: Node, user: str) -> None:
    said = pip(node, "config", "list", user=user).replace("=", " ").replace("'", "")
    urls = [word.rstrip("/") for word in said.split() if "://" in word]
    assert urls == [f"{source(node)}/pypi/simple"]


def test_conda_clients_know_the_depot_only(node: Node) -> None:
    channel = f"{source(node)}/conda"
    condarc = yaml.safe_load(node.output("cat", "/etc/conda/.condarc"))
    assert condarc["channels"] == [channel]
    assert condarc["default_channels"] == []
    pixi = tomllib.loads(node.output("cat", "/etc/pixi/config.toml"))
    assert pixi["default-channels"] == [channel]


def curl(node: Node, path: str, *options: str, user: str) -> str:
    """What a user who shows nothing gets of the depot."""
    words = ["--cacert", ca] if (ca := node.promised("repositories")["ca"]) else []
    return node.output("curl", "--silent", *words, *options, f"{source(node)}/{path}", user=user)


@pytest.mark.usefixtures("open_depot")
def test_conda_channel_is_readable(node: Node, user: str) -> None:
    index = curl(node, "conda/noarch/repodata.json", "--fail", user=user)
    assert "packages.conda" in json.loads(index)


@pytest.mark.usefixtures("closed_depot")
def test_the_depot_refuses_users_who_show_nothing(node: Node, user: str) -> None:
    status = ("--output", "/dev/null", "--write-out", "%{http_code}")
    assert curl(node, "conda/noarch/repodata.json", *status, user=user) == "401"
