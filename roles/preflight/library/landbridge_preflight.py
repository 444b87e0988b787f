#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
"""Look at a node and its bundle, and name everything that would stop a convergence."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: landbridge_preflight
short_description: Find every problem of a node and its bundle before anything is touched
description:
  - Reads the bundle's C(content.json) and C(manifest.json), the node's platform, disks, memory,
    init system and listening ports, and fails once with the list of all problems, each with its
    mend.
  - Changes nothing, so it does the same work in check mode.
options:
  depot:
    description: Directory of the bundle on the node.
    type: path
    required: true
  hash:
    description:
      - Read every file of the bundle and compare its sha256.
      - Without it, presence, size and permissions are checked.
    type: bool
    default: false
  memory_min_mib:
    description: Smallest acceptable memory in MiB.
    type: int
    default: 0
  disk_reserve_percent:
    description: Free space wanted on top of what will be installed, in percent of it.
    type: int
    default: 20
  ports:
    description: TCP ports that must be free, or held by the unit that is meant to hold them.
    type: list
    elements: dict
    default: []
    suboptions:
      port:
        description: Number of the port.
        type: int
        required: true
      unit:
        description: The systemd unit that may hold the port.
        type: str
        default: ""
author: Landbridge (@landbridge)
attributes:
  check_mode:
    description: Reads only.
    support: full
  diff_mode:
    description: Nothing is changed.
    support: none
"""

EXAMPLES = r"""
- name: Look before anything is touched
  landbridge_preflight:
    depot: /var/lib/landbridge/depot/current
    memory_min_mib: 1800
    ports:
      - port: 8000
        unit: landbridge-jupyterhub.service
"""

RETURN = r"""
ansible_facts:
  description: The bundle's content, and where it is.
  returned: success
  type: dict
  contains:
    landbridge:
      description: content.json with the keys C(depot) and C(target) added.
      type: dict
problems:
  description: What is wrong, each with its mend.
  returned: always
  type: list
  elements: dict
  sample: [{"problem": "systemd is not running as PID 1", "mend": "boot the node with systemd"}]
"""

import hashlib
import json
import os
import platform
import re

from ansible.module_utils.basic import AnsibleModule

FORMAT = 1
SHOWN = 5  # so many files of a kind are named, the rest is counted
EL_IDS = ("rhel", "rocky", "almalinux", "centos", "ol")
OS_RELEASE = "/etc/os-release"
PROC = "/proc"
OPT = "/opt/landbridge"
CONTAINERS = "/var/lib/containers"


def problem(what, mend):
    """One finding."""
    return {"problem": what, "mend": mend}


def human(size):
    """Bytes as people read them."""
    return "%.1f GB" % (size / 1e9) if size >= 1e9 else "%d MB" % round(size / 1e6)


# --- the bundle ------------------------------------------------------------------------------


def read_bundle(depot):
    """The parsed content and manifest (None where unreadable), and the problems with them."""
    if not os.path.isdir(depot):
        return (
            None,
            None,
            [
                problem(
                    "there is no bundle at %s" % depot,
                    "carry the bundle to the node and run its bootstrap.sh, "
                    "or set landbridge_depot to its directory",
                )
            ],
        )
    found, problems = {}, []
    for name in ("content.json", "manifest.json"):
        path = os.path.join(depot, name)
        try:
            with open(path, encoding="utf-8") as stream:
                found[name] = json.load(stream)
        except (OSError, ValueError) as error:
            problems.append(
                problem("%s cannot be read: %s" % (path, error), "carry the bundle anew")
            )
    content, manifest = found.get("content.json"), found.get("manifest.json")
    if manifest is not None and not isinstance(manifest.get("files"), dict):
        problems.append(problem("manifest.json lists no files", "carry the bundle anew"))
        manifest = None
    if content is not None and content.get("format") != FORMAT:
        problems.append(
            problem(
                "the bundle's format is %s, this toolkit reads %d"
                % (content.get("format"), FORMAT),
                "use the roles that came with the bundle",
            )
        )
        content = None
    return content, manifest, problems


def check_files(depot, manifest, with_hash):
    """Files that are missing, of another size, with other content, or closed to users."""
    kinds = {"missing": [], "of another size": [], "altered": [], "not readable by users": []}
    for name, wanted in sorted(manifest["files"].items()):
        path = os.path.join(depot, name)
        try:
            status = os.stat(path)
        except OSError:
            kinds["missing"].append(name)
            continue
        if status.st_size != wanted["size"]:
            kinds["of another size"].append(name)
        elif with_hash and sha256(path) != wanted["sha256"]:
            kinds["altered"].append(name)
        if not status.st_mode & 0o004:
            kinds["not readable by users"].append(name)
    mends = {"not readable by users": "chmod -R a+rX %s" % depot}
    return [
        problem(
            "%d file(s) of the bundle are %s: %s" % (len(names), kind, shorten(names)),
            mends.get(kind, "carry the bundle anew"),
        )
        for kind, names in kinds.items()
        if names
    ]


def check_way(depot):
    """Directories on the way to the bundle that users cannot pass: pip and R run as users."""
    closed = set()
    for path in (os.path.abspath(depot), os.path.realpath(depot)):
        while path != "/":
            if not os.stat(path).st_mode & 0o001:
                closed.add(path)
            path = os.path.dirname(path)
    return [
        problem("users cannot enter %s, on the way to the bundle" % path, "chmod a+x %s" % path)
        for path in sorted(closed)
    ]


def shorten(names):
    """The first few names and the count of the rest."""
    rest = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (" and %d more" % rest if rest > 0 else "")


def sha256(path):
    """Hex digest of a file."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        for block in iter(lambda: stream.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


# --- the platform ----------------------------------------------------------------------------


def read_os_release():
    """The keys of os-release."""
    with open(OS_RELEASE, encoding="utf-8") as stream:
        pairs = re.findall(r"^([A-Z_]+)=[\"']?(.*?)[\"']?$", stream.read(), flags=re.M)
    return dict(pairs)


def check_target(content):
    """This node's target, and whether the bundle has it."""
    system = read_os_release()
    ids = [system.get("ID", "")] + system.get("ID_LIKE", "").split()
    if not set(ids) & set(EL_IDS):
        name = system.get("PRETTY_NAME") or system.get("ID") or "unknown"
        return None, [
            problem(
                "this node runs %s, not Enterprise Linux" % name,
                "use a node with RHEL, Rocky Linux, AlmaLinux or CentOS Stream",
            )
        ]
    # CentOS Stream has no minor number: nothing but the major is relied on.
    target = "el%s-%s" % (system.get("VERSION_ID", "").split(".")[0], platform.machine())
    if content is None or target in content["targets"]:
        return target, []
    return target, [
        problem(
            "this node is %s, the bundle is for %s" % (target, ", ".join(sorted(content["targets"]))),
            "build a bundle whose stack lists %s in targets" % target,
        )
    ]


def check_system(memory_min_mib):
    """Root, systemd and memory."""
    problems = []
    if os.geteuid() != 0:
        problems.append(problem("not running as root", "run with become, or as root"))
    with open(os.path.join(PROC, "1/comm"), encoding="utf-8") as stream:
        first = stream.read().strip()
    if first != "systemd":
        problems.append(
            problem("PID 1 is %s, not systemd" % first, "boot the node with systemd as init")
        )
    with open(os.path.join(PROC, "meminfo"), encoding="utf-8") as stream:
        total = int(re.search(r"^MemTotal:\s+(\d+) kB", stream.read(), flags=re.M).group(1)) // 1024
    if total < memory_min_mib:
        problems.append(
            problem(
                "the node has %d MiB of memory, %d are needed" % (total, memory_min_mib),
                "give the node more memory, or lower preflight_memory_min_mib",
            )
        )
    return problems


def observe():
    """What is unusual, but handled: not a problem, worth knowing."""
    notes = []
    mask = os.umask(0o022)
    os.umask(mask)
    if mask & 0o005:
        notes.append("umask is %03o; the roles set every mode themselves" % mask)
    with open(os.path.join(PROC, "mounts"), encoding="utf-8") as stream:
        mounts = [line.split() for line in stream]
    for fields in mounts:
        if fields[1] in ("/tmp", "/var/tmp", "/home") and "noexec" in fields[3].split(","):
            notes.append("%s is mounted noexec; nothing is executed from there" % fields[1])
    return notes


# --- ports -----------------------------------------------------------------------------------


def listening():
    """Socket inodes by the TCP port they listen on."""
    ports = {}
    for name in ("net/tcp", "net/tcp6"):
        path = os.path.join(PROC, name)
        if not os.path.exists(path):  # IPv6 may be off
            continue
        with open(path, encoding="utf-8") as stream:
            for line in stream.readlines()[1:]:
                fields = line.split()
                if fields[3] == "0A":  # TCP_LISTEN
                    port = int(fields[1].rsplit(":", 1)[1], 16)
                    ports.setdefault(port, set()).add(fields[9])
    return ports


def holders(inodes):
    """Command and systemd unit of each process that holds one of the sockets."""
    found = []
    for pid in filter(str.isdigit, os.listdir(PROC)):
        base = os.path.join(PROC, pid)
        try:
            links = [os.readlink(os.path.join(base, "fd", fd)) for fd in os.listdir(base + "/fd")]
            if not any("socket:[%s]" % inode in links for inode in inodes):
                continue
            with open(base + "/comm", encoding="utf-8") as stream:
                command = stream.read().strip()
            with open(base + "/cgroup", encoding="utf-8") as stream:
                units = re.findall(r"[^/\n]+\.(?:service|scope)", stream.read())
        except (FileNotFoundError, ProcessLookupError):  # it ended while we looked
            continue
        found.append((command, units[-1] if units else "no unit"))
    return found


def check_ports(ports):
    """Ports held by something else than their unit."""
    problems, open_ports = [], listening() if ports else {}
    for wanted in ports:
        if wanted["port"] not in open_ports:
            continue
        for command, unit in holders(open_ports[wanted["port"]]):
            if unit != wanted["unit"]:
                problems.append(
                    problem(
                        "port %d is taken by %s (%s)" % (wanted["port"], command, unit),
                        "stop it, or choose another port",
                    )
                )
    return problems


# --- disks -----------------------------------------------------------------------------------


def used(*paths):
    """Bytes on disk under the paths, hard links counted once."""
    seen, total = set(), 0
    for top in paths:
        for base, directories, files in os.walk(top):
            for name in directories + files:
                status = os.lstat(os.path.join(base, name))
                if (status.st_dev, status.st_ino) not in seen:
                    seen.add((status.st_dev, status.st_ino))
                    total += status.st_blocks * 512
    return total


def installed_conda(depot, content, target):
    """Bytes of this bundle's environments that are in place already."""
    subdir, paths = content["targets"][target]["conda_subdir"], []
    for environment in content["conda"]["environments"]:
        lock = os.path.join(depot, environment["lock"][subdir])
        home = os.path.join(OPT, "envs", environment["name"])
        if not os.path.isdir(home) or not os.path.isfile(lock):
            continue
        digest = sha256(lock)
        paths += [
            os.path.join(home, name)
            for name in os.listdir(home)
            if len(name) >= 8 and digest.startswith(name)
        ]
    return used(*paths)


def installed_rpms(depot, content, target, run):
    """Bytes of this bundle's RPMs that are installed already."""
    packages = os.path.join(depot, content["targets"][target]["rpm"], "Packages")
    if not os.path.isdir(packages):
        return 0
    carried = {name for _base, _directories, files in os.walk(packages) for name in files}
    query = "%{NAME}-%{VERSION}-%{RELEASE}.%{ARCH}.rpm %{LONGSIZE}\n"
    _rc, out, _err = run(["rpm", "-qa", "--qf", query], check_rc=True)
    lines = [line.split() for line in out.splitlines()]
    return sum(int(size) for name, size in lines if name in carried)


def installed_images(content):
    """Whether every image is in root's store (its size is known for all of them together)."""
    index = os.path.join(CONTAINERS, "storage/overlay-images/images.json")
    if not os.path.isfile(index):
        return False
    with open(index, encoding="utf-8") as stream:
        there = {name for image in json.load(stream) for name in image.get("names") or []}
    return {image["name"] for image in content["images"]} <= there


def needs(depot, content, target, run):
    """Bytes still to be installed: (directory, what, bytes)."""
    sizes = content["installed_bytes"]
    toolkit = os.path.join(OPT, "toolkits", content["toolkit"]["id"], ".complete")
    library = [os.path.join(OPT, "r/library", item["name"]) for item in content["r"]["packages"]]
    rpm = sizes["rpm"].get(target, 0) - installed_rpms(depot, content, target, run)
    return [
        (OPT, "conda", sizes["conda"] - installed_conda(depot, content, target)),
        (OPT, "toolkit", 0 if os.path.exists(toolkit) else sizes["toolkit"]),
        (OPT, "R", sizes["r"] - used(*library)),
        ("/usr", "RPMs", rpm),
        (CONTAINERS, "images", 0 if installed_images(content) else sizes["images"]),
    ]


def check_disks(wanted, reserve_percent):
    """Filesystems without room for what will be put on them."""
    mounts = {}
    for path, what, size in wanted:
        while not os.path.exists(path):
            path = os.path.dirname(path)
        entry = mounts.setdefault(os.stat(path).st_dev, {"path": path, "what": [], "size": 0})
        if size > 0:
            entry["what"].append(what)
            entry["size"] += size * (100 + reserve_percent) // 100
    problems = []
    for entry in mounts.values():
        status = os.statvfs(entry["path"])
        free = status.f_bavail * status.f_frsize
        if entry["size"] > free:
            problems.append(
                problem(
                    "the filesystem of %s has %s free, %s are needed for %s (%d %% reserve)"
                    % (
                        entry["path"],
                        human(free),
                        human(entry["size"]),
                        ", ".join(entry["what"]),
                        reserve_percent,
                    ),
                    "free or add %s there" % human(entry["size"] - free),
                )
            )
    return problems


# --- all of it -------------------------------------------------------------------------------


def examine(params, run):
    """Content with depot and target, and every problem found."""
    depot = params["depot"]
    content, manifest, problems = read_bundle(depot)
    if manifest is not None:
        problems += check_way(depot) + check_files(depot, manifest, params["hash"])
    target, wrong_target = check_target(content)
    problems += wrong_target + check_system(params["memory_min_mib"])
    if content is not None and target in content["targets"]:
        wanted = needs(depot, content, target, run)
        problems += check_disks(wanted, params["disk_reserve_percent"])
    problems += check_ports(params["ports"])
    return dict(content or {}, depot=depot, target=target), problems


def render(problems):
    """The one message."""
    lines = ["%d problem(s); nothing has been changed." % len(problems)]
    for number, item in enumerate(problems, start=1):
        lines.append("  %d. %s" % (number, item["problem"]))
        lines.append("     mend: %s" % item["mend"])
    return "\n".join(lines)


def main():
    """Run as an Ansible module."""
    port = {
        "port": {"type": "int", "required": True},
        "unit": {"type": "str", "default": ""},
    }
    module = AnsibleModule(
        argument_spec={
            "depot": {"type": "path", "required": True},
            "hash": {"type": "bool", "default": False},
            "memory_min_mib": {"type": "int", "default": 0},
            "disk_reserve_percent": {"type": "int", "default": 20},
            "ports": {"type": "list", "elements": "dict", "default": [], "options": port},
        },
        supports_check_mode=True,
    )
    facts, problems = examine(module.params, module.run_command)
    for note in observe():
        module.warn(note)
    if problems:
        module.fail_json(msg=render(problems), problems=problems)
    module.exit_json(changed=False, problems=[], ansible_facts={"landbridge": facts})


if __name__ == "__main__":
    main()
