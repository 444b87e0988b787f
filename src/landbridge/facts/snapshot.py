"""Everything known of a node, as JSON on stdout; runs on the node itself.

Standard library only, Python 3.9 and later: it is sent to a node as text and run there once by
the platform's Python, as root. Called with the depot's path. What is absent is an empty value;
a tool that fails is an error, told on stderr with exit code 1.
"""

from __future__ import annotations

import configparser
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ENVIRONMENTS = Path("/opt/landbridge/envs")
TOOLKIT = Path("/opt/landbridge/toolkit")
COMMAND = Path("/usr/local/bin/landbridge")
R_LIBRARIES = Path("/opt/landbridge/r")
KERNELS = Path("/opt/landbridge/share/jupyter/kernels")
REPOSITORY_FOLDERS = (Path("/etc/yum.repos.d"), Path("/etc/landbridge/repositories.d"))
PROMISES = Path("/etc/landbridge/promises")
EGRESS_COUNTER = ["counter", "inet", "landbridge_egress", "outside"]
BOOT_SECONDS = 60
BOOTING = ("initializing", "starting")


def output(*command: str) -> str:
    """Stdout of a command that must succeed."""
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {run.stderr.strip() or run.returncode}")
    return run.stdout


def os_release() -> dict[str, str]:
    """Key and value of each line of /etc/os-release."""
    lines = Path("/etc/os-release").read_text(encoding="utf-8").splitlines()
    pairs = (line.split("=", 1) for line in lines if "=" in line)
    return {key: value.strip("\"'") for key, value in pairs}


def rpms() -> dict[str, list[str]]:
    """Installed packages: name to version-release.architecture of each instance."""
    listing = output("rpm", "-qa", "--queryformat", "%{NAME} %{VERSION}-%{RELEASE}.%{ARCH}\\n")
    found: dict[str, list[str]] = {}
    for line in sorted(listing.splitlines()):
        name, version = line.split(" ", 1)
        found.setdefault(name, []).append(version)
    return found


def system_state() -> str:
    """What systemd says; its --wait may miss the end of a boot, and then waits for ever."""
    asked = subprocess.run(
        ["systemctl", "is-system-running"],
        capture_output=True,
        text=True,
        check=False,  # exits with 1 for every state but running
    )
    return asked.stdout.strip()


def systemd() -> dict[str, Any]:
    """State of the system (a boot under way is awaited) and of every loaded unit."""
    deadline = time.monotonic() + BOOT_SECONDS
    while (state := system_state()) in BOOTING and time.monotonic() < deadline:
        time.sleep(0.5)
    listing = output("systemctl", "list-units", "--all", "--plain", "--no-legend", "--full")
    units = {}
    for line in listing.splitlines():
        name, load, active, sub = line.split(None, 4)[:4]
        units[name] = {"load": load, "active": active, "sub": sub}
    return {"state": state, "units": units}


def repositories() -> dict[str, dict[str, dict[str, str]]]:
    """Every dnf repository: file, then repository id, then its keys."""
    found = {}
    for folder in REPOSITORY_FOLDERS:
        for path in sorted(folder.glob("*.repo")):
            parser = configparser.ConfigParser(interpolation=None)
            parser.read(path, encoding="utf-8")
            found[str(path)] = {name: dict(parser[name]) for name in parser.sections()}
    return found


def environments() -> dict[str, dict[str, Any]]:
    """Conda environments: where `current` leads and sha256 of every installed package."""
    return {
        folder.name: {
            "current": str((folder / "current").resolve()),
            "packages": conda_packages(folder / "current" / "conda-meta"),
        }
        for folder in sorted(ENVIRONMENTS.glob("*"))
        if (folder / "current").exists()
    }


def conda_packages(meta: Path) -> dict[str, str]:
    """Package file name without its ending (name-version-build) to sha256."""
    found = {}
    for path in sorted(meta.glob("*.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        found[path.stem] = str(record.get("sha256") or "")
    return found


def r_libraries(root: Path) -> dict[str, dict[str, str]]:
    """R's major and minor version to the packages of its site library, name to version."""
    found: dict[str, dict[str, str]] = {}
    for library in sorted(root.glob("*/library")):
        packages = found.setdefault(library.parent.name, {})
        for path in sorted(library.glob("*/DESCRIPTION")):
            text = path.read_text(encoding="utf-8", errors="replace")
            version = re.search(r"^Version:\s*(\S+)", text, re.MULTILINE)
            packages[path.parent.name] = version.group(1) if version else ""
    return found


def kernelspecs() -> dict[str, dict[str, Any]]:
    """Folder name to kernel.json of every global kernel."""
    return {
        path.parent.name: json.loads(path.read_text(encoding="utf-8"))
        for path in sorted(KERNELS.glob("*/kernel.json"))
    }


def images() -> list[dict[str, Any]]:
    """Root's container images: names, id, digests; none where Podman is not installed."""
    if not shutil.which("podman"):
        return []
    listing = json.loads(output("podman", "images", "--format", "json") or "[]") or []
    return [
        {
            "names": image.get("Names") or [],
            "id": image["Id"],
            "digest": image.get("Digest") or "",
            "digests": image.get("RepoDigests") or [],
        }
        for image in listing
    ]


def egress_packets() -> int | None:
    """Packets counted on their way out of the closed network; None where nobody counts."""
    if not shutil.which("nft"):
        return None
    tables = json.loads(output("nft", "--json", "list", "tables"))["nftables"]
    named = [entry["table"] for entry in tables if "table" in entry]
    if not any((t["family"], t["name"]) == tuple(EGRESS_COUNTER[1:3]) for t in named):
        return None
    listing = json.loads(output("nft", "--json", "list", *EGRESS_COUNTER))["nftables"]
    return int(next(entry["counter"]["packets"] for entry in listing if "counter" in entry))


def depot_facts(depot: Path) -> dict[str, Any]:
    """What the depot promises: content.json, stack.yml as text, the locks' packages."""
    if not (depot / "content.json").is_file():
        raise RuntimeError(f"no bundle at {depot}; an inventory names it with landbridge_depot")
    promised = json.loads((depot / "content.json").read_text(encoding="utf-8"))
    environments = promised.get("conda", {}).get("environments", [])
    # The wheels themselves may be on a depot node.
    files = json.loads((depot / "manifest.json").read_text(encoding="utf-8"))["files"]
    return {
        "path": str(depot),
        "content": promised,
        "stack": (depot / "stack.yml").read_text(encoding="utf-8"),
        "locks": {
            environment["name"]: {
                subdir: locked(depot / path) for subdir, path in environment["lock"].items()
            }
            for environment in environments
        },
        "pure_wheels": sorted(
            path.split("/")[2]
            for path in files
            if path.startswith("pypi/simple/") and path.endswith("-py3-none-any.whl")
        ),
    }


def promises() -> dict[str, dict[str, Any]]:
    """What each role was told to do, by role."""
    return {
        path.stem: json.loads(path.read_text(encoding="utf-8"))
        for path in sorted(PROMISES.glob("*.json"))
    }


def locked(lock: Path) -> dict[str, str]:
    """Packages of an explicit lock: file name without its ending to sha256."""
    lines = lock.read_text(encoding="utf-8").splitlines()
    pairs = (line.strip().rsplit("#", 1) for line in lines if line[:1] not in ("", "#", "@"))
    return {re.sub(r"\.(conda|tar\.bz2)$", "", Path(url).name): sha for url, sha in pairs}


def snapshot(depot: Path) -> dict[str, Any]:
    """All of the above."""
    promised = promises()
    r_root = Path(promised.get("r", {}).get("library_root") or R_LIBRARIES)
    return {
        "format": 1,
        "depot": depot_facts(depot),
        "os_release": os_release(),
        "toolkit": {
            "installed": str(TOOLKIT.resolve()) if TOOLKIT.exists() else "",
            "command": str(COMMAND.resolve()) if COMMAND.exists() else "",
        },
        "rpms": rpms(),
        "systemd": systemd(),
        "repositories": repositories(),
        "environments": environments(),
        "r_libraries": r_libraries(r_root),
        "kernelspecs": kernelspecs(),
        "images": images(),
        "promises": promised,
        "egress_packets": egress_packets(),
    }


if __name__ == "__main__":
    if os.geteuid() != 0:
        sys.exit("snapshot: needs root; for an inventory, set ansible_become: true")
    try:
        print(json.dumps(snapshot(Path(sys.argv[1]))))
    except RuntimeError as error:
        sys.exit(f"snapshot: {error}")
