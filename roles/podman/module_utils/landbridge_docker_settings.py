# SPDX-License-Identifier: Apache-2.0
"""How the Docker daemon is set up: daemon.json, and its unit with what drop-ins add."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

from ansible.module_utils.landbridge_docker_secrets import without

ROOT = Path("/")
FILE = "/etc/docker/daemon.json"
_UNITS = ("usr/lib/systemd/system", "run/systemd/system", "etc/systemd/system")
_SHORT = {"-D": "debug", "-H": "host", "-g": "data-root", "-s": "storage-driver", "-b": "bridge"}
_SHORT.update({"-G": "group", "-l": "log-level", "-p": "pidfile"})
# Options that may be given several times, and their keys in daemon.json.
_LISTS = {
    "host": "hosts",
    "label": "labels",
    "registry-mirror": "registry-mirrors",
    "insecure-registry": "insecure-registries",
    "exec-opt": "exec-opts",
    "storage-opt": "storage-opts",
    "dns": "dns",
    "dns-opt": "dns-opts",
    "dns-search": "dns-search",
    "authorization-plugin": "authorization-plugins",
    "cdi-spec-dir": "cdi-spec-dirs",
    "node-generic-resource": "node-generic-resources",
    "allow-nondistributable-artifacts": "allow-nondistributable-artifacts",
}
_DICTS = {"log-opt": "log-opts", "default-ulimit": "default-ulimits", "add-runtime": "runtimes"}
_DICTS.update({"default-network-opt": "default-network-opts", "feature": "features"})
# Options without a value.
_FLAGS = {"debug", "experimental", "icc", "init", "ip-forward", "ip-masq", "ip6tables", "iptables"}
_FLAGS |= {"ipv6", "live-restore", "raw-logs", "no-new-privileges", "selinux-enabled", "tls"}
_FLAGS |= {"tlsverify", "userland-proxy", "validate", "allow-direct-routing", "ip-forward-no-drop"}
_NUMBERS = {"mtu", "max-concurrent-downloads", "max-concurrent-uploads", "shutdown-timeout"}
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "FTP_PROXY")
_VARIABLE = re.compile(r"\$\{(\w+)\}|\$(\w+)")


class SettingsError(Exception):
    """Docker's settings cannot be read; the text names file, line and mend."""


class Settings:
    """The daemon's settings and where each comes from.

    They are read from files alone, so they are the same whether Docker runs, and after its packages
    have gone: the role must translate them alike in its second run.
    """

    def __init__(self):
        self.values = read_file(FILE)
        self.origin = dict.fromkeys(self.values, FILE)
        unit = read_unit()
        path, words = unit["command"]
        if "--config-file" in " ".join(words):
            other = parse_options(words).get("config-file")
            if other and other != FILE:
                self.values = read_file(other)
                self.origin = dict.fromkeys(self.values, other)
        for key, value in parse_options(words).items():
            if key not in self.values and key != "config-file":
                self.values[key] = value
                self.origin[key] = path
        self.file = FILE
        self.proxies = {
            name.upper(): (value, where)
            for name, (value, where) in unit["environment"].items()
            if name.upper() in _PROXIES
        }

    def get(self, key, default):
        """The value of a key, or what Docker does without."""
        return self.values.get(key, default)


def read_file(path):
    """The keys of a daemon.json; none where there is no file, or an empty one."""
    file = ROOT / path.lstrip("/")
    try:
        text = file.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return {}
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path}: not UTF-8: {error}; dockerd cannot read it either") from error
    if not text.strip():
        return {}
    try:
        values = json.loads(text, object_pairs_hook=lambda pairs: _once(path, pairs))
    except json.JSONDecodeError as error:
        line = text.splitlines()[error.lineno - 1].strip() if error.lineno else ""
        raise SettingsError(
            f"{path}:{error.lineno}: no JSON: {error.msg} (column {error.colno}, in "
            f"`{without(line)[:60]}`); mend that line, for example a comma too many or too few, or "
            "move the file away: dockerd does not start with it either"
        ) from error
    if not isinstance(values, dict):
        raise SettingsError(f"{path}:1: holds no object of settings; write {{...}} or remove it")
    return _known(path, values)


def _once(path, pairs):
    """An object; a key that is there twice is a mistake whose effect nobody can foresee."""
    keys = [key for key, _value in pairs]
    twice = sorted({key for key in keys if keys.count(key) > 1})
    if twice:
        raise SettingsError(f"{path}: key {twice[0]} is there twice; remove one of them")
    return dict(pairs)


_TYPES = {
    "registry-mirrors": list,
    "insecure-registries": list,
    "hosts": list,
    "default-address-pools": list,
    "exec-opts": list,
    "storage-opts": list,
    "log-opts": dict,
    "runtimes": dict,
    "features": dict,
    "default-ulimits": dict,
    "proxies": dict,
    "data-root": str,
    "graph": str,
    "log-driver": str,
    "storage-driver": str,
    "pidfile": str,
    "group": str,
}


def _known(path, values):
    """The values, of the types that are relied on."""
    words = {list: "a list", dict: "an object", str: "a string"}
    for key, kind in _TYPES.items():
        if key in values and not isinstance(values[key], kind):
            raise SettingsError(f"{path}: {key} must be {words[kind]}, is {values[key]!r}")
    return values


def read_unit():
    """docker.service as it is with its drop-ins: `command` (file, words) and `environment`."""
    unit = {"command": ("", []), "environment": {}}
    for file in _unit_files():
        path = "/" + str(file.relative_to(ROOT))
        for key, value in _service(file):
            if key == "ExecStart":
                unit["command"] = (path, value) if value else ("", [])
            elif key == "Environment":
                unit["environment"].update(_assignments(_words(value), path))
            elif key == "EnvironmentFile":
                unit["environment"].update(_environment_file(value))
    path, command = unit["command"]
    values = {name: value for name, (value, _where) in unit["environment"].items()}
    words = _words(_VARIABLE.sub(lambda m: values.get(m[1] or m[2], ""), command or ""))
    unit["command"] = (path, words[1:])
    return unit


def _words(text):
    """Words of a line as systemd splits it; as they are where its quotes do not match."""
    try:
        return shlex.split(text)
    except ValueError:
        return text.split()


def _unit_files():
    """The unit, of the folder that wins, and then its drop-ins by name."""
    units = [ROOT / folder / "docker.service" for folder in _UNITS]
    there = [file for file in units if file.is_file()]
    drop_ins = {
        file.name: file
        for folder in _UNITS
        for file in sorted((ROOT / folder / "docker.service.d").glob("*.conf"))
    }
    return there[-1:] + [drop_ins[name] for name in sorted(drop_ins)]


def _service(file):
    """Settings of a unit file's section [Service] in their order."""
    section, found = "", []
    text = file.read_text(encoding="utf-8", errors="replace").replace("\\\n", " ")
    for line in map(str.strip, text.splitlines()):
        if line.startswith("["):
            section = line
        elif section == "[Service]" and "=" in line and line[0] not in "#;":
            key, _, value = line.partition("=")
            found.append((key.strip(), value.strip()))
    return found


def _environment_file(value):
    path = value.lstrip("-")
    file = ROOT / path.lstrip("/")
    if not file.is_file():
        return {}
    lines = map(str.strip, file.read_text(encoding="utf-8", errors="replace").splitlines())
    words = []
    for line in lines:
        if line and line[0] not in "#;" and "=" in line:
            name, _, text = line.partition("=")
            words.append(f"{name.removeprefix('export ').strip()}={_unquoted(text.strip())}")
    return _assignments(words, path)


def _unquoted(text):
    quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "\"'"
    return text[1:-1] if quoted else text


def _assignments(words, path):
    pairs = (word.partition("=") for word in words if "=" in word)
    return {name: (value, path) for name, _, value in pairs}


def parse_options(words):
    """The keys that options of dockerd stand for."""
    values, rest = {}, list(words)
    while rest:
        word = rest.pop(0)
        name, sign, value = word.partition("=")
        name = _SHORT.get(name[:2], name) if not name.startswith("--") else name[2:]
        if word[:2] in _SHORT and len(word) > 2 and not sign:
            value, sign = word[2:], "="
        if not sign and name not in _FLAGS:
            value = rest.pop(0) if rest else ""
        _put(values, name, value if sign or name not in _FLAGS else "true")
    return values


def _put(values, name, value):
    if name in _LISTS:
        values.setdefault(_LISTS[name], []).append(value)
    elif name in _DICTS:
        key, _, text = value.partition("=")
        values.setdefault(_DICTS[name], {})[key] = text
    elif name == "default-address-pool":
        pool = dict(part.partition("=")[::2] for part in value.split(","))
        size = pool.get("size", "")
        pool["size"] = int(size) if size.isdigit() else size
        values.setdefault("default-address-pools", []).append(pool)
    elif name in _FLAGS:
        values[name] = value != "false"
    elif name in _NUMBERS and value.isdigit():
        values[name] = int(value)
    elif name:
        values[name] = value
