# SPDX-License-Identifier: Apache-2.0
"""Docker's images, volumes, networks, projects of compose, swarm, plugins, with their needs."""

from __future__ import annotations

import re
from pathlib import Path

from ansible.module_utils.landbridge_docker_names import NAMELESS, domain
from ansible.module_utils.landbridge_docker_secrets import within

ROOT = Path("/")
COMPOSE = "com.docker.compose."
_PREDEFINED = ("bridge", "host", "none")
# What swarm's containers reach the node by.
_GATEWAY = "docker_gwbridge"
_ANONYMOUS = re.compile(r"^[0-9a-f]{64}$")
_LOOPBACK = re.compile(r"^(localhost|127\.[\d.]+|\[::1\])(:\d+)?$")
# Options of a bridge that Podman's networks have as well, or that say what it does anyway.
_BRIDGE = "com.docker.network.bridge."
_SAME_OPTIONS = {
    f"{_BRIDGE}enable_icc": "true",
    f"{_BRIDGE}enable_ip_masquerade": "true",
    f"{_BRIDGE}host_binding_ipv4": "0.0.0.0",  # noqa: S104 (Docker's own default)
    f"{_BRIDGE}default_bridge": "false",
    f"{_BRIDGE}gateway_mode_ipv4": "nat",
    "com.docker.network.enable_ipv6": "true",
}
_KEPT_OPTIONS = (
    f"{_BRIDGE}name",
    "com.docker.network.driver.mtu",
    "com.docker.network.enable_ipv4",
)
# Keys of compose files that podman-compose does in part, or Podman otherwise, and why.
_COMPOSE_KEYS = {
    "build": "`build` without BuildKit: set DOCKER_BUILDKIT=0 for docker-compose; Buildah builds",
    "configs": "`configs` come from files; those of swarm do not exist",
    "deploy": "of `deploy` only resources and restart_policy count; replicas need compose itself",
    "extends": "`extends` is merged by the tool: look at `docker-compose config`",
    "gpus": "`gpus` become devices: nvidia.com/gpu=all",
    "include": "`include` needs docker-compose 2.20 or podman-compose 1.1",
    "links": "`links` do not exist: the names of services resolve on the project's network",
    "logging": "`logging` drivers other than journald, json-file and none do not exist",
    "models": "`models` belong to Docker's model runner",
    "network_mode": "`network_mode: service:` works; in quadlets it is a pod",
    "profiles": "`profiles` are chosen at each start: name them in the unit that starts all",
    "scale": "`scale` needs compose itself: a quadlet is one container",
    "secrets": "`secrets` come from files of the node; as quadlets: podman_secrets",
    "volumes_from": "`volumes_from` works; as quadlets the lender must be one as well",
}


def image_entry(image, used_by):
    """An image of the answer."""
    names = [name for name in image.get("RepoTags") or [] if NAMELESS not in name]
    needs = []
    if not names and used_by:
        needs.append(
            f"has no name and is used by {', '.join(used_by)}: "
            f"`docker tag {image['Id'][7:19]} NAME`, or it goes with the next clearing up"
        )
    elif not names:
        needs.append("has no name and is not used: it stays in Docker's data unless it is tagged")
    local = sorted({domain(name) for name in names if _LOOPBACK.match(domain(name))})
    local = [registry for registry in local if ":" in registry]
    if local:
        needs.append(
            f"registry {', '.join(local)} is spoken to without TLS by Docker alone: "
            "podman_registries with insecure: true, to pull from it again"
        )
    return {
        "names": names,
        "id": image["Id"],
        "size": image.get("Size", 0),
        "used_by": used_by,
        "needs": needs,
    }


def is_anonymous(name):
    """Whether Docker has made a volume's name up."""
    return bool(_ANONYMOUS.match(name))


def volume_entry(volume, used_by):
    """A volume of the answer."""
    name, driver = volume["Name"], volume.get("Driver", "local")
    options, labels = volume.get("Options") or {}, volume.get("Labels") or {}
    anonymous = "com.docker.volume.anonymous" in labels or is_anonymous(name)
    return {
        "name": name,
        "driver": driver,
        "path": volume.get("Mountpoint", ""),
        "options": within(options),
        "labels": labels,
        "anonymous": anonymous,
        "used_by": used_by,
        "needs": _volume_needs(driver, options, used_by, anonymous),
    }


def _volume_needs(driver, options, used_by, anonymous):
    needs = []
    if driver != "local":
        needs.append(
            f"driver {driver} is a plugin of Docker's: mount that storage on the node itself and "
            "bind-mount it, or see [engine.volume_plugins] of containers.conf"
        )
    else:
        needs += _mount_needs(options)
    if anonymous and not used_by:
        needs.append("has no name and no container uses it: look into it, it is hardly wanted")
    return needs


def _mount_needs(options):
    """Of a volume that is a mount of something else, which Podman makes with the same options."""
    needs = []
    odd = sorted(set(options) - {"type", "device", "o"})
    if odd:
        needs.append(f"options without a counterpart: {', '.join(odd)}")
    kind, device = options.get("type", ""), options.get("device", "")
    boolean = {"nfs": "virt_use_nfs", "nfs4": "virt_use_nfs", "cifs": "virt_use_samba"}.get(kind)
    if boolean:
        needs.append(
            f"is {kind} of {device}: where SELinux is enforcing, podman_selinux_booleans with "
            f"{boolean}: true"
        )
    elif "bind" in options.get("o", "").split(","):
        needs.append(
            f"is {device} itself: where SELinux is enforcing, its files need the label "
            f"container_file_t (semanage fcontext, restorecon), or bind-mount it with :z"
        )
    return needs


def network_entry(network):
    """A network of the answer; None for those that Docker makes itself."""
    name, driver = network["Name"], network.get("Driver") or ""
    if name in _PREDEFINED or (network.get("Labels") or {}).get(f"{COMPOSE}predefined"):
        return None
    pools = (network.get("IPAM") or {}).get("Config") or []
    options = network.get("Options") or {}
    return {
        "name": name,
        "driver": driver,
        "subnets": [pool["Subnet"] for pool in pools if pool.get("Subnet")],
        "gateways": [pool["Gateway"].split("/")[0] for pool in pools if pool.get("Gateway")],
        "ip_ranges": [pool["IPRange"] for pool in pools if pool.get("IPRange")],
        "internal": bool(network.get("Internal")),
        "ipv6": bool(network.get("EnableIPv6")),
        "options": options,
        "labels": network.get("Labels") or {},
        "needs": _driver_needs(network, driver) or _option_needs(driver, options, pools),
    }


def _driver_needs(network, driver):
    if network.get("Scope") == "swarm" or driver == "overlay" or network["Name"] == _GATEWAY:
        return [
            "a network of swarm, over several nodes: Podman has none; publish ports on the nodes, "
            "and let clients reach them there"
        ]
    if network.get("ConfigOnly"):
        return ["only holds settings for other networks, which Podman has not"]
    if driver in ("macvlan", "ipvlan"):
        parent = (network.get("Options") or {}).get("parent", "INTERFACE")
        needs = [
            f"only bridges are taken over: a network quadlet with Driver={driver}, "
            f"Options=parent={parent} and the same Subnet"
        ]
        if (network.get("IPAM") or {}).get("Driver") in ("dhcp", "null"):
            dhcp = "addresses come by DHCP: `systemctl enable --now netavark-dhcp-proxy.socket`"
            needs.append(dhcp)
        return needs
    if driver not in ("bridge", "null", "host"):
        return [f"driver {driver} is a plugin of Docker's: use bridge, macvlan or ipvlan"]
    ipam = (network.get("IPAM") or {}).get("Driver") or "default"
    return [f"addresses come from the plugin {ipam}: give it a Subnet"] if ipam != "default" else []


def _option_needs(driver, options, pools):
    needs = []
    if driver == "bridge":
        odd = sorted(
            f"{key}={value}"
            for key, value in options.items()
            if key not in _KEPT_OPTIONS and _SAME_OPTIONS.get(key) != value
        )
        icc = f"{_BRIDGE}enable_icc=false"
        if icc in odd:
            odd.remove(icc)
            needs.append(
                "its containers may not reach each other (enable_icc=false), which Podman cannot "
                "forbid on one network: a network for each, with Options=isolate=true"
            )
        if odd:
            needs.append(f"options without a counterpart: {', '.join(odd)}")
    reserved = [
        address
        for pool in pools
        for address in (pool.get("AuxiliaryAddresses") or pool.get("AuxAddress") or {}).values()
    ]
    if reserved:
        needs.append(
            f"reserves {', '.join(sorted(reserved))}: Podman knows only a range to give out from, "
            "IPRange= of a network quadlet"
        )
    return needs


def compose_entries(containers):
    """The projects of compose that the containers' labels tell of."""
    projects = {}
    for container in containers:
        labels = container["Config"].get("Labels") or {}
        name = labels.get(f"{COMPOSE}project")
        if name:
            projects.setdefault(name, []).append(labels)
    return [_project(name, projects[name]) for name in sorted(projects)]


def _project(name, labels):
    folder = next((each[_DIR] for each in labels if each.get(_DIR)), "")
    files = []
    for each in labels:
        for file in filter(None, each.get(f"{COMPOSE}project.config_files", "").split(",")):
            files.append(file if file.startswith("/") else f"{folder.rstrip('/')}/{file}")
    files = list(dict.fromkeys(files))
    environment = [
        file
        for each in labels
        for file in filter(None, each.get(f"{COMPOSE}project.environment_file", "").split(","))
    ]
    return {
        "project": name,
        "files": files,
        "folder": folder,
        "environment_files": list(dict.fromkeys(environment)),
        "services": sorted({each[_SERVICE] for each in labels if each.get(_SERVICE)}),
        "needs": [*_COMPOSE_NEEDS, *_file_needs(files, labels)],
    }


_DIR = f"{COMPOSE}project.working_dir"
_SERVICE = f"{COMPOSE}service"
_COMPOSE_NEEDS = (
    "`docker compose` goes with Docker's packages: start it again with podman-compose, or with "
    "docker-compose on Podman's socket; at boot, quadlets of its containers do it",
)


def _file_needs(files, labels):
    needs, keys = [], set()
    for file in files:
        path = ROOT / file.lstrip("/")
        try:
            text = path.read_text(encoding="utf-8", errors="replace")
        except OSError:
            needs.append(
                f"{file} is not on this node, and nothing else starts the project: find it"
            )
            continue
        keys |= set(re.findall(r"^\s*([a-z_]+)\s*:", text, re.MULTILINE))
    needs += [text for key, text in _COMPOSE_KEYS.items() if key in keys]
    if any(
        "service_" in each.get(f"{COMPOSE}depends_on", "").replace("service_started", "")
        for each in labels
    ):
        needs.append(
            "waits for services to be healthy or done (depends_on): in quadlets Requires= and "
            "After=, with Notify=healthy in the one that is waited for (Podman 5)"
        )
    return needs


def swarm_entry(info, read):
    """The swarm that the node is in.

    Args:
        info: Docker's info.
        read: gives a list of the API by its name.
    """
    swarm = info.get("Swarm") or {}
    state = swarm.get("LocalNodeState") or "inactive"
    entry = {"state": state, "manager": bool(swarm.get("ControlAvailable"))}
    names = {"services": [], "secrets": [], "configs": []}
    needs = []
    if entry["manager"]:
        names = {
            kind: sorted(one["Spec"]["Name"] for one in read(kind) or []) for kind in sorted(names)
        }
    if state != "inactive":
        needs.append(
            "the node is in a swarm, which Podman has not: run each service as a quadlet on the "
            "nodes of your choice, and `docker swarm leave` before the switch"
        )
    if names["secrets"]:
        needs.append(
            f"swarm gives no secret away again ({', '.join(names['secrets'])}): find the values "
            "where they came from, for podman_secrets"
        )
    if names["configs"]:
        needs.append(
            f"`docker config inspect` tells what {', '.join(names['configs'])} hold: files to mount"
        )
    return {**entry, **names, "needs": needs}


def plugin_entry(plugin):
    """A managed plugin of the answer."""
    kinds = [kind["Capability"] for kind in _types(plugin) if kind.get("Capability")]
    return {
        "name": plugin["Name"],
        "enabled": bool(plugin.get("Enabled")),
        "needs": [
            f"plugin of Docker's ({', '.join(kinds) or 'of unknown kind'}): Podman runs none of "
            "these; see what uses it"
        ],
    }


def _types(plugin):
    types = ((plugin.get("Config") or {}).get("Interface") or {}).get("Types") or []
    return [kind for kind in types if isinstance(kind, dict)]
