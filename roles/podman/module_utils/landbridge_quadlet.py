# SPDX-License-Identifier: Apache-2.0
"""An entry of podman_quadlets: its file, its unit, and what is wrong with it. Asks no node."""

from __future__ import annotations

import re
import shlex

# Kind of file: section that names it, ending of its service, and the Podman that reads it first.
KINDS = {
    "container": ("Container", "", (4, 4)),
    "kube": ("Kube", "", (4, 4)),
    "network": ("Network", "-network", (4, 4)),
    "volume": ("Volume", "-volume", (4, 4)),
    "image": ("Image", "-image", (4, 8)),
    "pod": ("Pod", "-pod", (5, 0)),
    "build": ("Build", "-build", (5, 2)),
}
SERVICES = ("container", "pod", "kube")
# Podman that has quadlets, reads /etc/containers/systemd/users, knows Pull=, and waits for a
# first health check.
SINCE = (4, 4)
USERS_SINCE = (4, 6)
PULL_SINCE = (4, 6)
HEALTHY_SINCE = (5, 0)

HEADER = "# Managed by Landbridge (role podman): edit podman_quadlets, not this file.\n"
# Slow services may start; one that never gets well does not hold up a run for ever.
START_SECONDS = 300
# Longer than systemd's limit of 5 starts in 10 seconds, so that it tries on, as Docker did.
RESTART_SECONDS = 5
# Where Podman puts root's other containers, and podman_memory_max the limit of them all.
SLICE = "machine.slice"

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
KEY = re.compile(r"[A-Za-z][A-Za-z0-9-]*")
SECRETIVE = re.compile(
    r"(PASS(WORD|WD|PHRASE)|TOKEN|SECRET|CREDENTIAL|(API|PRIVATE|ACCESS|SIGNING|ENCRYPTION)_?KEY)",
    re.IGNORECASE,
)
HARMLESS = re.compile(r"(_FILE|_PATH|_DIR|_ID|_NAME|_TTL|_EXPIRY|_EXPIRES(_IN)?)$", re.IGNORECASE)
LOGIN_IN_URL = re.compile(r"://[^/\s:@]+:[^/\s@]+@")
# Keys whose values are assignments, or command lines with some in them.
ASSIGNING = ("Environment", "PodmanArgs", "GlobalArgs", "Exec", "Label", "Annotation")
# Keys that may name other quadlets, by these endings.
NAMING = {
    "Volume": (".volume",),
    "Network": (".network", ".container"),
    "Pod": (".pod",),
    "Image": (".image", ".build"),
}
YAML_ENVIRONMENT = re.compile(
    r"""name:\s*["']?([\w.-]+)["']?\s*[,\n]\s*value:\s*["']?([^\s"',}]+)"""
)
YAML_SECRETS = (
    re.compile(r"""secretName:\s*["']?([\w.-]+)"""),
    re.compile(r"""secretKeyRef:\s*\{?\s*(?:key:\s*\S+\s+)?name:\s*["']?([\w.-]+)"""),
)


def file_of(entry):
    """Name of the entry's file."""
    return f"{entry['name']}.{entry['type']}"


def yaml_of(entry):
    """Name of the file with the entry's YAML; empty where the entry brings none."""
    named = values(entry, "Kube", "Yaml")
    return (named[-1] if named else f"{entry['name']}.yaml") if entry["yaml"] else ""


def service_of(entry):
    """Name of the service that Podman's generator makes of the entry."""
    section, ending, _since = KINDS[entry["type"]]
    named = values(entry, section, "ServiceName")
    return (named[-1] if named else entry["name"] + ending) + ".service"


def resource_of(entry):
    """What Podman calls the thing itself: container, pod, network or volume."""
    section = KINDS[entry["type"]][0]
    named = values(entry, section, f"{section}Name")
    return named[-1] if named else f"systemd-{entry['name']}"


def label_of(entry):
    """An entry's name in messages."""
    return f"{file_of(entry)} of {entry['user']}"


def text(value):
    """A value as systemd writes it: YAML reads `Restart: no` as a boolean."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else str(value)


def values(entry, section, key):
    """All values of a key, in order."""
    found = (entry["sections"].get(section) or {}).get(key, [])
    return [text(each) for each in (found if isinstance(found, list) else [found])]


def every_value(entry):
    """(section, key, value) of the whole entry."""
    for section, keys in entry["sections"].items():
        for key in keys or {}:
            for value in values(entry, section, key):
                yield section, key, value


def parts(value):
    """Words of a value as systemd splits it; as they are where its quotes do not match."""
    try:
        return shlex.split(value)
    except ValueError:
        return value.split()


def auto_update(entry):
    """The entry's policy of automatic updates: local, registry or empty."""
    section = KINDS[entry["type"]][0]
    return (values(entry, section, "AutoUpdate") or [""])[-1]


def image_of(entry):
    """Name of the image that a container runs; empty for other kinds and other quadlets."""
    image = (values(entry, "Container", "Image") or [""])[-1]
    return "" if image.endswith((".image", ".build")) else image


def secrets_of(entry):
    """Names of the secrets that the entry uses."""
    named = [value.split(",")[0] for value in values(entry, "Container", "Secret")]
    return named + [name for each in YAML_SECRETS for name in each.findall(entry["yaml"])]


def is_oneshot(entry):
    """Whether the service ends when its work is done."""
    return values(entry, "Service", "Type")[-1:] == ["oneshot"]


def is_started(entry):
    """Whether the service is to run by itself; `Install: {}` leaves that to timers and others."""
    return entry["type"] not in SERVICES or bool(entry["sections"].get("Install", True))


# -- The file -------------------------------------------------------------------------------------


def defaults_of(entry, version, bundled):
    """What the file says besides the entry's own sections, which win.

    Args:
        version: Podman's.
        bundled: names of the bundle's images.
    """
    added = {}
    if entry["type"] == "container":
        added["Container"] = defaults_of_container(entry, version, bundled)
    if entry["type"] == "kube" and entry["yaml"]:
        added["Kube"] = {"Yaml": yaml_of(entry)}
    if entry["type"] in SERVICES:
        added["Service"] = {"TimeoutStartSec": START_SECONDS}
        if entry["user"] == "root":
            added["Service"]["Slice"] = SLICE
        if not is_oneshot(entry):
            added["Service"].update({"Restart": "always", "RestartSec": RESTART_SECONDS})
        target = "multi-user.target" if entry["user"] == "root" else "default.target"
        if "Install" not in entry["sections"]:
            added["Install"] = {"WantedBy": target}
    return added


def defaults_of_container(entry, version, bundled):
    """Health that counts, and images that are there or missed at once."""
    added = {}
    if values(entry, "Container", "HealthCmd")[-1:] not in ([], [""], ["none"]):
        added["HealthOnFailure"] = "kill"  # so that Restart heals it
        if version >= HEALTHY_SINCE:
            added["Notify"] = "healthy"
    if is_local(entry, bundled) and version >= PULL_SINCE:
        added["Pull"] = "never"
    return added


def is_local(entry, bundled):
    """Whether the entry's image must be on the node already."""
    image = image_of(entry)
    own = image.startswith("localhost/") or image in bundled
    return own and auto_update(entry) != "registry"


def render(entry, version, bundled):
    """The text of the entry's file."""
    added = defaults_of(entry, version, bundled)
    lines = [HEADER]
    for section in [*entry["sections"], *(s for s in added if s not in entry["sections"])]:
        own = entry["sections"].get(section) or {}
        lines.append(f"\n[{section}]\n")
        lines += [f"{key}={value}\n" for key in own for value in values(entry, section, key)]
        more = {key: value for key, value in added.get(section, {}).items() if key not in own}
        lines += [f"{key}={text(value)}\n" for key, value in more.items()]
    return "".join(lines)


# -- What is wrong with it ------------------------------------------------------------------------


def judge(entries, users, secrets):
    """Everything that is wrong with the entries, as sentences that name the mend.

    Args:
        users: those who may have entries, root included.
        secrets: names of each user's secrets.
    """
    problems = [f"{label_of(each)}: {problem}" for each in entries for problem in judge_form(each)]
    if problems:
        return problems  # the rest can be asked of well-formed entries only
    for entry in entries:
        found = [*judge_secrecy(entry)]
        if entry["user"] not in users:
            found.append(
                f"user {entry['user']} runs no containers: add the user to podman_rootless_users"
            )
        found += judge_references(entry, entries, secrets.get(entry["user"], []))
        problems += [f"{label_of(entry)}: {problem}" for problem in found]
    return problems + judge_names(entries)


def judge_form(entry):
    """Names, sections and values that would not become the file that was meant."""
    if not NAME.fullmatch(entry["name"]):
        yield "its name may have letters, digits, '_', '.' and '-' only"
    if KINDS[entry["type"]][0] not in entry["sections"] and not entry["yaml"]:
        yield f"section {KINDS[entry['type']][0]} is missing"
    for section, keys in entry["sections"].items():
        if not KEY.fullmatch(section) or not isinstance(keys, (dict, type(None))):
            yield f"section {section} must be a name with keys and values below it"
            continue
        yield from judge_values(section, keys or {})


def judge_values(section, keys):
    """Keys and values that would end up as other lines of the file."""
    for key, value in keys.items():
        every = value if isinstance(value, list) else [value]
        if not KEY.fullmatch(key):
            yield f"{section}.{key}: a key has letters, digits and '-' only"
        if any(isinstance(each, (dict, list)) for each in every):
            yield f"{section}.{key}: must be a value, or a list of values for a repeated key"
        elif any("\n" in text(each) or text(each).endswith("\\") for each in every):
            yield f"{section}.{key}: a value is one line; give a list to repeat the key"


def judge_secrecy(entry):
    """Values that everybody could read on the node and that look as if nobody should."""
    mend = "put the value into podman_secrets and name it with the key Secret"
    for section, key, value in every_value(entry):
        if key in ASSIGNING and any(looks_secret(word) for word in parts(value)):
            yield f"{section}.{key} holds what looks like a secret: {mend}"
        elif LOGIN_IN_URL.search(value):
            yield f"{section}.{key} holds an address with a password: {mend}"
    if not entry["yaml"]:
        return
    if entry["type"] != "kube":
        yield "yaml is for type kube only"
    if "/" in yaml_of(entry) or yaml_of(entry).endswith(tuple(f".{kind}" for kind in KINDS)):
        yield "Kube.Yaml must be a plain file name where yaml holds the text"
    if re.search(r"^\s*kind:\s*[\"']?Secret\b", entry["yaml"], re.MULTILINE):
        yield "yaml holds a Secret: put it into podman_secrets, as text of the same YAML"
    assigned = YAML_ENVIRONMENT.findall(entry["yaml"])
    if any(looks_secret(f"{name}={value}") for name, value in assigned):
        yield "yaml holds what looks like a secret: use secretKeyRef and podman_secrets"


def looks_secret(word):
    """Whether an assignment gives a secret away; a file's path or a name does not."""
    name, assigned, value = word.lstrip("-").partition("=")
    if not assigned or not value or value.startswith("/"):
        return False
    if "=" in value and not SECRETIVE.search(name):
        return looks_secret(value)  # --env=NAME=value
    return bool(SECRETIVE.search(name)) and not HARMLESS.search(name)


def judge_references(entry, entries, secrets):
    """Secrets, quadlets and policies that the entry counts on and that are not there."""
    for name in secrets_of(entry):
        if name not in secrets:
            yield f"secret {name} is not in podman_secrets for user {entry['user']}"
    files = {file_of(each) for each in entries if each["user"] == entry["user"]}
    for where, name in references(entry):
        if name not in files:
            yield f"{where} names {name}, which is no entry of user {entry['user']}"
    policy, image = auto_update(entry), image_of(entry)
    if policy not in ("", "local", "registry"):
        yield f"AutoUpdate is local or registry, not {policy}"
    if policy == "registry" and image.startswith("localhost/"):
        yield f"no registry has {image}: AutoUpdate must be local"


def references(entry):
    """(key, file name) of other quadlets that the entry names."""
    for section, key, value in every_value(entry):
        where = f"{section}.{key}"
        if key in NAMING and value.split(":")[0].endswith(NAMING[key]):
            yield where, value.split(":")[0]
        elif key == "Mount":
            for option in value.split(","):
                name = option.partition("=")[2]
                if name.endswith((".volume", ".image", ".build")):
                    yield where, name


def judge_names(entries):
    """Entries that would be one and the same file, unit or container."""
    problems = []
    files = (("file", file_of), ("file of YAML", yaml_of))
    for what, name_of in (*files, ("unit", service_of), ("name in Podman", podman_name)):
        owners = {}
        for entry in entries:
            owners.setdefault((entry["user"], name_of(entry)), []).append(entry)
        for (user, name), several in owners.items():
            if len(several) > 1 and name:
                files = " and ".join(file_of(entry) for entry in several)
                problems.append(f"{files} of {user} have the same {what}, {name}: rename one")
        if problems:
            break  # the same file is the same unit, too
    return problems


def podman_name(entry):
    """Containers and pods share one set of names; empty for what is no container."""
    return resource_of(entry) if entry["type"] in ("container", "pod") else ""
