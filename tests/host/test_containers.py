"""Podman's engine on a host: logs, limits, networks, SELinux, GPUs, and what is cleared up."""

import ipaddress
import json
import re
import tomllib
from collections.abc import Callable
from typing import Any

import pytest

from landbridge.facts.node import Node

UNITS = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
# One of them brings the networks back when firewalld reloads; which one Podman's version says.
NETWORK_KEEPERS = ("netavark-firewalld-reload.service", "landbridge-podman-firewalld.service")
GPU_UNITS = ("nvidia-cdi-refresh.service", "landbridge-podman-cdi.service")
PRUNE = "landbridge-podman-prune"
SPOKEN = "landbridge says"


def shown(node: Node, unit: str, key: str) -> str:
    """A unit's property as systemd has it."""
    return node.output("systemctl", "show", "--value", f"--property={key}", unit).strip()


def settings(node: Node) -> dict[str, Any]:
    """What the role has told Podman; `podman info` does not tell all of it."""
    file = "/etc/containers/containers.conf.d/50-landbridge.conf"
    return tomllib.loads(node.output("cat", file))


def enabled(node: Node, unit: str) -> bool:
    """Whether a unit starts at boot."""
    return bool(node.run("systemctl", "is-enabled", "--quiet", unit).rc == 0)


def normalized(node: Node, calendar: str) -> str:
    """A calendar expression as systemd writes it itself."""
    said = node.output("systemd-analyze", "calendar", "--", calendar)
    (form,) = re.findall(r"Normalized form: (.+)", said) or [calendar]
    return str(form)


@pytest.mark.usefixtures("podman")
def test_engine_is_as_promised(node: Node) -> None:
    promised = node.promised("podman")
    host = json.loads(node.output("podman", "info", "--format", "json"))["host"]
    found = {
        "runtime": host["ociRuntime"]["name"],
        "network_backend": host["networkBackend"],
        "log_driver": host["logDriver"],
    }
    assert found == {key: promised[key] for key in found}
    assert host["eventLogger"] == "journald"
    assert (host["cgroupManager"], host["cgroupVersion"]) == ("systemd", "v2")


@pytest.mark.usefixtures("podman")
def test_processes_of_a_container_are_limited(node: Node) -> None:
    limit = settings(node)["containers"]["pids_limit"]
    assert limit == int(node.promised("podman")["pids_limit"])


@pytest.mark.usefixtures("podman")
def test_memory_of_roots_containers_is_limited(node: Node) -> None:
    wanted, limit = node.promised("podman")["memory_max"], shown(node, "machine.slice", "MemoryMax")
    if not wanted:
        assert limit == "infinity"
    elif wanted.endswith("%"):
        total = re.search(r"MemTotal: +(\d+) kB", node.output("cat", "/proc/meminfo"))
        assert total
        share = int(total[1]) * 1024 * int(wanted[:-1]) / 100
        assert abs(int(limit) - share) < UNITS["M"]
    else:
        number, unit = re.fullmatch(r"(\d+)([KMGT]?)", wanted).groups()  # type: ignore[union-attr]
        assert int(limit) == int(number) * UNITS.get(unit, 1)


def test_roots_services_are_within_the_limit(node: Node, running_quadlet: dict[str, Any]) -> None:
    user, kind = running_quadlet.get("user", "root"), running_quadlet.get("type", "container")
    own = running_quadlet.get("sections", {}).get("Service", {}).get("Slice")
    if user == "root" and kind == "container" and not own:
        assert shown(node, f"{running_quadlet['name']}.service", "Slice") == "machine.slice"


def test_networks_are_cut_from_the_pools(node: Node, address_pool: dict[str, Any]) -> None:
    """The default network lies in the first pool."""
    base, size = address_pool["base"], int(address_pool["size"])
    assert {"base": base, "size": size} in settings(node)["network"]["default_subnet_pools"]
    if address_pool != node.promised("podman")["address_pools"][0]:
        return
    (network,) = json.loads(node.output("podman", "network", "inspect", "podman"))
    (subnet,) = (ipaddress.ip_network(each["subnet"]) for each in network["subnets"])
    assert subnet.subnet_of(ipaddress.ip_network(base))  # type: ignore[arg-type]
    assert subnet.prefixlen == size


@pytest.mark.usefixtures("podman")
def test_a_user_reads_what_a_container_said(node: Node, user_of: Callable[[Node], str]) -> None:
    """In a journal that is not kept on the disk, users' entries are for root alone."""
    driver = node.promised("podman")["log_driver"]
    if driver not in ("journald", "k8s-file") or not node.content["images"]:
        return
    user, image = user_of(node), node.content["images"][0]["name"]
    source = f"oci:{node.facts.depot.path}/images:{image}"
    node.output("skopeo", "copy", "--quiet", source, f"containers-storage:{image}", user=user)
    name = "landbridge-speaks"
    command = ("--replace", f"--name={name}", "--network=none", image, "echo", SPOKEN)
    node.output("podman", "run", *command, user=user)
    try:
        assert node.output("podman", "logs", name, user=user).strip() == SPOKEN
    finally:
        node.output("podman", "rm", name, user=user)


@pytest.mark.usefixtures("firewalld")
def test_networks_survive_a_reload_of_firewalld(node: Node) -> None:
    active = [unit for unit in NETWORK_KEEPERS if node.unit(unit) == "active"]
    assert len(active) == 1
    assert enabled(node, active[0])


def test_selinux_boolean_is_set(node: Node, selinux_boolean: str) -> None:
    wanted = node.promised("podman")["selinux_booleans"][selinux_boolean]
    said = node.output("getsebool", selinux_boolean).strip()
    assert said == f"{selinux_boolean} --> {'on' if wanted else 'off'}"


@pytest.mark.usefixtures("gpu")
def test_gpus_are_described_to_podman(node: Node) -> None:
    assert "nvidia.com/gpu" in node.output("cat", "/run/cdi/nvidia.yaml")
    assert "/var/run/cdi" in settings(node)["engine"]["cdi_spec_dirs"]
    assert len([unit for unit in GPU_UNITS if enabled(node, unit)]) == 1


@pytest.mark.usefixtures("podman")
def test_leftovers_are_cleared_up_on_calendar(node: Node) -> None:
    calendar = node.promised("podman")["prune_calendar"]
    if not calendar:
        assert node.unit(f"{PRUNE}.timer") == "absent"
        return
    assert node.unit(f"{PRUNE}.timer") == "active"
    assert enabled(node, f"{PRUNE}.timer")
    form = re.escape(normalized(node, calendar))
    assert re.search(f"OnCalendar={form} ;", shown(node, f"{PRUNE}.timer", "TimersCalendar"))
    age = node.promised("podman")["prune_age"]
    assert f"--filter until={age}" in node.output(
        "cat", "/usr/local/libexec/landbridge/podman-prune"
    )


def test_users_leftovers_are_cleared_up(node: Node, rootless_user: dict[str, Any]) -> None:
    words = ("systemctl", "--user", "is-active", f"{PRUNE}.timer")
    said = node.run(*words, user=rootless_user["name"]).stdout.strip()
    assert said == ("active" if node.promised("podman")["prune_calendar"] else "inactive")
