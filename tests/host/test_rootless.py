"""Users who run containers of their own, and one who was not asked for."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from landbridge.facts.node import Node

PORT_START = "net.ipv4.ip_unprivileged_port_start"
NAMESPACES = "user.max_user_namespaces"
# Beginnings of the names of drop-ins that role podman writes.
OURS = "50-landbridge-"
LEAST = 65536
UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def uid_of(node: Node, name: str) -> str:
    return node.output("id", "-u", name).strip()


def shown(node: Node, unit: str, name: str) -> str:
    """A property of a unit, as systemd has it in effect."""
    return node.output("systemctl", "show", "--value", "-p", name, unit).strip()


def granted(node: Node, name: str, *option: str) -> set[tuple[str, str]]:
    """(first, count) of a user's subordinate ids, of whichever source."""
    done = node.run("getsubids", *option, name)  # fails where there are none
    lines = done.stdout.splitlines() if done.rc == 0 else []
    return {(line.split()[-2], line.split()[-1]) for line in lines}


def mapped(node: Node, name: str, file: str) -> set[tuple[str, str]]:
    """(first, count) of the node's ids that containers of a user have."""
    said = node.output("podman", "unshare", "cat", f"/proc/self/{file}", user=name)
    return {(line.split()[1], line.split()[2]) for line in said.splitlines()}


def at_boot(node: Node, key: str) -> list[str]:
    """The values that systemd-sysctl sets, the last of which stays."""
    said = node.output("systemd-analyze", "cat-config", "sysctl.d")
    lines = re.findall(r"^\s*-?([\w./-]+)\s*=\s*(\S+)", said, re.M)
    return [value for name, value in lines if name.replace("/", ".") == key]


def test_low_ports_are_open_to_users(node: Node, podman: str) -> None:  # noqa: ARG001
    wanted = str(node.promised("podman")["unprivileged_port_start"])
    assert node.output("sysctl", "-n", PORT_START).strip() == wanted
    assert at_boot(node, PORT_START)[-1:] == [wanted]


def test_users_may_have_namespaces(node: Node, podman: str) -> None:  # noqa: ARG001
    least = int(node.promised("podman")["user_namespaces"])
    assert int(node.output("sysctl", "-n", NAMESPACES)) >= least
    # Of what boot sets, if it does; the kernel's own value is what runs now.
    assert all(int(value) >= least for value in at_boot(node, NAMESPACES)[-1:])


def test_user_has_subordinate_ids_and_containers_use_them(
    node: Node, rootless_user: dict[str, Any]
) -> None:
    name = rootless_user["name"]
    for option, file in (((), "uid_map"), (("-g",), "gid_map")):
        ranges = granted(node, name, *option)
        assert max((int(count) for _first, count in ranges), default=0) >= LEAST
        assert ranges <= mapped(node, name, file)


def test_user_lingers_and_has_a_service_manager(node: Node, rootless_user: dict[str, Any]) -> None:
    uid = uid_of(node, rootless_user["name"])
    assert node.output("loginctl", "show-user", "--value", "-p", "Linger", uid).strip() == "yes"
    assert node.output("systemctl", "is-active", f"user@{uid}.service").strip() == "active"
    running = node.output("systemctl", "--user", "is-system-running", user=rootless_user["name"])
    assert running.strip() == "running"


def test_user_may_give_controllers_to_containers(node: Node, rootless_user: dict[str, Any]) -> None:
    wanted = set(node.promised("podman")["delegate"])
    unit = f"user@{uid_of(node, rootless_user['name'])}.service"
    found = set(shown(node, unit, "DelegateControllers").split())
    assert found == wanted or not wanted


def test_user_is_within_the_limits(node: Node, rootless_user: dict[str, Any]) -> None:
    uid = uid_of(node, rootless_user["name"])
    unit = f"user-{uid}.slice"
    limits = {name: rootless_user.get(name) for name in ("memory", "cpus", "tasks")}
    assert (OURS in shown(node, unit, "DropInPaths")) == any(limits.values())
    if limits["memory"]:
        assert memory_of(node, limits["memory"]) == int(shown(node, unit, "MemoryMax"))
    if limits["cpus"]:
        seconds = shown(node, unit, "CPUQuotaPerSecUSec")
        assert seconds_of(seconds) == float(limits["cpus"])
    if limits["tasks"]:
        assert shown(node, unit, "TasksMax") == str(limits["tasks"])


def memory_of(node: Node, limit: str) -> int:
    """Bytes of a limit, which may be a share of the node's memory."""
    if limit.endswith("%"):
        pages, size = (int(node.output("getconf", k)) for k in ("_PHYS_PAGES", "PAGE_SIZE"))
        return pages * int(limit.removesuffix("%")) // 100 * size
    number, unit = re.fullmatch(r"([0-9]+)([KMGT]?)", limit).groups()  # type: ignore[union-attr]
    return int(number) * UNITS[unit]


def seconds_of(span: str) -> float:
    """Seconds of a time as systemd writes it: 1.500000s, 500ms."""
    number, unit = re.fullmatch(r"([0-9.]+)(ms|s)", span).groups()  # type: ignore[union-attr]
    return float(number) / (1000 if unit == "ms" else 1)


def test_user_opens_as_many_files_as_asked(node: Node, rootless_user: dict[str, Any]) -> None:
    unit = f"user@{uid_of(node, rootless_user['name'])}.service"
    wanted = rootless_user.get("nofile")
    assert (f"{OURS}nofile" in shown(node, unit, "DropInPaths")) == bool(wanted)
    if wanted:
        assert shown(node, unit, "LimitNOFILE") == str(wanted)
        said = node.output("sh", "-c", "ulimit -Hn; ulimit -Sn", user=rootless_user["name"])
        assert said.split() == [str(wanted)] * 2


def test_user_stores_containers_where_asked(node: Node, rootless_user: dict[str, Any]) -> None:
    base, name = node.promised("podman")["rootless_storage"], rootless_user["name"]
    uid, home = node.output("getent", "passwd", name).split(":")[2:6:3]
    root = node.output("podman", "info", "--format", "{{.Store.GraphRoot}}", user=name).strip()
    assert root.startswith(f"{base}/{uid}/" if base else f"{home}/")
    if base:
        assert node.output("stat", "-c", "%u %a", f"{base}/{uid}").split() == [uid, "700"]
        if node.run("selinuxenabled").rc == 0:
            said = node.output("matchpathcon", "-n", f"{base}/{uid}/storage/overlay")
            assert "container_ro_file_t" in said


def test_users_who_are_not_asked_for_have_nothing_of_ours(node: Node, podman: str) -> None:  # noqa: ARG001
    names = {user["name"] for user in node.promised("podman")["rootless_users"]}
    record = "/var/lib/landbridge/podman/lingers.json"
    lingers = json.loads(node.output("cat", record)) if node.host.file(record).exists else {}
    assert lingers.keys() <= names
    units = node.output("find", "/etc/systemd/system", "-name", f"{OURS}*", "-path", "*/user*.d/*")
    ids = set(re.findall(r"/user[-@]([0-9]+)\.", units))
    assert ids <= {uid_of(node, name) for name in names}


@contextmanager
def image_of(node: Node, name: str) -> Iterator[str]:
    """An image of the bundle in a user's store, as long as it is needed and not there."""
    image = node.content["images"][0]["name"]
    there = node.run("podman", "image", "exists", image, user=name).rc == 0
    if not there:
        source = f"oci:{node.facts.depot.path}/images:{image}"
        node.output("skopeo", "copy", "--quiet", source, f"containers-storage:{image}", user=name)
    try:
        yield image
    finally:
        if not there:
            node.output("podman", "rmi", image, user=name)


def test_user_runs_a_container_that_listens(node: Node, container_user: dict[str, Any]) -> None:
    name = container_user["name"]
    start = int(node.promised("podman")["unprivileged_port_start"])
    taken = set(re.findall(r":([0-9]+) ", node.output("ss", "-Hltn")))
    port = next(str(p) for p in range(max(start, 1), 65536) if str(p) not in taken)
    with image_of(node, name) as image:
        options = ("--detach", "--rm", "--publish", f"{port}:{port}")
        made = node.output("podman", "run", *options, image, "sleep", "60", user=name).strip()
        try:
            assert f":{port} " in node.output("ss", "-Hltn")
            line = node.output("podman", "top", made, "huser", user=name).split()
            assert line[1:] == [uid_of(node, name)]
        finally:
            node.output("podman", "rm", "--force", "--time", "0", made, user=name)


def test_other_user_has_what_useradd_gave(node: Node, podman: str, user: str) -> None:  # noqa: ARG001
    for option, file in (((), "uid_map"), (("-g",), "gid_map")):
        ranges = granted(node, user, *option)
        # With ranges containers have them; without, they have the user's own id alone.
        assert mapped(node, user, file) - {one(node, user, option)} == ranges
    assert OURS not in shown(node, f"user-{uid_of(node, user)}.slice", "DropInPaths")


def one(node: Node, user: str, option: tuple[str, ...]) -> tuple[str, str]:
    """A user's own id, or group, as (first, count)."""
    return node.output("id", *(option or ("-u",)), user).strip(), "1"


def test_other_user_makes_no_store_among_the_users(node: Node, podman: str, user: str) -> None:  # noqa: ARG001
    base = node.promised("podman")["rootless_storage"]
    assert not base or node.run("test", "-w", base, user=user).rc != 0
