"""Role podman's validate.yml refuses bad variables, by name and with the mend.

A row of BAD is a variable, a value, and words that the message must have.
"""

from typing import Any

import pytest
import yaml

from tests.unit.roles.validation import Validation

# A fresh EL10 node, and a bundle without images.
NODE = {
    "distribution_major_version": "10",
    "landbridge": {"depot": "/depot", "images": [], "target": "el10-x86_64"},
    "packages": {},
    "selinux": {"status": "disabled"},
    "cacheable": True,
}
PODMAN = Validation("podman", NODE)
# What all other parts of the role rely on.
FIRST = ("docker.yml", "validate.yml")

SECRETS, QUADLETS = "podman_secrets", "podman_quadlets"
POOLS = "podman_address_pools"
IMAGE = {"name": "localhost/tools/busybox:1", "digest": f"sha256:{'0' * 64}"}
KEY = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmQGN=\n-----END PGP PUBLIC KEY BLOCK-----\n"
REWRITE = {"prefix": "docker.io", "location": "depot.example.org:5000/docker.io"}
SIGNED = {"prefix": "registry.example.org", "keys": [KEY], "signatures": "https://example.org/s"}
LOGIN = {"registry": "registry.example.org", "username": "puller", "password": "secret-9"}
BLOCKED, REGISTRIES, SIGNEDS, LOGINS = (
    f"podman_{name}"
    for name in ("blocked_registries", "registries", "signed_registries", "registry_logins")
)
BAD: list[tuple[str, Any, str]] = [
    ("podman_images", [IMAGE], "name the directory that holds podman_images"),
    ("podman_images_layout", "/no/layout", "which is no OCI layout"),
    ("podman_runtime", "runc", "set it to crun"),
    ("podman_network_backend", "cni", "set it to netavark"),
    ("podman_pids_limit", -1, "0 for no limit"),
    ("podman_memory_max", "lots", "such as 32G"),
    ("podman_memory_max", "32 GB", "such as 32G"),
    ("podman_memory_max", "120%", "such as 80%"),
    ("podman_selinux_booleans", {"container_manage_cgroup": "yes"}, "true or false"),
    ("podman_selinux_booleans", {"container-manage": True}, "by its name"),
    ("podman_prune_age", "7d", "168h for a week"),
    ("podman_prune_age", "", "168h for a week"),
    ("podman_prune_calendar", "every week", "Sun 03:00"),
    ("podman_auto_update_calendar", "--help", "Sun 03:00"),
    ("podman_gpu", "nvidia", "install nvidia-driver"),
    ("podman_gpu", "nvidia", "nvidia-container-toolkit-base"),
    (POOLS, [{"base": "10.200.0.1/16", "size": 24}], "has host bits set"),
    (POOLS, [{"base": "10.200.0.0", "size": 32}], "as CIDR"),
    (POOLS, [{"base": "fd00::/48", "size": 64}], "IPv4"),
    (POOLS, [{"base": "10.200.0.0/16", "size": 8}], "from 16 to 30"),
    (POOLS, [{"base": "10.200.0.0/16", "size": 31}], "from 16 to 30"),
    ("podman_graphroot", "containers", "write absolute paths"),
    ("podman_graphroot", "/data/containers/", "without a slash at the end"),
    ("podman_shared_image_store", "~/images", "write absolute paths"),
    ("podman_shared_image_store", "/var/lib/containers/storage/images", "directory of its own"),
    ("podman_additional_image_stores", ["images"], "write absolute paths"),
    ("podman_additional_image_stores", ["/mnt/no/store"], "fill or mount it first"),
    ("podman_storage_driver", "vfs", "set the driver to overlay"),
    (POOLS, [{"base": b, "size": 24} for b in ("10.200.0.0/16", "10.200.8.0/24")], "overlap"),
    (SECRETS, [{"name": "a b", "value": "x"}], "letters, digits"),
    (SECRETS, [{"name": "a", "value": "x"}] * 2, "each name once per"),
    (SECRETS, [{"name": "a", "value": "x", "user": "alice"}], "one of the rootless users"),
    (SECRETS, [{"name": "a", "value": ""}], "with a value"),
    (QUADLETS, [{"name": "a", "sections": {"Container": {"Secret": "x"}}}], "podman_secrets"),
    (QUADLETS, [{"name": "a", "user": "alice", "sections": {"Container": {}}}], "add the user"),
    (QUADLETS, [{"name": "a", "type": "pod", "sections": {}}], "section Pod is missing"),
    (BLOCKED, ["https://docker.io"], "without a scheme"),
    (BLOCKED, ["docker.io/library/busybox:1"], "or a tag"),
    (REGISTRIES, [REWRITE | {"prefix": "https://docker.io"}], "without a scheme"),
    (REGISTRIES, [REWRITE | {"prefix": "*.example.org"}], "or a wildcard"),
    (REGISTRIES, [REWRITE | {"location": "http://depot.example.org"}], "without a scheme"),
    (REGISTRIES, [REWRITE | {"location": "depot/docker.io"}], "needs a port"),
    (REGISTRIES, [REWRITE, REWRITE], "each prefix once"),
    (REGISTRIES, [REWRITE | {"location": "quay.io/mirror"}], "out of podman_blocked_registries"),
    (SIGNEDS, [SIGNED | {"prefix": "https://registry.example.org"}], "without a scheme"),
    (SIGNEDS, [SIGNED, SIGNED], "write each once"),
    (SIGNEDS, [SIGNED | {"prefix": "registry.redhat.io"}], "what is below them"),
    (SIGNEDS, [SIGNED | {"keys": []}], "gpg --armor --export"),
    (SIGNEDS, [SIGNED | {"keys": ["/etc/pki/key.asc"]}], "gpg --armor --export"),
    (SIGNEDS, [SIGNED | {"keys": [KEY.replace("PUBLIC", "PRIVATE")]}], "gpg --armor --export"),
    (SIGNEDS, [SIGNED | {"signatures": "/srv/signatures"}], "file:///"),
    (LOGINS, [LOGIN | {"registry": "https://registry.example.org"}], "without a scheme"),
    (LOGINS, [LOGIN, LOGIN | {"users": ["root"]}], "each once for a user"),
    (LOGINS, [LOGIN | {"username": "who:ever"}], "has a colon"),
    (LOGINS, [LOGIN | {"password": ""}], "empty password"),
    (LOGINS, [LOGIN | {"users": ["root", "nobody-of-that-name"]}], "nobody-of-that-name: create"),
    ("podman_docker_group", "docker, wheel", "for example docker"),
    ("podman_docker_group", "996", "for example docker"),
    ("podman_docker_group", "root", "empty for root alone"),
    ("podman_rootless_users", [{"name": "no-such-user"}], "create the user first"),
    ("podman_rootless_users", [{"name": "daemon", "memory": "8 GB"}], "such as 8G"),
    ("podman_subid_first", 1000, "above those of all users"),
    ("podman_rootless_storage", "data/containers", "absolute path"),
    ("podman_rootless_storage", "/data/$USER", "absolute path"),
    ("podman_unprivileged_port_start", 70000, "from 0 to 65535"),
    ("podman_user_namespaces", 0, "above 0"),
]
# What a bad value is bad with.
WITH: dict[str, dict[str, Any]] = {
    "podman_images_layout": {"podman_images": [IMAGE]},
    "podman_storage_driver": {"podman_shared_image_store": "/var/lib/shared"},
}
# Besides the defaults.
GOOD: dict[str, Any] = {
    "podman_docker_group": "Container_Users@ad.example",
    "podman_memory_max": "32G",
    "podman_secrets": [{"name": "web-token", "value": "x"}],
    "podman_quadlets": [
        {"name": "web", "sections": {"Container": {"Image": "x.org/a:1", "Secret": "web-token"}}}
    ],
    "podman_selinux_booleans": {"container_manage_cgroup": True},
    "podman_prune_calendar": "Mon,Thu *-*-* 03:15",
    "podman_prune_age": "1h30m",
    "podman_auto_update_calendar": "",
    "podman_rootless_users": [{"name": "daemon", "memory": "25%", "cpus": 0.5}],
    "podman_rootless_storage": "/data/containers",
    "podman_unprivileged_port_start": 0,
    "podman_address_pools": [
        {"base": "198.18.0.0/16", "size": 24},
        {"base": "198.19.0.0/24", "size": 24},
    ],
    BLOCKED: ["docker.io", "quay.io", "*.example.com", "other.example.org:5000/team"],
    REGISTRIES: [REWRITE, {"prefix": "lab:5000", "location": "[fd00::1]:5000", "insecure": True}],
    SIGNEDS: [SIGNED, SIGNED | {"prefix": "registry.redhat.io/ubi9", "keys": [KEY, KEY]}],
    LOGINS: [LOGIN, LOGIN | {"registry": "localhost:5000/team", "users": ["root", "daemon"]}],
}


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What is said of the defaults, of GOOD, and of each row of BAD."""
    bad = [
        (variable, {variable: value} | WITH.get(variable, {})) for variable, value, _words in BAD
    ]
    return PODMAN.judge([{}, GOOD], bad, tmp_path_factory.mktemp("validate"))


def test_defaults_and_good_values_pass(said: list[str]) -> None:
    assert said[:2] == ["", ""]


@pytest.mark.parametrize("row", range(len(BAD)), ids=[f"{v}-{i}" for i, (v, *_) in enumerate(BAD)])
def test_bad_value_is_refused_by_name_and_with_the_mend(said: list[str], row: int) -> None:
    variable, _value, words = BAD[row]
    assert variable in said[2 + row]
    assert words in said[2 + row]


def test_every_variable_that_is_judged_has_a_row() -> None:
    assert PODMAN.judged() - {variable for variable, *_ in BAD} == set()


def test_whoever_runs_a_part_of_the_role_has_its_variables_judged() -> None:
    parts = yaml.safe_load((PODMAN.role / "tasks/main.yml").read_text())
    judged = [set(p["tags"]) for p in parts if p["ansible.builtin.import_tasks"] in FIRST]
    assert len(judged) == len(FIRST)
    assert all(tags >= {tag for part in parts for tag in part["tags"]} for tags in judged)
