# SPDX-License-Identifier: Apache-2.0
"""What a node knows of Docker without asking it: packages, processes, folders, users."""

from __future__ import annotations

import grp
import os
import re
from pathlib import Path

ROOT = Path("/")
PACKAGES = (
    "docker-ce",
    "docker-ce-cli",
    "docker-ce-rootless-extras",
    "docker-buildx-plugin",
    "docker-compose-plugin",
    "docker-model-plugin",
    "docker-scan-plugin",
    "containerd.io",
    "docker-engine",
    "docker-ee",
    "docker-ee-cli",
    "moby-engine",
)
_PROGRAMS = ("usr/bin", "usr/local/bin", "usr/sbin", "usr/local/sbin")
_UNITS = ("etc/systemd/system", "usr/lib/systemd/system", "usr/local/lib/systemd/system")
_START = re.compile(r"^\s*ExecStart\s*=\s*[-@:+!]*/(\S+)", re.MULTILINE)
# Folders of this kind in the data directory hold the data of a daemon with userns-remap.
_REMAPPED = "[0-9]*.[0-9]*"
_UNIT_SUFFIXES = (".service", ".timer", ".target", ".path", ".socket", ".conf")
# Dependencies that keep a unit from starting when the other one is not there, or that never fire.
_DEPENDENCY = re.compile(
    r"^\s*(Requires|Requisite|BindsTo|PartOf|WantedBy|RequiredBy)\s*=(.*)$", re.MULTILINE
)
_OURS = re.compile(r"\bdocker\.(service|socket)\b|\bcontainerd\.service\b")
_CALL = re.compile(r"^\s*Exec\w+\s*=.*?\bdocker(-compose)?(\s|$)", re.MULTILINE)


def packages(run_command):
    """Name-version-release of Docker's packages; none where there is no rpm."""
    query = ["rpm", "--query", "--all", "--queryformat", "%{NAME}-%{VERSION}-%{RELEASE}\\n"]
    _code, out, _error = run_command([*query, *PACKAGES], handle_exceptions=False)
    return sorted(out.split())


def has_daemon():
    """Whether dockerd is here, from whatever package.

    A unit without its program is none: it may be what an administrator had changed, or a mask.
    """
    programs = [f"{place}/dockerd" for place in _PROGRAMS]
    for unit in (ROOT / place / "docker.service" for place in _UNITS):
        if unit.is_file():
            programs += _START.findall(unit.read_text(encoding="utf-8", errors="replace"))
    return any((ROOT / program).exists() for program in programs)


def runs(pidfile):
    """Whether dockerd runs.

    Asks nothing of systemd or the socket: whoever connects to docker.socket starts Docker.
    """
    try:
        number = int((ROOT / pidfile.lstrip("/")).read_text(encoding="ascii"))
        name = (ROOT / "proc" / str(number) / "comm").read_text(encoding="utf-8")
    except (OSError, ValueError):
        return False
    return name.strip() == "dockerd"


def members(group):
    """Users who may talk to the daemon."""
    try:
        found = grp.getgrnam(group)
    except KeyError:
        return []
    primary = [user["name"] for user in local_users() if user["gid"] == found.gr_gid]
    return sorted({*found.gr_mem, *primary})


def local_users():
    """Users of /etc/passwd; a directory service is not asked for all of its own."""
    users = []
    text = (ROOT / "etc/passwd").read_text(encoding="utf-8", errors="replace")
    for line in text.splitlines():
        fields = line.split(":")
        if len(fields) == 7 and fields[2].isdigit() and fields[3].isdigit():
            home = fields[5].lstrip("/")
            users.append(
                {"name": fields[0], "uid": int(fields[2]), "gid": int(fields[3]), "home": home}
            )
    return users


def rootless():
    """Local users with a Docker of their own, and what to do about it."""
    found = []
    for user in local_users():
        home = ROOT / user["home"]
        data = home / ".local/share/docker"
        unit = home / ".config/systemd/user/docker.service"
        if not user["uid"] or not user["home"]:
            continue
        # pathlib raises where root may not look, as in homes on NFS.
        if not os.path.isdir(data) and not os.path.exists(unit):  # noqa: PTH110, PTH112
            continue
        held = stored(data)
        needs = [
            f"this user's own Docker is not replaced: {user['name']} saves what is wanted with "
            "`docker save` and stops it with `systemctl --user disable --now docker`",
            f"{user['name']} in podman_rootless_users; then `podman load`, as {user['name']}",
        ]
        if held.get("volumes"):
            needs.append(
                f"{held['volumes']} volumes in /{user['home']}/.local/share/docker/volumes belong "
                "to subordinate ids: take each out with tar in a container (`docker run -v`), and "
                "`podman volume import` it"
            )
        running = runs(f"/run/user/{user['uid']}/docker.pid")
        found.append({"user": user["name"], "running": running, **held, "needs": needs})
    return found


def units():
    """Units of the administrator's that need Docker's, and what to do about it."""
    found = []
    folder = ROOT / "etc/systemd/system"
    for file in sorted(folder.rglob("*")):
        ours = file.relative_to(folder).parts[0].split(".")[0] in ("docker", "containerd")
        if ours or file.suffix not in _UNIT_SUFFIXES or file.is_symlink() or not file.is_file():
            continue
        needs = _unit_needs(file.read_text(encoding="utf-8", errors="replace"))
        if needs:
            found.append({"path": "/" + str(file.relative_to(ROOT)), "needs": needs})
    return found


def _unit_needs(text):
    needs = []
    keys = [key for key, units in _DEPENDENCY.findall(text) if _OURS.search(units)]
    if keys:
        needs.append(
            f"{'=, '.join(dict.fromkeys(keys))}= names a unit of Docker's, which goes: name "
            "podman.socket in its place, or drop it"
        )
    if _CALL.search(text):
        needs.append(
            "calls docker, which is Podman afterwards (podman-docker); a quadlet restarts and logs "
            "better"
        )
    return needs


def stored(data_root):
    """How many images, containers and volumes lie in a data directory; empty without one.

    `images` is None where containerd keeps them, whose database says nothing by its folders.
    """
    if not os.path.isdir(data_root):  # noqa: PTH112 (as above)
        return {}
    roots = [data_root, *data_root.glob(_REMAPPED)]
    images = [folder for root in roots for folder in root.glob("image/*/imagedb/content/sha256")]
    return {
        "images": sum(_count(folder, files=True) for folder in images) if images else None,
        "containers": sum(_count(root / "containers") for root in roots),
        "volumes": sum(_count(root / "volumes") for root in roots),
    }


def _count(folder, files=False):
    if not folder.is_dir():
        return 0
    return sum(1 for path in folder.iterdir() if (path.is_file() if files else path.is_dir()))
