"""Each check runs once per node, or once per thing (image, environment ...) that a node must have.

A check asks for `node` and at most one of `THINGS`; what a node must have is read from its depot.
Run by `landbridge verify`, which hands over the nodes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from landbridge.checking import NODES
from landbridge.errors import NodeError
from landbridge.facts.node import Node

USER = "landbridge-check"
R_CHECKED = ("rmarkdown", "reticulate")
# A thing that a node has or has not, so that its checks need no name for it.
ONCE = ""


def packet_counter(node: Node) -> list[str]:
    """The counter of packets to the outside where the node has one; none elsewhere."""
    return [] if node.facts.egress_packets is None else ["outside"]


def environments(node: Node) -> list[dict[str, Any]]:
    """The conda environments that the node is to have: all of the bundle, or those promised."""
    bundled: list[dict[str, Any]] = node.content["conda"]["environments"]
    promised = node.promised("conda").get("environments")
    return [e for e in bundled if promised is None or e["name"] in promised]


def python_environments(node: Node) -> list[dict[str, Any]]:
    """Those that hold a Python; an environment of R may have none."""
    locks = node.facts.depot.locks
    return [
        environment
        for environment in environments(node)
        if any(
            re.match(r"python-\d", package)
            for lock in locks[environment["name"]].values()
            for package in lock
        )
    ]


def hub(node: Node) -> list[str]:
    """JupyterHub, where bundle and inventory want it."""
    wanted = node.is_hub and "jupyterhub" in [e["name"] for e in environments(node)]
    return [ONCE] if wanted else []


def hub_by_pam(node: Node) -> list[str]:
    """JupyterHub where a temporary user of the node can log in."""
    return hub(node) if login(node).get("authenticator", "pam") == "pam" else []


def login(node: Node) -> dict[str, Any]:
    """How users log in, where role jupyterhub has ended."""
    return dict(node.promised("jupyterhub_login"))


def login_secrets(node: Node) -> list[str]:
    """The file with the secret of a directory's or a provider's, where the login has one."""
    return [file for file in [login(node).get("secret")] if file and hub(node)]


def kernels(node: Node) -> list[str]:
    """Display names of the kernels that the hub must offer, where somebody can log in and look."""
    python = [e["kernel"] for e in environments(node) if e["kernel"]]
    return python + r_kernels(node) if hub_by_pam(node) else []


def teams(node: Node) -> list[dict[str, Any]]:
    """The teams that share a server, where role jupyterhub has ended."""
    return list(node.promised("jupyterhub_teams").get("teams", [])) if hub(node) else []


def closed_teams(node: Node) -> list[dict[str, Any]]:
    """Those that a temporary user of the node can try to get into."""
    return teams(node) if hub_by_pam(node) else []


def local_teams(node: Node) -> list[dict[str, Any]]:
    """Those of them whose group is the node's own, so that a user can be put into it."""
    files = ("getent", "--service=files", "group")
    found = [(team, team.get("group", f"team-{team['name']}")) for team in closed_teams(node)]
    return [team for team, group in found if node.run(*files, group).rc == 0]


def r_of_bundle(node: Node) -> list[str]:
    """Major and minor versions of the bundle's R for the node, the default one first."""
    return [version.rpartition(".")[0] for version in node.content["r"]["versions"][node.target]]


def r_kernels(node: Node) -> list[str]:
    """Display names of the kernels that each R must have."""
    has_kernel = "IRkernel" in [p["name"] for p in node.content["r"]["packages"]]
    return [f"R {minor} (site)" for minor in r_of_bundle(node)] if has_kernel else []


def signature(node: Node) -> list[str]:
    """The bundle's signature, where it has one."""
    file = f"{node.facts.depot.path}/manifest.json.asc"
    return [ONCE] if node.run("test", "-f", file).rc == 0 else []


def depot_for(readers: str) -> Callable[[Node], list[str]]:
    """The depot that the node's package managers read, where these may read it."""

    def found(node: Node) -> list[str]:
        # A node whose role repositories has not ended has the bundle's directory.
        allowed = node.promised("repositories").get("readers", "everyone")
        return [ONCE] if allowed == readers else []

    return found


def podman(node: Node) -> list[str]:
    """Podman, where its role has ended."""
    return [ONCE] if node.promised("podman") else []


def r_packages(node: Node) -> list[str]:
    """Those of the site's packages that have checks of their own."""
    promised = node.promised("r")
    named = [p["name"] for p in node.content["r"]["packages"]] if promised else []
    # reticulate's own choice of a Python is not the site's.
    own = [] if "RETICULATE_PYTHON" in promised.get("sessions", {}) else ["reticulate"]
    return [name for name in R_CHECKED if name in named and name not in own]


def of_podman(name: str) -> Callable[[Node], list[Any]]:
    """The entries of a list that role podman has promised."""
    return lambda node: list(node.promised("podman").get(name, []))


def images(node: Node) -> list[dict[str, Any]]:
    """The images that root has: those of the bundle, where the inventory asks for no others."""
    promised = node.promised("podman")
    wanted = promised["images"] if promised else node.content["images"]
    return list(wanted) if promised.get("root_images", True) else []


def image_users(node: Node) -> list[dict[str, Any]]:
    """The users who have the bundle's images."""
    return [u for u in of_podman("rootless_users")(node) if u.get("images", True)]


def shared_store(node: Node) -> list[str]:
    """The directory of the image store that users share, where one is promised."""
    store = node.promised("podman").get("shared_image_store")
    return [store] if store else []


def docker_group(node: Node) -> list[str]:
    """The group that may use root's socket, where one is promised."""
    group = node.promised("podman").get("docker_group")
    return [group] if group else []


def container_users(node: Node) -> list[dict[str, Any]]:
    """The users who run containers, where the bundle has an image to run."""
    return of_podman("rootless_users")(node) if node.content["images"] else []


def quadlets_with(sections: str, *keys: str) -> Callable[[Node], list[Any]]:
    """The promised quadlets that set one of the keys in one of the sections."""

    def found(node: Node) -> list[Any]:
        quadlets = node.promised("podman").get("quadlets", [])
        return [
            quadlet
            for quadlet in quadlets
            for section in sections.split()
            if set(keys) & set(quadlet.get("sections", {}).get(section) or {})
        ]

    return found


def running_quadlets(node: Node) -> list[dict[str, Any]]:
    """The promised quadlets that are to run from boot; an empty `Install` leaves it to others."""
    quadlets = node.promised("podman").get("quadlets", [])
    services = [q for q in quadlets if q.get("type", "container") in ("container", "pod", "kube")]
    return [q for q in services if q.get("sections", {}).get("Install", True)]


def firewalld(node: Node) -> list[str]:
    """firewalld, where it runs beside Podman."""
    return podman(node) if node.unit("firewalld.service") == "active" else []


def selinux(node: Node) -> list[str]:
    """SELinux, where it is enabled."""
    return [ONCE] if node.run("test", "-e", "/sys/fs/selinux/enforce").rc == 0 else []


def selinux_booleans(node: Node) -> list[str]:
    """SELinux booleans that role podman has set, where SELinux is enabled."""
    return list(node.promised("podman").get("selinux_booleans", {})) if selinux(node) else []


def gpu(node: Node) -> list[str]:
    """The maker of the GPUs that containers may ask for."""
    return [maker for maker in [node.promised("podman").get("gpu")] if maker]


def of_trust(name: str) -> Callable[[Node], list[Any]]:
    """What role trust has promised of a kind: a list, or one thing where there is one."""

    def found(node: Node) -> list[Any]:
        promised = node.promised("trust").get(name)
        return promised if isinstance(promised, list) else [promised] if promised else []

    return found


THINGS: dict[str, Callable[[Node], list[Any]]] = {
    "environment": environments,
    "python_environment": python_environments,
    "image": images,
    "r": lambda node: r_of_bundle(node) if node.promised("r") else [],
    "r_package": r_packages,
    "r_kernel": lambda node: r_kernels(node) if node.promised("r") else [],
    "r_service": lambda node: list(node.promised("r").get("services", [])),
    "hub": hub,
    "pulls": lambda node: [node.promised("pull")] if node.promised("pull") else [],
    "served": lambda node: [node.promised("depot")] if node.promised("depot") else [],
    "mirror": lambda node: [unit for unit in [node.promised("depot").get("mirror")] if unit],
    "hub_by_pam": hub_by_pam,
    "login_secret": login_secrets,
    "kernel": kernels,
    "team": teams,
    "closed_team": closed_teams,
    "local_team": local_teams,
    "counter": packet_counter,
    "podman": podman,
    "image_user": image_users,
    "shared_store": shared_store,
    "image_store": of_podman("additional_image_stores"),
    "docker_group": docker_group,
    "rootless_user": of_podman("rootless_users"),
    "container_user": container_users,
    "address_pool": of_podman("address_pools"),
    "firewalld": firewalld,
    "gpu": gpu,
    "selinux": selinux,
    "selinux_boolean": selinux_booleans,
    "quadlet": of_podman("quadlets"),
    "running_quadlet": running_quadlets,
    "checked_quadlet": quadlets_with("Container", "HealthCmd"),
    "limited_quadlet": quadlets_with("Service", "MemoryMax", "MemoryHigh", "CPUQuota", "TasksMax"),
    "secretive_quadlet": quadlets_with("Container", "Secret"),
    "publishing_quadlet": quadlets_with("Container Pod", "PublishPort"),
    "updated_quadlet": quadlets_with("Container", "AutoUpdate"),
    "signature": signature,
    "open_depot": depot_for("everyone"),
    "closed_depot": depot_for("authenticated"),
    "walls": lambda node: [ONCE] if node.promised("firewall") else [],
    "anchor": of_trust("certificates"),
    "trust_environment": of_trust("environment"),
    "proxy_secret": of_trust("secret"),
}


def label(thing: Any) -> str:
    """A thing's name in reports."""
    if isinstance(thing, dict):
        whose = f" of {thing['user']}" if thing.get("user") not in {None, "", "root"} else ""
        return f"{thing.get('name', thing.get('base', ''))}{whose}"
    return str(thing)


def reachable(node: Node) -> bool:
    """False for a node without snapshot; `test_node.py` reports it."""
    try:
        return bool(node.facts)
    except NodeError:
        return False


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make one check per node and thing."""
    nodes = metafunc.config.stash[NODES]
    if "any_node" in metafunc.fixturenames:
        metafunc.parametrize("any_node", nodes, ids=str)
    if "node" not in metafunc.fixturenames:
        return
    nodes = [node for node in nodes if reachable(node)]
    asked = [name for name in THINGS if name in metafunc.fixturenames]
    if not asked:
        metafunc.parametrize("node", nodes, ids=str)
        return
    (name,) = asked
    pairs = [(node, thing) for node in nodes for thing in THINGS[name](node)]
    ids = [f"{node}-{label(thing)}".removesuffix("-") for node, thing in pairs]
    metafunc.parametrize(("node", name), pairs, ids=ids)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A check for which no node has the thing is no check; pytest would call it skipped.

    The packets are counted last, when everything else had its chance to send some.
    """
    items[:] = [i for i in items if not any(m.name == "skip" for m in i.own_markers)]
    items.sort(key=lambda item: item.path.name == "test_network.py")


@pytest.fixture(scope="session")
def user_of() -> Iterator[Callable[[Node], str]]:
    """A function that gives a node's temporary unprivileged user, made at the first call."""
    made: set[Node] = set()
    with ExitStack() as stack:

        def user(node: Node) -> str:
            if node not in made:
                remove_user(node)  # of a run that was killed
                stack.callback(remove_user, node)
                node.output("useradd", "--create-home", "--comment", "landbridge verify", USER)
                made.add(node)
                uid = node.output("id", "-u", USER).strip()
                if store := store_of(node, uid):
                    node.output("install", "-d", "-m", "0700", "-o", USER, store)
                node.output("loginctl", "enable-linger", USER)
                node.output("systemctl", "start", f"user@{uid}.service")
            return USER

        yield user


def store_of(node: Node, uid: str) -> str:
    """A user's place for containers; empty where that is the home."""
    base = node.promised("podman").get("rootless_storage")
    return f"{base}/{uid}" if base else ""


def remove_user(node: Node) -> None:
    """Remove the temporary user with its processes, containers, linger and home."""
    if node.run("id", "-u", USER).rc != 0:
        return
    uid = node.output("id", "-u", USER).strip()
    node.output("loginctl", "disable-linger", USER)
    node.run("loginctl", "terminate-user", USER)  # fails where no session is left
    node.output("systemctl", "stop", f"user@{uid}.service", f"user-{uid}.slice")
    node.run("pkill", "-KILL", "-U", uid)  # fails where no process is left
    node.output("userdel", "--remove", USER)
    if store := store_of(node, uid):
        node.output("rm", "-rf", store)


@pytest.fixture
def user(user_of: Callable[[Node], str], node: Node) -> str:
    """The node's temporary unprivileged user; it lingers, so it has a systemd of its own."""
    return user_of(node)
