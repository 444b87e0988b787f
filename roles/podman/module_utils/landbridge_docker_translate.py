# SPDX-License-Identifier: Apache-2.0
"""The daemon's settings in Podman's words: translated, the same anyway, or what to do."""

from __future__ import annotations

import ipaddress
import json
from pathlib import Path
from urllib.parse import urlsplit

from ansible.module_utils.landbridge_docker_keys import DROP_IN, HARMLESS, SAME, TODO, conf
from ansible.module_utils.landbridge_docker_secrets import within, without

DATA_ROOT = "/var/lib/docker"
SOCKETS = ("fd://", "unix:///var/run/docker.sock", "unix:///run/docker.sock")
# Logs in files of Docker's own: Podman's go to the journal, where they outlive the container.
_FILE_LOGS = ("json-file", "local")


class Translation:
    """Collects what becomes of each key."""

    def __init__(self, settings):
        self._settings = settings
        self.translated = {}
        self.untranslated = []
        self.harmless = []
        self._handled = set()

    def todo(self, key, value, *needs):
        """List a key with what to do."""
        origin = self._settings.origin.get(key, "default")
        self._handled.add(key)
        shown = within(value, key)
        self.untranslated.append({"key": key, "value": shown, "from": origin, "needs": list(needs)})

    def same(self, key):
        """Podman does it anyway."""
        self._handled.add(key)
        if key not in self.harmless:
            self.harmless.append(key)

    def done(self, key):
        """The key is in `translated`."""
        self._handled.add(key)

    def left(self, key):
        """The value of a key that nobody has dealt with yet; None if there is none."""
        return None if key in self._handled else self._settings.values.get(key)

    def remaining(self):
        """Keys that nobody has dealt with yet."""
        return [key for key in self._settings.values if key not in self._handled]


def translate(settings):
    """The part `settings` of the survey's answer."""
    result = Translation(settings)
    _storage(result)
    _registries(result)
    _logs(result)
    _pools(result)
    _runtimes(result)
    _hosts(result)
    _limits(result)
    _features(result)
    for key in result.remaining():
        _other(result, key, result.left(key))
    for name, (value, where) in settings.proxies.items():
        shown = without(value)
        result.untranslated.append(
            {"key": name, "value": shown, "from": where, "needs": [_proxy(f"{name}={shown}")]}
        )
    return {
        "file": settings.file,
        "translated": result.translated,
        "untranslated": result.untranslated,
        "harmless": result.harmless,
    }


def data_root(settings):
    """Docker's data directory."""
    return settings.get("data-root", settings.get("graph", DATA_ROOT))


def socket_of(settings):
    """Path of the unix socket that the daemon listens on; empty if it has none."""
    hosts = settings.get("hosts", []) or ["unix:///run/docker.sock"]
    paths = [host.removeprefix("unix://") for host in hosts if host.startswith("unix://")]
    return (paths or ["/run/docker.sock" if "fd://" in hosts else ""])[0]


def _storage(result):
    key = "data-root" if result.left("data-root") else "graph"
    path = result.left(key) or DATA_ROOT
    real = Path(path).resolve()
    if result.left(key):
        result.done(key)
        # A mount point has no sibling on its own file system.
        parent = real / "podman" if real.is_mount() else real.parent / "containers"
        result.translated["graphroot"] = str(parent / "storage")
    elif real != Path(path) or real.is_mount():
        result.todo(
            "data-root",
            path,
            f"{path} is a file system or a link of its own, so Docker's data is not where Podman's "
            "goes: set podman_graphroot to a directory on it, or see that "
            "/var/lib/containers/storage has room for the images and volumes",
        )


def _registries(result):
    insecure = [entry for entry in result.left("insecure-registries") or [] if entry]
    mirrors = result.left("registry-mirrors") or []
    plain = [_host(entry) for entry in insecure if "/" not in _host(entry)]
    registries = [
        {
            "prefix": "docker.io",
            "location": _host(url),
            "insecure": url.startswith("http://") or _host(url) in plain,
        }
        for url in mirrors[:1]
    ]
    registries += [{"prefix": name, "location": name, "insecure": True} for name in plain]
    if registries:
        once = {}
        for each in registries:
            once.setdefault(each["prefix"], each)
        result.translated["registries"] = [*once.values()]
    for key in ("insecure-registries", "registry-mirrors"):
        if result.left(key) is not None:
            result.done(key)
    if mirrors[1:]:
        result.todo(
            "registry-mirrors",
            mirrors[1:],
            f"podman_registries asks one place for docker.io: {registries[0]['location']}; "
            "have that one serve all images",
        )
    networks = [entry for entry in insecure if "/" in _host(entry)]
    if networks:
        result.todo(
            "insecure-registries",
            networks,
            "name each registry of these networks in podman_registries with insecure: true; "
            "Podman does not judge by addresses",
        )


def _host(url):
    """`host:port` of a URL, or the text itself where there is no scheme."""
    parts = urlsplit(url)
    return (parts.netloc.rpartition("@")[2] + parts.path if "://" in url else url).rstrip("/")


def _logs(result):
    driver = result.left("log-driver")
    if driver in (*_FILE_LOGS, "journald", "none"):
        result.done("log-driver")
        result.translated["log_driver"] = "journald" if driver in _FILE_LOGS else driver
    elif driver is not None:
        result.todo("log-driver", driver, forwarding(driver))
    options = result.left("log-opts")
    if options:
        result.todo("log-opts", options, *_log_options(options))
    elif options is not None:
        result.same("log-opts")


def forwarding(driver):
    """What to do about a log driver that Podman has not."""
    answers = {
        "syslog": "log to the journal; rsyslog reads it (imjournal) and sends it where it went",
        "passthrough": "LogDriver=passthrough in the quadlets",
    }
    instead = f"log to the journal, and have an agent of {driver}'s read it there"
    return f"Podman has no log driver {driver}: {answers.get(driver, instead)}"


def _log_options(options):
    needs = []
    if {"max-size", "max-file", "compress"} & set(options):
        needs.append(
            "the journal is rotated as a whole: SystemMaxUse= and MaxRetentionSec= in "
            "/etc/systemd/journald.conf.d/; the least is what all containers need together"
        )
    if "tag" in options:
        needs.append("a tag is a container's own: PodmanArgs=--log-opt=tag=... in its quadlet")
    rest = sorted(set(options) - {"max-size", "max-file", "compress", "tag"})
    if rest:
        needs.append(f"no counterpart: {', '.join(rest)}; the journal has CONTAINER_NAME and more")
    return needs


def _pools(result):
    pools = result.left("default-address-pools")
    if pools is None:
        return
    good, bad = [], []
    for pool in pools:
        (good if _is_pool(pool) else bad).append(pool)
    if good:
        result.translated["address_pools"] = [
            {"base": str(_network(pool)), "size": pool["size"]} for pool in good
        ]
    result.done("default-address-pools")
    if bad:
        result.todo(
            "default-address-pools",
            bad,
            "Podman cuts networks of IPv4 only from pools: give each network its Subnet",
        )


def _network(pool):
    """A pool's range; Docker takes any address in it, 172.17.0.0/12 for example."""
    return ipaddress.ip_network(pool["base"], strict=False)


def _is_pool(pool):
    try:
        base = _network(pool)
        return base.version == 4 and base.prefixlen <= int(pool["size"]) <= 30
    except (KeyError, TypeError, ValueError):
        return False


def _runtimes(result):
    runtimes = result.left("runtimes")
    if runtimes is not None:
        others = {name: value for name, value in runtimes.items() if name not in ("runc", "crun")}
        if "nvidia" in others:
            value = others.pop("nvidia")
            result.todo("runtimes", {"nvidia": value}, _NVIDIA)
        for name, value in others.items():
            path = value.get("path") or name if isinstance(value, dict) else value
            result.todo("runtimes", {name: value}, conf("engine.runtimes", f'{name} = ["{path}"]'))
        if not others and "nvidia" not in runtimes:
            result.same("runtimes")
    if result.left("default-runtime") == "nvidia":
        result.todo("default-runtime", "nvidia", _NVIDIA)
    options = result.left("exec-opts")
    if options is not None:
        rest = [option for option in options if option != "native.cgroupdriver=systemd"]
        if rest:
            result.todo(
                "exec-opts", rest, "Podman manages cgroups through systemd, as quadlets need it"
            )
        else:
            result.same("exec-opts")


_NVIDIA = (
    "podman_gpu: nvidia, and AddDevice=nvidia.com/gpu=all in the quadlets: "
    "CDI in place of a runtime of NVIDIA's"
)


def _hosts(result):
    hosts = result.left("hosts")
    if hosts is None:
        return
    result.same("hosts")
    for host in hosts:
        if host.startswith("tcp://"):
            result.todo(
                "hosts",
                [host],
                "who reaches Docker by TCP is root: Podman's socket is not offered there; clients "
                "come over SSH, as in DOCKER_HOST=ssh://root@node",
            )
        elif host not in SOCKETS:
            path = host.removeprefix("unix://")
            result.todo(
                "hosts",
                [host],
                "clients find the socket at /run/docker.sock; for the old path: "
                f"ListenStream={path} in a drop-in of podman.socket",
            )
    if any(entry["key"] == "hosts" for entry in result.untranslated):
        result.harmless.remove("hosts")


def _limits(result):
    limits = result.left("default-ulimits")
    if limits:
        words = []
        for name, limit in limits.items():
            both = limit if isinstance(limit, dict) else {"Soft": limit, "Hard": limit}
            words.append(f"{name}={both.get('Soft')}:{both.get('Hard')}")
        line = f"default_ulimits = {json.dumps(words)}"
        result.todo("default-ulimits", limits, conf("containers", line))
    proxies = result.left("proxies")
    if proxies:
        words = [
            f"{name.upper().replace('-', '_')}={without(str(value))}"
            for name, value in proxies.items()
        ]
        result.todo("proxies", proxies, *map(_proxy, words))
    group = result.left("group")
    if group is not None:
        result.todo(
            "group",
            group,
            f"podman_docker_group: {group}, if its members are to be root in effect, as with "
            "Docker; better: podman_rootless_users",
        )


def _proxy(assignment):
    return (
        f"{conf('engine', f'env = [{json.dumps(assignment)}]')}; a node that pulls from its depot "
        "alone needs none"
    )


def _features(result):
    features = result.left("features")
    if features is None:
        return
    rest = {
        name: value
        for name, value in features.items()
        if value not in (False, "false")
        and name not in ("buildkit", "cdi", "containerd-snapshotter")
    }
    if rest:
        result.todo("features", rest, "features of dockerd alone; Podman has no such switches")
    else:
        result.same("features")


def _other(result, key, value):
    same = SAME.get(key, ())
    if key in HARMLESS or value in (None, "", [], {}) or _is_same(value, same):
        result.same(key)
    elif key == "storage-driver":
        result.todo(
            key,
            value,
            "Podman keeps images with overlay (podman_storage_driver); images are copied, "
            "not taken over in place",
        )
    elif key in TODO:
        result.todo(key, value, TODO[key].format(value=json.dumps(within(value, key)), c=DROP_IN))
    else:
        result.todo(key, value, "unknown to Landbridge: see dockerd(8) and containers.conf(5)")


def _is_same(value, same):
    """Equal, and of one type: 0 is not False here."""
    choices = same if isinstance(same, tuple) else (same,)
    return any(value == choice and type(value) is type(choice) for choice in choices)
