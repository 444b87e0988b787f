# SPDX-License-Identifier: Apache-2.0
"""What a container needs that Podman does not do as Docker did: sentences for people."""

from __future__ import annotations

from pathlib import Path

from ansible.module_utils.landbridge_docker_keys import conf
from ansible.module_utils.landbridge_docker_names import NAMELESS
from ansible.module_utils.landbridge_docker_quadlet import (
    DOCKER_SOCKETS,
    SOCKET,
    endpoints,
    gpus,
    has_hidden,
    mounts,
    relabelled,
    rests,
    secret_name,
    secrets_of,
)
from ansible.module_utils.landbridge_docker_things import is_anonymous
from ansible.module_utils.landbridge_docker_translate import forwarding

ROOT = Path("/")
_RUNTIMES = (
    "",
    "runc",
    "io.containerd.runc.v2",
    "io.containerd.runtime.v1.linux",
    "crun",
    "nvidia",
)
_LOGS = ("", "json-file", "local", "journald", "none")
# What is written there is gone with every start of a service, and nobody misses it.
_PASSING = ("/dev", "/proc", "/run", "/sys", "/var/run", "/sbin/docker-init")
_PASSING += ("/tmp", "/var/tmp")  # noqa: S108 (the container's, and nothing is written there)
_SHOWN = 3
SWARM = "com.docker.swarm."
KUBERNETES = "io.kubernetes."


def belongs_elsewhere(container):
    """Why nothing of this container's own is to be run under Podman; empty if it is to be."""
    labels = container["Config"].get("Labels") or {}
    service = labels.get(f"{SWARM}service.name")
    if service:
        return [
            f"task of the swarm service {service}, and Podman has no swarm: write a quadlet "
            "for each node that is to run it"
        ]
    if any(key.startswith(KUBERNETES) for key in labels):
        return [
            "made by Kubernetes through cri-dockerd: move the kubelet to CRI-O or containerd "
            "first; Podman cannot serve it"
        ]
    if container["Name"].lstrip("/").startswith("buildx_buildkit_"):
        return ["a builder of docker buildx, not needed: Podman builds with Buildah"]
    return []


def needs_of(container, image, data_root):
    """All that is to be done for a container, in the order in which somebody would do it."""
    base = (image or {}).get("Config") or {}
    return [
        *_state(container),
        *_image(container, image),
        *_secrets(container, base),
        *_mounts(container, data_root),
        *_network(container),
        *_process(container),
        *_logs(container),
    ]


def loses(container):
    """Volumes that Docker deletes with the container as soon as that ends."""
    if not container["HostConfig"].get("AutoRemove"):
        return []
    names = [m.get("Name") or "" for m in container["Mounts"] or [] if m["Type"] == "volume"]
    return sorted(filter(is_anonymous, names))


def layer(changes, container):
    """What is in the container's own layer and nowhere else.

    Args:
        changes: Docker's list of changed paths, None if it could not tell.
        container: what inspect says.
    """
    if changes is None:
        return ["Docker could not say what was changed in its own layer: `docker diff` it"]
    covered = [
        *_PASSING,
        *(mount["Destination"].rstrip("/") for mount in container["Mounts"] or []),
    ]
    covered += list(container["HostConfig"].get("Tmpfs") or {})
    paths = sorted(entry["Path"] for entry in changes)
    # A folder is listed for each change below it.
    kept = [
        path
        for number, path in enumerate(paths)
        if not any(path == top or path.startswith(f"{top}/") for top in covered)
        and not any(top.startswith(f"{path}/") for top in covered)
        and not (number + 1 < len(paths) and _has_below(paths, number))
    ]
    if not kept:
        return []
    some = ", ".join(kept[:_SHOWN]) + (", ..." if len(kept) > _SHOWN else "")
    count = f"{len(kept)} path{'s were' if len(kept) > 1 else ' was'} changed"
    name = container["Name"].lstrip("/")
    return [
        f"{count} in its own layer ({some}), which is not taken over: put them on a volume, or "
        f"`docker commit {name} NAME` and run that image"
    ]


def _has_below(paths, number):
    """Whether a path of the sorted list has another one below it."""
    top = f"{paths[number]}/"
    for path in paths[number + 1 :]:
        if path.startswith(top):
            return True
        if path > top + "\U0010ffff":
            break
    return False


def _state(container):
    state, host = container["State"], container["HostConfig"]
    status = state.get("Status", "")
    policy = (host.get("RestartPolicy") or {}).get("Name") or "no"
    found = []
    if host.get("AutoRemove"):
        found.append("made with --rm, so it ends with its work: `podman run --rm` does it again")
        if lost := loses(container):
            count = f"{len(lost)} volume{'s' if len(lost) > 1 else ''}"
            found.append(
                f"Docker deletes its {count} without a name as soon as it ends, so the role does "
                "not end it: save what is wanted (`docker cp`), and stop it yourself"
            )
    elif rests(container) and policy == "no":
        code = f", exit code {state.get('ExitCode')}" if status == "exited" else ""
        found.append(
            f"is {status}{code}, and was not to restart: its quadlet does not start it (Install: "
            "{}); what ran once needs none"
        )
    elif rests(container):
        found.append(f"is {status}: its quadlet does not start it (Install: {{}})")
    elif status in ("exited", "created", "dead"):
        found.append(f"is {status}, and its quadlet starts it: leave it out if it is not wanted")
    elif policy == "no":
        found.append(
            "does not start at boot under Docker (no restart policy), and its quadlet does: "
            "Install: {} prevents that"
        )
    if status == "restarting":
        found.append("restarts again and again under Docker already: mend it first")
    if status == "paused":
        found.append("is paused; Podman starts it running")
    return found


def _image(container, image):
    if image is None:
        return [
            f"its image {container['Config']['Image']} is gone; get it before Docker is removed"
        ]
    tags = [name for name in image.get("RepoTags") or [] if not name.startswith(NAMELESS)]
    if not tags:
        return [
            f"its image has no name of its own: `docker tag {image['Id'][7:19]} NAME` before the "
            "switch, and name that in the quadlet"
        ]
    name = container["Config"]["Image"]
    if name.startswith("sha256:") or image["Id"][7:].startswith(name):
        return [f"runs its image by id; name it {tags[0]} in the quadlet"]
    plain = name if ":" in name.rpartition("/")[2] or "@" in name else f"{name}:latest"
    if "@" not in plain and plain not in tags:
        return [
            f"runs an older image than {name} is now ({image['Id'][7:19]}); Podman runs what the "
            "name means after the switch"
        ]
    return []


def _secrets(container, base):
    found = [
        f"variable {name} looks like a secret, and no value is shown: put it into podman_secrets "
        f"as {secret_name(container, name)}"
        for name in sorted(secrets_of(container, base))
    ]
    if has_hidden(container, base):
        found.append(
            "its command, health check or a label holds what looks like a secret, shown as ***: "
            "let the program read a variable or a file that a podman secret fills"
        )
    return found


def _mounts(container, data_root):
    host, found = container["HostConfig"], []
    for mount in mounts(container):
        if mount["Type"] == "bind":
            found += _bind(mount, data_root)
        elif mount["Type"] == "volume" and (mount.get("Driver") or "local") != "local":
            found.append(
                f"volume {mount.get('Name')} is of driver {mount['Driver']}: see the volume"
            )
        elif mount["Type"] not in ("volume", "tmpfs"):
            found.append(f"mount {mount['Destination']} is of type {mount['Type']}: not in Podman")
    if host.get("VolumesFrom"):
        lenders = ", ".join(entry.split(":")[0] for entry in host["VolumesFrom"])
        found.append(f"borrows volumes of {lenders}, which must run as a quadlet of that name, too")
    if (host.get("StorageOpt") or {}).get("size"):
        size = host["StorageOpt"]["size"]
        found.append(
            f"its layer is limited to {size}: PodmanArgs=--storage-opt=size={size} needs XFS "
            "with pquota below podman_graphroot"
        )
    return found


def _bind(mount, data_root):
    source, target = mount["Source"], mount["Destination"]
    if source in DOCKER_SOCKETS:
        return [
            f"talks to Docker's socket: the quadlet gives it Podman's, {SOCKET}, and switches "
            "SELinux off for it; check that the program knows how to use it"
        ]
    if source == data_root or source.startswith(f"{data_root}/"):
        return [
            f"reads Docker's own data ({source}), which Podman does not continue: logs are in the "
            "journal, volumes where `podman volume inspect` says"
        ]
    if source in ("/run", "/var/run"):
        return [
            f"has the node's {source}: Docker's socket in it becomes Podman's, see `docker.sock`"
        ]
    found = []
    if not (ROOT / source.lstrip("/")).exists():
        found.append(f"{source} does not exist: Podman makes no folders for bind mounts, create it")
    if relabelled(mount):
        if not {"z", "Z"} & set((mount.get("Mode") or "").split(",")):
            found.append(
                f"{source} is mounted with :z, so that SELinux lets containers read it: its files "
                "get the label container_file_t, so check what else reads them"
            )
    elif not container_may_see(mount):
        found.append(
            f"{source} is the system's, so it keeps its label and SELinux is switched off for this "
            f"container: mount something smaller at {target} if you can"
        )
    return found


def container_may_see(mount):
    """Folders that SELinux lets containers read under the label they have."""
    return mount["Source"] in ("/etc/localtime", "/etc/timezone", "/dev/log", "/sys/fs/cgroup")


def _network(container):
    host, found = container["HostConfig"], []
    for link in host.get("Links") or []:
        other, _, alias = link.partition(":")
        other, alias = other.lstrip("/"), alias.rpartition("/")[2]
        found.append(
            f"is linked to {other} as {alias}, which Podman has not: put both on a network of "
            f"their own (Network=), {other} with alias {alias}"
        )
    mode = host.get("NetworkMode", "")
    if mode.startswith("container:"):
        found.append(
            f"shares the network of {container['Peer']}, which must run as a quadlet of that name, "
            "too; better: one pod for both"
        )
    if host.get("PublishAllPorts"):
        found.append(
            "publishes ports of its image at numbers that change: name them in PublishPort"
        )
    if any(not entry.get("HostPort") for each in _bindings(host).values() for entry in each):
        found.append("a published port has a number that changes: name it in PublishPort")
    if any(_is_dns(entry) for each in _bindings(host).values() for entry in each):
        found.append(
            "publishes port 53 everywhere, where Podman's own DNS listens on its networks: publish "
            f"it on the node's address, or {conf('network', 'dns_bind_port = 5353')}"
        )
    if any((settings.get("DriverOpts") or {}) for settings in endpoints(container).values()):
        found.append("has driver options for a network, which Podman has not for containers")
    return found


def _bindings(host):
    return {port: entries or [] for port, entries in (host.get("PortBindings") or {}).items()}


def _is_dns(binding):
    """Whether a port is published as 53 on all addresses of the node."""
    anywhere = binding.get("HostIp") in (None, "", "0.0.0.0", "::")  # noqa: S104 (any address)
    return anywhere and binding.get("HostPort") == "53"


def _process(container):
    host, found = container["HostConfig"], []
    if gpus(container):
        found.append("uses GPUs: podman_gpu: nvidia, and nvidia-container-toolkit on the node")
    for request in host.get("DeviceRequests") or []:
        if request.get("Driver") not in ("", None, "nvidia", "cdi"):
            found.append(f"asks for devices of driver {request['Driver']}: name them in AddDevice")
    if (host.get("Runtime") or "") not in _RUNTIMES:
        found.append(
            f"runs with {host['Runtime']}, Podman's with crun: [engine.runtimes] in "
            f"containers.conf and PodmanArgs=--runtime={host['Runtime']}"
        )
    if host.get("CgroupParent") and not host["CgroupParent"].endswith(".slice"):
        found.append(
            f"its cgroup is {host['CgroupParent']}: Slice= in section Service takes a slice"
        )
    if host.get("UsernsMode") == "host":
        found.append("is exempt from userns-remap: nothing to do unless UserNS= is set for all")
    found += _security(host)
    if host.get("OomKillDisable") or host.get("MemorySwappiness") not in (None, -1, 60):
        found.append("OomKillDisable and MemorySwappiness are not on cgroup v2")
    if host.get("CpuRealtimeRuntime"):
        found.append("real-time CPU limits are not on cgroup v2")
    if (container["Config"].get("Healthcheck") or {}).get("StartInterval"):
        found.append("its health check has a start interval: HealthStartupCmd and its kin do that")
    mode = host.get("IpcMode") or ""
    if mode.startswith("container:") or (host.get("PidMode") or "").startswith("container:"):
        found.append("shares processes or memory with another container: put both into a pod")
    return found


def _security(host):
    found = []
    for option in host.get("SecurityOpt") or []:
        key, _, value = option.replace(":", "=", 1).partition("=")
        if key == "seccomp" and value.lstrip().startswith("{"):
            found.append(
                "has a seccomp profile of its own: save it on the node for SeccompProfile="
            )
        elif key == "apparmor" and value != "unconfined":
            found.append(f"has the AppArmor profile {value}; on EL it is SELinux that confines it")
        elif key == "systempaths":
            found.append("sees all of /proc and /sys (systempaths): Unmask=ALL in the quadlet")
    return found


def _logs(container):
    driver = (container["HostConfig"].get("LogConfig") or {}).get("Type") or ""
    return [] if driver in _LOGS else [forwarding(driver)]
