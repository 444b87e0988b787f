# SPDX-License-Identifier: Apache-2.0
"""A container of Docker's as an entry of podman_quadlets.

Keys that Podman 4.6 does not know yet are given as PodmanArgs, so that an entry is good for every
release with quadlets.
"""

from __future__ import annotations

import json
import re

from ansible.module_utils.landbridge_docker_names import qualified
from ansible.module_utils.landbridge_docker_secrets import (
    is_secret,
    without,
    without_all,
)

SOCKET = "/run/podman/podman.sock"
DOCKER_SOCKETS = ("/var/run/docker.sock", "/run/docker.sock")
GPU = "nvidia.com/gpu="
_BRIDGES = ("default", "bridge", "")
_SHM = 64 << 20
# Podman strips these from the ends of values that it takes whole.
_QUOTES = ('"', "'")
# Folders of the system: another label on them would break what else reads them.
_SYSTEM = re.compile(
    r"^/$|^/(bin|boot|dev|etc|lib|lib64|proc|root|run|sbin|sys|tmp|usr|var/run)(/|$)"
    r"|^/(home|media|mnt|opt|srv|var)$|^/home/[^/]+$|^/var/(lib|log|spool|tmp|cache)(/[^/]*)?$"
)
_LABELS_OF_TOOLS = ("com.docker.", "desktop.docker.io/", "org.opencontainers.image.", "io.buildah.")


def quadlet(container, image):
    """The entry; `container` and `image` are what Docker's inspect says of them."""
    config, host = container["Config"], container["HostConfig"]
    base = (image or {}).get("Config") or {}
    unit = {"ContainerName": name_of(container), "Image": qualified(config["Image"])}
    arguments = []
    _process(unit, arguments, config, base)
    _environment(unit, container, base)
    _network(unit, arguments, container)
    _mounts(unit, arguments, container)
    _security(unit, arguments, host)
    _devices(unit, arguments, container)
    _limits(arguments, host)
    _health(unit, arguments, container)
    _logs(unit, arguments, host)
    if arguments:
        unit["PodmanArgs"] = arguments
    sections = {"Container": unit, **_service(container)}
    return {"name": name_of(container), "type": "container", "sections": sections}


def name_of(container):
    """The container's name, without the slash that Docker puts before it."""
    return container["Name"].lstrip("/")


def word(text):
    """A word of a value that Podman splits into words: quoted where it must be.

    Environment, Exec, Label, PodmanArgs and Sysctl are split; Volume and others are taken whole.
    """
    text = literal(text).replace("\\", "\\\\").replace('"', '\\"')
    text = text.replace("\n", "\\n").replace("\t", "\\t")
    return f'"{text}"' if not text or re.search(r"[\s\"'\\;#]", text) else text


def literal(text):
    """The text as a unit file says it: systemd's specifiers and variables escaped."""
    return text.replace("%", "%%").replace("$", "$$")


def split_environment(pairs):
    """Variables as a dictionary."""
    return dict(pair.partition("=")[::2] for pair in pairs or [])


def own_environment(container, base):
    """Variables of the container's own, without what its image sets."""
    of_image = split_environment(base.get("Env"))
    own = split_environment(container["Config"].get("Env"))
    return {name: value for name, value in own.items() if of_image.get(name) != value}


def secrets_of(container, base):
    """Variables of the container's own that look like secrets."""
    own = own_environment(container, base)
    return {name: value for name, value in own.items() if is_secret(name, value)}


def secret_name(container, variable):
    """The name of the Podman secret for a variable."""
    return re.sub(r"[^a-z0-9.-]+", "-", f"{name_of(container)}-{variable}".lower()).strip("-.")


def has_hidden(container, base):
    """Whether a command, health check or label holds what looks like a secret."""
    config, values = container["Config"], secrets_of(container, base).values()
    words = [*(config.get("Entrypoint") or []), *(config.get("Cmd") or [])]
    words += (config.get("Healthcheck") or {}).get("Test") or []
    labels = [f"{key}={value}" for key, value in own_labels(config, base).items()]
    return without_all(words, values) != words or any(
        without(label, values) != label for label in labels
    )


def _process(unit, arguments, config, base):
    """What runs: the image's own command is not repeated."""
    entry, command = config.get("Entrypoint") or [], config.get("Cmd") or []
    values = [v for n, v in split_environment(config.get("Env")).items() if is_secret(n, v)]
    if entry != (base.get("Entrypoint") or []):
        shown = without_all(entry, values)
        arguments.append(word(f"--entrypoint={json.dumps(shown) if shown else ''}"))
    if command and (command != (base.get("Cmd") or []) or entry != (base.get("Entrypoint") or [])):
        unit["Exec"] = " ".join(map(word, without_all(command, values)))
    if config.get("User") and config["User"] != base.get("User"):
        unit["User"], _, group = config["User"].partition(":")
        if group:
            unit["Group"] = group
    if config.get("WorkingDir") and config["WorkingDir"] != base.get("WorkingDir"):
        unit["WorkingDir"] = literal(config["WorkingDir"])
    if config.get("Tty"):
        arguments.append("--tty")
    if config.get("OpenStdin"):
        arguments.append("--interactive")
    if config.get("StopSignal") and config["StopSignal"] != base.get("StopSignal"):
        arguments.append(f"--stop-signal={config['StopSignal']}")
    if config.get("StopTimeout") is not None:
        arguments.append(f"--stop-timeout={config['StopTimeout']}")
    labels = own_labels(config, base)
    if labels:
        unit["Label"] = [word(f"{k}={without(v, values)}") for k, v in sorted(labels.items())]


def own_labels(config, base):
    """Labels that somebody has given the container; those of tools say nothing under Podman."""
    of_image = base.get("Labels") or {}
    return {
        key: value
        for key, value in (config.get("Labels") or {}).items()
        if of_image.get(key) != value and not key.startswith(_LABELS_OF_TOOLS)
    }


def _environment(unit, container, base):
    own, secrets = own_environment(container, base), secrets_of(container, base)
    plain = [word(f"{name}={value}") for name, value in own.items() if name not in secrets]
    if plain:
        unit["Environment"] = plain
    if secrets:
        unit["Secret"] = [
            f"{secret_name(container, name)},type=env,target={name}" for name in secrets
        ]


def _network(unit, arguments, container):
    config, host = container["Config"], container["HostConfig"]
    mode = host.get("NetworkMode", "")
    if mode in ("host", "none"):
        unit["Network"] = [mode]
    elif mode.startswith("container:"):
        unit["Network"] = [f"container:{container['Peer']}"]
    elif mode not in _BRIDGES:
        unit["Network"] = [
            attachment(container, name, settings)
            for name, settings in sorted(endpoints(container).items())
        ]
    short, hostname = container["Id"][:12], config.get("Hostname", "")
    if mode != "host" and hostname and hostname != short and not mode.startswith("container:"):
        domain = config.get("Domainname")
        unit["HostName"] = f"{hostname}.{domain}" if domain else hostname
    ports = published(host)
    if ports and mode not in ("host", "none"):
        unit["PublishPort"] = ports
    if host.get("PublishAllPorts"):
        arguments.append("--publish-all")
    arguments += [f"--dns={address}" for address in host.get("Dns") or []]
    arguments += [word(f"--dns-option={option}") for option in host.get("DnsOptions") or []]
    arguments += [f"--dns-search={domain}" for domain in host.get("DnsSearch") or []]
    arguments += [f"--add-host={entry}" for entry in host.get("ExtraHosts") or []]
    if mode in _BRIDGES and config.get("MacAddress"):
        arguments.append(f"--mac-address={config['MacAddress']}")


def endpoints(container):
    """The networks that a container is in, with its settings there."""
    return (container.get("NetworkSettings") or {}).get("Networks") or {}


def attachment(container, name, settings):
    """A network with the container's addresses and other names in it."""
    given = settings.get("IPAMConfig") or {}
    options = [f"ip={given['IPv4Address']}"] if given.get("IPv4Address") else []
    options += [f"ip6={given['IPv6Address']}"] if given.get("IPv6Address") else []
    own = {name_of(container), container["Id"][:12]}
    aliases = [alias for alias in settings.get("Aliases") or [] if alias not in own]
    options += [f"alias={alias}" for alias in dict.fromkeys(aliases)]
    return f"{name}:{','.join(options)}" if options else name


def published(host):
    """Published ports as PublishPort says them."""
    found = []
    for target, bindings in sorted((host.get("PortBindings") or {}).items()):
        port, _, protocol = target.partition("/")
        suffix = f"/{protocol}" if protocol not in ("", "tcp") else ""
        for binding in bindings or []:
            address, outer = binding.get("HostIp") or "", binding.get("HostPort") or ""
            address = f"[{address}]" if ":" in address else address
            address = "" if address in ("0.0.0.0", "[::]") else address  # noqa: S104 (any)
            front = f"{address}:{outer}:" if address else (f"{outer}:" if outer else "")
            found.append(f"{front}{port}{suffix}")
    return list(dict.fromkeys(found))


def _mounts(unit, arguments, container):
    host = container["HostConfig"]
    volumes = [_volume(mount) for mount in mounts(container) if mount["Type"] in ("bind", "volume")]
    if volumes:
        unit["Volume"] = volumes
    temporary = [
        f"{path}:{options}" if options else path
        for path, options in sorted((host.get("Tmpfs") or {}).items())
    ]
    for mount in host.get("Mounts") or []:
        if mount.get("Type") == "tmpfs":
            temporary.append(_tmpfs(mount))
    if temporary:
        unit["Tmpfs"] = temporary
    arguments += [f"--volumes-from={entry}" for entry in host.get("VolumesFrom") or []]


def mounts(container):
    """The container's mounts without those that it takes from others."""
    borrowed = container.get("Borrowed") or ()
    return [
        mount for mount in container.get("Mounts") or [] if mount["Destination"] not in borrowed
    ]


def _volume(mount):
    options = [] if mount.get("RW", True) else ["ro"]
    given = (mount.get("Mode") or "").split(",")
    propagation = mount.get("Propagation")
    if mount["Type"] == "bind":
        modes = [mode for mode in given if mode in ("z", "Z")]
        source = SOCKET if mount["Source"] in DOCKER_SOCKETS else mount["Source"]
        if not modes and relabelled(mount):
            modes = ["z"]
        if propagation not in (None, "", "rprivate"):
            options.append(propagation)
    else:
        # Volumes are labelled without being asked for it.
        source, modes = mount["Name"], [mode for mode in given if mode == "nocopy"]
    options += modes
    text = f"{source}:{mount['Destination']}" + (f":{','.join(options)}" if options else "")
    return literal(text)


def relabelled(mount):
    """Whether a folder of the node may get the label that containers read."""
    return not _SYSTEM.match(mount["Source"].rstrip("/") or "/")


def _tmpfs(mount):
    given = mount.get("TmpfsOptions") or {}
    options = [f"size={given['SizeBytes']}"] if given.get("SizeBytes") else []
    options += [f"mode={given['Mode']:o}"] if given.get("Mode") else []
    return mount["Target"] + (f":{','.join(options)}" if options else "")


def _security(unit, arguments, host):
    if host.get("Privileged"):
        arguments.append("--privileged")
    if host.get("CapAdd"):
        unit["AddCapability"] = list(host["CapAdd"])
    if host.get("CapDrop"):
        unit["DropCapability"] = list(host["CapDrop"])
    if host.get("ReadonlyRootfs"):
        unit["ReadOnly"] = "true"
    if host.get("Init"):
        unit["RunInit"] = "true"
    if host.get("Sysctls"):
        unit["Sysctl"] = [word(f"{key}={value}") for key, value in sorted(host["Sysctls"].items())]
    arguments += [f"--group-add={group}" for group in host.get("GroupAdd") or []]
    for key, option in (("PidMode", "pid"), ("UTSMode", "uts"), ("CgroupnsMode", "cgroupns")):
        if host.get(key) == "host":
            arguments.append(f"--{option}=host")
    if host.get("IpcMode") in ("host", "none"):
        arguments.append(f"--ipc={host['IpcMode']}")
    for option in host.get("SecurityOpt") or []:
        _security_option(unit, arguments, *option.replace(":", "=", 1).partition("=")[::2])


def _security_option(unit, arguments, key, value):
    if key == "no-new-privileges" and value != "false":
        unit["NoNewPrivileges"] = "true"
    elif (key, value) == ("label", "disable"):
        unit["SecurityLabelDisable"] = "true"
    elif key == "label":
        arguments.append(f"--security-opt=label={value}")
    elif key == "seccomp" and not value.lstrip().startswith("{"):
        unit["SeccompProfile"] = value


def _devices(unit, arguments, container):
    host = container["HostConfig"]
    devices = [
        ":".join([d["PathOnHost"], d["PathInContainer"], d.get("CgroupPermissions") or "rwm"])
        for d in host.get("Devices") or []
    ]
    devices += [GPU + which for which in gpus(container)]
    for request in host.get("DeviceRequests") or []:
        if request.get("Driver") == "cdi":
            devices += request.get("DeviceIDs") or []
    if devices:
        unit["AddDevice"] = devices
    arguments += [word(f"--device-cgroup-rule={r}") for r in host.get("DeviceCgroupRules") or []]
    socket = any(mount.get("Source") in DOCKER_SOCKETS for mount in mounts(container))
    system = any(m["Type"] == "bind" and not relabelled(m) for m in mounts(container))
    # Neither a socket of another's nor a folder of the system may get a container's label.
    if (gpus(container) or socket or system) and not host.get("Privileged"):
        unit["SecurityLabelDisable"] = "true"


def gpus(container):
    """NVIDIA's devices that a container asks for, as CDI names them."""
    host = container["HostConfig"]
    for request in host.get("DeviceRequests") or []:
        wanted = {name for group in request.get("Capabilities") or [] for name in group}
        if request.get("Driver") == "nvidia" or "gpu" in wanted:
            count = request.get("Count") or 0
            ids = request.get("DeviceIDs") or [str(number) for number in range(max(count, 0))]
            return ids or ["all"]
    if host.get("Runtime") == "nvidia":
        visible = split_environment(container["Config"].get("Env")).get("NVIDIA_VISIBLE_DEVICES")
        return visible.split(",") if visible not in (None, "", "none", "void") else []
    return []


def _limits(arguments, host):
    numbers = {
        "Memory": "memory",
        "MemoryReservation": "memory-reservation",
        "MemorySwap": "memory-swap",
        "CpuShares": "cpu-shares",
        "CpuPeriod": "cpu-period",
        "CpuQuota": "cpu-quota",
        "CpusetCpus": "cpuset-cpus",
        "CpusetMems": "cpuset-mems",
        "BlkioWeight": "blkio-weight",
        "OomScoreAdj": "oom-score-adj",
    }
    for key, option in numbers.items():
        # Docker says 0 where nothing is set, and of swap what follows from the memory.
        implied = key == "MemorySwap" and host.get(key) in (2 * host.get("Memory", 0), -1)
        if host.get(key) and not (implied and (host[key] > 0 or not host.get("Memory"))):
            arguments.append(f"--{option}={host[key]}")
    if host.get("NanoCpus"):
        arguments.append(f"--cpus={host['NanoCpus'] / 1e9:g}")
    if host.get("PidsLimit"):
        arguments.append(f"--pids-limit={host['PidsLimit']}")
    if host.get("ShmSize") not in (None, 0, _SHM):
        arguments.append(f"--shm-size={host['ShmSize']}")
    for limit in host.get("Ulimits") or []:
        arguments.append(f"--ulimit={limit['Name']}={limit['Soft']}:{limit['Hard']}")
    speeds = {"BlkioDeviceReadBps": "device-read-bps", "BlkioDeviceWriteBps": "device-write-bps"}
    speeds.update(
        {"BlkioDeviceReadIOps": "device-read-iops", "BlkioDeviceWriteIOps": "device-write-iops"}
    )
    for key, option in speeds.items():
        arguments += [f"--{option}={d['Path']}:{d['Rate']}" for d in host.get(key) or []]


def _health(unit, arguments, container):
    check = container["Config"].get("Healthcheck") or {}
    test = check.get("Test") or []
    if not test:
        return
    values = [
        v for n, v in split_environment(container["Config"].get("Env")).items() if is_secret(n, v)
    ]
    if test[0] == "NONE":
        unit["HealthCmd"] = "none"
        return
    words = without_all(test[1:], values)
    # Podman takes a JSON list for a command without a shell, unless it is a single word.
    alone = test[0] == "CMD-SHELL" or len(words) == 1
    text = " ".join(words) if alone else json.dumps(words)
    if "\n" in text or text.startswith(_QUOTES) or text.endswith(_QUOTES):
        arguments.append(word(f"--health-cmd={text}"))
    else:
        unit["HealthCmd"] = literal(text)
    times = {"Interval": "HealthInterval", "Timeout": "HealthTimeout"}
    times["StartPeriod"] = "HealthStartPeriod"
    for key, name in times.items():
        if check.get(key):
            unit[name] = f"{check[key] / 1e9:g}s"
    if check.get("Retries"):
        unit["HealthRetries"] = str(check["Retries"])


def _logs(unit, arguments, host):
    log = host.get("LogConfig") or {}
    if log.get("Type") in ("journald", "none"):
        unit["LogDriver"] = log["Type"]
        tag = (log.get("Config") or {}).get("tag")
        if tag and log["Type"] == "journald":
            arguments.append(word(f"--log-opt=tag={tag}"))


def _service(container):
    """When it starts: with whom, after what, at boot or not."""
    sections = {}
    needed = [f"{peer}.service" for peer in peers(container)]
    if needed:
        sections["Unit"] = {"Requires": " ".join(needed), "After": " ".join(needed)}
    policy = container["HostConfig"].get("RestartPolicy") or {}
    name = policy.get("Name") or "no"
    if name == "on-failure":
        sections["Service"] = {"Restart": "on-failure"}
        if policy.get("MaximumRetryCount"):
            unit = sections.setdefault("Unit", {})
            # Docker counts until the container has run for a while, systemd within a time.
            unit["StartLimitBurst"] = str(policy["MaximumRetryCount"] + 1)
            unit["StartLimitIntervalSec"] = "10min"
    elif name == "no":
        sections["Service"] = {"Restart": "no"}
    if rests(container):
        sections["Install"] = {}
    parent = container["HostConfig"].get("CgroupParent") or ""
    if parent.endswith(".slice"):
        sections.setdefault("Service", {})["Slice"] = parent
    return sections


def rests(container):
    """Whether Docker would not start the container by itself either."""
    policy = (container["HostConfig"].get("RestartPolicy") or {}).get("Name") or "no"
    stopped = container["State"].get("Status") in ("exited", "created", "dead")
    return stopped and policy in ("no", "unless-stopped")


def peers(container):
    """Containers that this one cannot start without."""
    lenders = [entry.split(":")[0] for entry in container["HostConfig"].get("VolumesFrom") or []]
    peer = [container["Peer"]] if container.get("Peer") else []
    return list(dict.fromkeys([*peer, *lenders]))
