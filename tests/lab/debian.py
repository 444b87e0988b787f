"""The Debian trees that nodes and RPMs are made from: `base` (a node) and `full` (all offered).

Packages are really installed, with their maintainer scripts, so that links, users and folders
which only those scripts make can be found and carried into the RPMs.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from landbridge.errors import SourceError
from tests.lab import paths
from tests.lab.platforms import BASE, OFFERED, Platform

# Not needed on a node, and half of all files.
_UNUSED = ("doc", "man", "info", "locale", "lintian", "bug", "doc-base", "help")

# Debian's unit names where RHEL has another one for the same service.
_RENAMED_UNITS = {"ssh.service": "sshd.service", "chrony.service": "chronyd.service"}

_PRIVATE = ["unshare", "-m", "--propagation", "private"]
_APT = ["apt-get", "--yes", "--quiet", "--no-install-recommends", "-o", "Dpkg::Use-Pty=0"]


def trees(platform: Platform) -> Path:
    """A folder with `base/` and `full/`, two Debian trees of `platform.suite`."""
    inputs = paths.key(Path(__file__), mirror(), platform.suite, *BASE, "|", *OFFERED)
    return paths.product(f"debian/{platform.name}", inputs, lambda to: _make(platform, to))


def mirror() -> str:
    """The Debian mirror that this machine's own apt uses."""
    form = "$(ORIGIN)|$(LABEL)|$(SITE)"
    command = ["apt-get", "indextargets", "--format", form, "Created-By: Packages"]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split("\n")
    for origin, label, site in (line.split("|") for line in lines if line.count("|") == 2):
        if (origin, label) == ("Debian", "Debian"):
            return site
    raise SourceError(
        "this machine's apt knows no Debian mirror", "configure one and run apt-get update"
    )


def in_root(root: Path, command: list[str], **mounts: Path) -> None:
    """Run `command` chrooted in `root`, in a mount namespace of its own.

    Args:
        root: the tree.
        command: what to run.
        mounts: `var_cache_x=directory` binds a directory onto `/var/cache/x`.

    Raises:
        SourceError: the command failed; its last lines are in the message.
    """
    binds = "".join(
        f"mkdir -p {root}/{name.replace('_', '/')}; "
        f"mount --bind {source} {root}/{name.replace('_', '/')}; "
        for name, source in mounts.items()
    )
    script = f'mount -t proc proc {root}/proc; {binds}exec chroot {root} "$@"'
    _run([*_PRIVATE, "sh", "-ec", script, "sh", *command])


def _run(command: list[str]) -> None:
    environment = {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "DEBIAN_FRONTEND": "noninteractive",
        "LC_ALL": "C.UTF-8",
    }
    done = subprocess.run(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        tail = "\n".join(done.stdout.splitlines()[-25:])
        raise SourceError(f"{' '.join(command)[:200]}: exit {done.returncode}\n{tail}")


def _make(platform: Platform, to: Path) -> None:
    archives = paths.cache() / "debs" / platform.suite
    (archives / "partial").mkdir(parents=True, exist_ok=True)
    base, full = to / "base", to / "full"
    with paths.stage(f"debootstrap {platform.suite}"):
        options = [f"--include={','.join(BASE)}", f"--cache-dir={archives}"]
        command = ["debootstrap", "--variant=minbase", *options]
        _run([*_PRIVATE, *command, platform.suite, str(base), mirror()])
    policy = base / "usr/sbin/policy-rc.d"
    policy.write_text("#!/bin/sh\nexit 101\n")  # no service is started in the tree
    policy.chmod(0o755)
    with paths.stage(f"install what {platform.name}'s repository offers"):
        subprocess.run(["cp", "-a", "--reflink=auto", base, full], check=True)
        in_root(full, [*_APT, "update"])
        in_root(full, [*_APT, "install", *OFFERED], var_cache_apt_archives=archives)
    for tree in (base, full):
        _adapt(tree)


def _adapt(tree: Path) -> None:
    """Bring a tree closer to RHEL where a change of a file or name is enough."""
    (tree / "usr/sbin/policy-rc.d").unlink()
    for name in _UNUSED:
        shutil.rmtree(tree / "usr/share" / name, ignore_errors=True)
    for old, new in _RENAMED_UNITS.items():
        _rename_unit(tree, old, new)
    shell = tree / "usr/bin/sh"  # dash in Debian
    shell.unlink()
    shell.symlink_to("bash")


def _rename_unit(tree: Path, old: str, new: str) -> None:
    unit = tree / "usr/lib/systemd/system" / old
    if not unit.exists():
        return
    text = unit.read_text().replace(f"Alias={new}\n", "")
    unit.with_name(new).write_text(text)
    unit.unlink()
    for link in (tree / "etc/systemd/system").rglob("*.service"):
        if link.name in (old, new) and link.is_symlink():
            link.unlink()
    for listing in (tree / "var/lib/dpkg/info").glob("*.list"):
        lines = listing.read_text().split("\n")
        if any(line.endswith(f"/systemd/system/{old}") for line in lines):
            changed = [
                line.replace(old, new) if line.endswith(f"/{old}") else line for line in lines
            ]
            listing.write_text("\n".join(changed))
