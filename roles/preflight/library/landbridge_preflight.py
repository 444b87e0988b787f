#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
"""Look at a node and its bundle, and name everything that would stop a convergence."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: landbridge_preflight
short_description: Find every problem of a node and its bundle before anything is touched
description:
  - Reads the bundle's C(content.json) and C(manifest.json), checks their signature, and the
    content of every file that no client of the bundle checks by itself; reads the node's platform,
    disks, memory, init system and listening ports; fails once with the list of all problems, each
    with its mend.
  - Changes nothing, so it does the same work in check mode.
options:
  depot:
    description: Directory of the bundle on the node.
    type: path
    required: true
  hash:
    description:
      - Read every file of the bundle and compare its sha256.
      - Without it, RPMs, conda packages, wheels and blobs of images are not read, because dnf,
        conda, pip and podman check them; presence, size and permissions are looked at.
    type: bool
    default: false
  signature:
    description:
      - Whether the bundle must be signed by a trusted key, and not before the last one.
      - V(ignored) looks at no signature, and knows of no order.
    type: str
    choices: [required, ignored]
    default: required
  keys:
    description:
      - Armored OpenPGP public keys that are trusted.
      - Without them, those in C(/etc/landbridge/keys) on the node.
    type: list
    elements: str
    default: []
  allow_downgrade:
    description: Whether the bundle may have been signed before the last one of this node.
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
  url:
    description:
      - Where clients find what is not in O(depot); empty where that has everything.
      - With it, only what a node must have as files, and what else is there, is looked at.
    type: str
    default: ""
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
        unit: landbridge-proxy.service
"""

RETURN = r"""
ansible_facts:
  description: The bundle's content, and where it is.
  returned: success
  type: dict
  contains:
    landbridge:
      description: content.json with the keys C(depot), C(target) and C(url) added.
      type: dict
problems:
  description: What is wrong, each with its mend.
  returned: always
  type: list
  elements: dict
  sample: [{"problem": "systemd is not running as PID 1", "mend": "boot the node with systemd"}]
"""

import json
import os
import platform
import re
import shutil
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.landbridge_release import (
    CARRY_ANEW,
    check_order,
    check_signature,
    is_small,
    problem,
    sha256,
    shorten,
    trusted_keys,
)

FORMAT = 1
EL_IDS = {"rhel", "rocky", "almalinux", "centos", "ol"}
USR = Path("/usr")
OS_RELEASE = Path("/etc/os-release")
PROC = Path("/proc")
OPT = Path("/opt/landbridge")
CONTAINERS = Path("/var/lib/containers")
OFTEN_NOEXEC = ("/tmp", "/var/tmp", "/home")  # noqa: S108 (mount points, looked at only)
TCP_LISTEN = "0A"
# What dnf, conda, pip and podman compare with a hash that is in a file which is read here.
CHECKED_BY_CLIENTS = (".rpm", ".conda", ".tar.bz2", ".whl")
BLOBS = "images/blobs/"


def human(size):
    """Bytes as people read them."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


# --- the bundle ------------------------------------------------------------------------------


def read_bundle(depot):
    """The parsed content and manifest (None where unusable), and the problems with them."""
    if not depot.is_dir():
        mend = (
            "carry the bundle to the node and run its bootstrap.sh, "
            "or set landbridge_depot to its directory"
        )
        return None, None, [problem(f"there is no bundle at {depot}", mend)]
    found, problems = {}, []
    for name in ("content.json", "manifest.json"):
        try:
            found[name] = json.loads((depot / name).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            problems.append(problem(f"{depot / name} cannot be read: {reason}", CARRY_ANEW))
    content, manifest = found.get("content.json"), found.get("manifest.json")
    if manifest is not None and not isinstance(manifest.get("files"), dict):
        problems.append(problem("manifest.json lists no files", CARRY_ANEW))
        manifest = None
    if content is not None and content.get("format") != FORMAT:
        what = f"the bundle's format is {content.get('format')}, this toolkit reads {FORMAT}"
        problems.append(problem(what, "use the roles that came with the bundle"))
        content = None
    return content, manifest, problems


def check_files(depot, files, with_hash):
    """Files that are missing, of another size, with other content, or closed to users."""
    kinds = {"missing": [], "of another size": [], "altered": [], "not readable by users": []}
    for name, wanted in sorted(files.items()):
        try:
            status = (depot / name).stat()
        except OSError:
            kinds["missing"].append(name)
            continue
        if status.st_size != wanted["size"]:
            kinds["of another size"].append(name)
        elif (with_hash or not checked_by_clients(name)) and (
            sha256(depot / name) != wanted["sha256"]
        ):
            kinds["altered"].append(name)
        if not status.st_mode & 0o004:
            kinds["not readable by users"].append(name)
    mends = {"not readable by users": f"chmod -R a+rX {depot}"}
    return [
        problem(
            f"{len(names)} file(s) of the bundle are {kind}: {shorten(names)}",
            mends.get(kind, CARRY_ANEW),
        )
        for kind, names in kinds.items()
        if names
    ]


def checked_by_clients(name):
    """Whether whoever installs the file compares its hash."""
    return name.endswith(CHECKED_BY_CLIENTS) or name.startswith(BLOBS)


def check_way(depot):
    """Directories on the way to the bundle that users cannot pass: pip and R run as users."""
    ways = [depot.absolute(), depot.resolve()]
    folders = {folder for way in ways for folder in [way, *way.parents]}
    return [
        problem(f"users cannot enter {folder}, on the way to the bundle", f"chmod a+x {folder}")
        for folder in sorted(folders)
        if not folder.stat().st_mode & 0o001
    ]


# --- its signature ---------------------------------------------------------------------------


def check_signatures(depot, params, run):
    """Problems with the signatures of the manifest and of the RPMs' metadata, and its age."""
    if params["signature"] == "ignored":
        return []
    if not shutil.which("gpgv"):
        what = "gpgv, which checks the bundle's signature, is missing"
        return [problem(what, "install the node's package gnupg2")]
    keys, problems = trusted_keys(params["keys"])
    signed, found = check_signature(depot / "manifest.json", keys, run)
    problems += found
    if not signed:
        return problems
    # Of a depot node's, dnf asks there itself.
    for repomd in () if params["url"] else sorted(depot.glob("rpm/*/repodata/repomd.xml")):
        problems += check_signature(repomd, keys, run)[1]
    return problems if params["allow_downgrade"] else problems + check_order(signed)


# --- the platform ----------------------------------------------------------------------------


def check_target(content):
    """This node's target, and whether the bundle has it."""
    text = OS_RELEASE.read_text(encoding="utf-8")
    system = dict(re.findall(r"^([A-Z_]+)=[\"']?(.*?)[\"']?$", text, flags=re.M))
    if not EL_IDS & {system.get("ID"), *system.get("ID_LIKE", "").split()}:
        name = system.get("PRETTY_NAME") or system.get("ID") or "an unknown system"
        mend = "use a node with RHEL, Rocky Linux, AlmaLinux or CentOS Stream"
        return None, [problem(f"this node runs {name}, not Enterprise Linux", mend)]
    # CentOS Stream has no minor number: nothing but the major is relied on.
    major = system.get("VERSION_ID", "").split(".")[0]
    target = f"el{major}-{platform.machine()}"
    if content is None or target in content["targets"]:
        return target, []
    what = f"this node is {target}, the bundle is for {', '.join(sorted(content['targets']))}"
    return target, [problem(what, f"build a bundle whose stack lists {target} in targets")]


def check_system(memory_min_mib):
    """Root, systemd and memory."""
    problems = []
    if os.geteuid() != 0:
        problems.append(problem("not running as root", "run with become, or as root"))
    first = (PROC / "1/comm").read_text(encoding="utf-8").strip()
    if first != "systemd":
        what = f"PID 1 is {first}, not systemd"
        problems.append(problem(what, "boot the node with systemd as init"))
    text = (PROC / "meminfo").read_text(encoding="utf-8")
    total = int(re.search(r"^MemTotal:\s+(\d+) kB", text, flags=re.M).group(1)) // 1024
    if total < memory_min_mib:
        what = f"the node has {total} MiB of memory, {memory_min_mib} are needed"
        mend = "give the node more memory, or lower preflight_memory_min_mib"
        problems.append(problem(what, mend))
    return problems


def observe():
    """What is unusual, but handled: not a problem, worth knowing."""
    notes = []
    mask = os.umask(0o022)
    os.umask(mask)
    if mask & 0o005:
        notes.append(f"umask is {mask:03o}; the roles set every mode themselves")
    for line in (PROC / "mounts").read_text(encoding="utf-8").splitlines():
        _device, folder, _type, options = line.split()[:4]
        if folder in OFTEN_NOEXEC and "noexec" in options.split(","):
            notes.append(f"{folder} is mounted noexec; the roles execute nothing there")
    return notes


# --- ports -----------------------------------------------------------------------------------


def listening():
    """Socket inodes by the TCP port they listen on."""
    ports = {}
    for table in (PROC / "net/tcp", PROC / "net/tcp6"):
        if not table.exists():  # IPv6 may be off
            continue
        for line in table.read_text(encoding="utf-8").splitlines()[1:]:
            fields = line.split()
            if fields[3] == TCP_LISTEN:
                port = int(fields[1].rsplit(":", 1)[1], 16)
                ports.setdefault(port, set()).add(fields[9])
    return ports


def holders(inodes):
    """Command and systemd unit of each process that holds one of the sockets."""
    found, wanted = [], {f"socket:[{inode}]" for inode in inodes}
    for process in PROC.glob("[0-9]*"):
        try:
            if not wanted & {str(link.readlink()) for link in (process / "fd").iterdir()}:
                continue
            command = (process / "comm").read_text(encoding="utf-8").strip()
            groups = (process / "cgroup").read_text(encoding="utf-8")
        except OSError:  # it ended while we looked, or is closed even to root
            continue
        units = re.findall(r"[^/\n]+\.(?:service|scope)", groups)
        found.append((command, units[-1] if units else "no unit"))
    return found or [("a process that cannot be seen", "no unit")]


def check_ports(ports):
    """Ports held by something else than their unit."""
    taken = listening() if ports else {}
    return [
        problem(
            f"port {wanted['port']} is taken by {command} ({unit})",
            "stop it, or choose another port",
        )
        for wanted in ports
        if wanted["port"] in taken
        for command, unit in holders(taken[wanted["port"]])
        if unit != wanted["unit"]
    ]


# --- disks -----------------------------------------------------------------------------------


def used(paths):
    """Bytes on disk under the paths, hard links counted once."""
    seen, total = set(), 0
    for top in paths:
        for path in top.rglob("*"):
            status = path.lstat()
            if (status.st_dev, status.st_ino) not in seen:
                seen.add((status.st_dev, status.st_ino))
                total += status.st_blocks * 512
    return total


def installed_conda(depot, content, target):
    """Bytes of this bundle's environments that are in place already."""
    subdir, prefixes = content["targets"][target]["conda_subdir"], []
    for environment in content["conda"]["environments"]:
        lock = depot / environment["lock"][subdir]
        if lock.is_file():
            prefixes.append(OPT / "envs" / environment["name"] / sha256(lock)[:12])
    return used(prefixes)


def installed_rpms(depot, content, target, run):
    """Bytes of this bundle's RPMs that are installed already."""
    if content["targets"][target]["rpm"] is None:  # a bundle without RPMs
        return 0
    packages = depot / content["targets"][target]["rpm"] / "Packages"
    carried = {path.name for path in packages.rglob("*.rpm")}
    query = "%{NAME}-%{VERSION}-%{RELEASE}.%{ARCH}.rpm %{LONGSIZE}\n"
    _rc, out, _err = run(["rpm", "-qa", "--qf", query], check_rc=True)
    lines = [line.split() for line in out.splitlines()]
    return sum(int(size) for name, size in lines if name in carried)


def installed_images(content):
    """Whether every image is in root's store (their size is known for all of them together)."""
    index = CONTAINERS / "storage/overlay-images/images.json"
    stored = json.loads(index.read_text(encoding="utf-8")) if index.is_file() else []
    there = {name for image in stored for name in image.get("names") or []}
    return {image["name"] for image in content["images"]} <= there


def needs(depot, content, target, run):
    """Bytes still to be installed: (directory, what, bytes)."""
    sizes = content["installed_bytes"]
    toolkit = OPT / "toolkits" / content["toolkit"]["id"]
    has_toolkit = toolkit.is_dir() and not (toolkit / ".incomplete").exists()
    named = [package["name"] for package in content["r"]["packages"]]
    library = [path for name in named for path in OPT.glob(f"r/*/library/{name}")]
    rpms = sizes["rpm"].get(target, 0) - installed_rpms(depot, content, target, run)
    return [
        (OPT, "conda", sizes["conda"] - installed_conda(depot, content, target)),
        (OPT, "toolkit", 0 if has_toolkit else sizes["toolkit"]),
        (OPT, "R", sizes["r"] - used(library)),
        (USR, "RPMs", rpms),
        (CONTAINERS, "images", 0 if installed_images(content) else sizes["images"]),
    ]


def check_disks(wanted, reserve_percent):
    """Filesystems without room for what will be put on them."""
    disks = {}
    for path, what, size in wanted:
        place = next(folder for folder in [path, *path.parents] if folder.exists())
        disk = disks.setdefault(place.stat().st_dev, {"place": place, "what": [], "size": 0})
        if size > 0:
            disk["what"].append(what)
            disk["size"] += size * (100 + reserve_percent) // 100
    problems = []
    for disk in disks.values():
        status = os.statvfs(disk["place"])
        free = status.f_bavail * status.f_frsize
        if disk["size"] > free:
            what = (
                f"the filesystem of {disk['place']} has {human(free)} free, "
                f"{human(disk['size'])} are needed for {', '.join(disk['what'])} "
                f"({reserve_percent} % reserve)"
            )
            problems.append(problem(what, f"free or add {human(disk['size'] - free)} there"))
    return problems


# --- all of it -------------------------------------------------------------------------------


def examine(params, run):
    """Content with depot and target, and every problem found."""
    depot = Path(params["depot"])
    content, manifest, problems = read_bundle(depot)
    if manifest is not None:
        problems += check_way(depot) + check_signatures(depot, params, run)
    target, wrong_target = check_target(content)
    if manifest is not None:
        files = manifest["files"]
        if params["url"]:
            here = {name for name in files if is_small(name, target) or (depot / name).exists()}
            files = {name: files[name] for name in here}
        problems += check_files(depot, files, params["hash"])
    problems += wrong_target + check_system(params["memory_min_mib"])
    if content is not None and target in content["targets"]:
        wanted = needs(depot, content, target, run)
        problems += check_disks(wanted, params["disk_reserve_percent"])
    problems += check_ports(params["ports"])
    facts = {"depot": str(depot), "target": target, "url": params["url"] or None}
    return {**(content or {}), **facts}, problems


def render(problems):
    """The one message."""
    lines = [f"{len(problems)} problem(s); nothing has been changed."]
    for number, item in enumerate(problems, start=1):
        lines += [f"  {number}. {item['problem']}", f"     mend: {item['mend']}"]
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
            "signature": {"choices": ["required", "ignored"], "default": "required"},
            "keys": {"type": "list", "elements": "str", "default": [], "no_log": False},
            "allow_downgrade": {"type": "bool", "default": False},
            "memory_min_mib": {"type": "int", "default": 0},
            "disk_reserve_percent": {"type": "int", "default": 20},
            "url": {"type": "str", "default": ""},
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
