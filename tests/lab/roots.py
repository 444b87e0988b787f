"""A node's root file system: a Debian tree whose every package rpm knows, with RHEL's defaults."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tests.lab import deb2rpm, debian, paths, rpmrepo
from tests.lab.platforms import Platform, words

_HERE = Path(__file__).parent
_OVERLAY = _HERE / "node"  # files that every node gets, under their paths
_CLAMP = _HERE / "clamp_rlimits.c"
_MASKED = _HERE / "data" / "masked.txt"


def root(platform: Platform) -> Path:
    """The root file system of `platform`'s nodes."""
    overlay = [path for path in sorted(_OVERLAY.rglob("*")) if path.is_file()]
    rpms = rpmrepo.repository(platform).parent
    inputs = paths.key(rpms.name, ssh_key().parent.name, Path(__file__), _CLAMP, _MASKED, *overlay)
    return paths.product(f"root/{platform.name}", inputs, lambda to: _make(platform, to)) / "root"


def ssh_key() -> Path:
    """The private key whose public half root's authorized_keys holds on every node."""

    def make(to: Path) -> None:
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "landbridge-lab"]
        subprocess.run([*command, "-f", to / "id_ed25519"], check=True)

    return paths.product("ssh", paths.key("ed25519"), make) / "id_ed25519"


def _make(platform: Platform, to: Path) -> None:
    tree = to / "root"
    subprocess.run(
        ["cp", "-a", "--reflink=auto", debian.trees(platform) / "base", tree], check=True
    )
    _register(platform, tree)
    _remove_dpkg(tree)
    for name, text in _release_files(platform).items():
        _write(tree / name, text)
    subprocess.run(["cp", "-a", "--no-preserve=ownership", f"{_OVERLAY}/.", tree], check=True)
    _accounts(tree)
    library = tree / "usr/libexec/landbridge-lab/clamp_rlimits.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-O2", "-o", library, _CLAMP], check=True)
    _links(tree)
    _services(tree)


def _register(platform: Platform, tree: Path) -> None:
    """Enter every base package into the rpm database, without touching its files."""
    packages = tree / "run/rpms"
    packages.mkdir(parents=True)
    for rpm in rpmrepo.base_packages(platform):
        shutil.copy(rpm, packages)
    _write(tree / "etc/rpm/macros", "%_dbpath /var/lib/rpm\n%_db_backend sqlite\n")
    (tree / "var/lib/rpm").mkdir(exist_ok=True)
    debian.in_root(tree, ["rpm", "--initdb"])
    options = "-i --justdb --nodeps --noscripts --notriggers --nosignature --replacefiles"
    debian.in_root(tree, ["sh", "-c", f"rpm {options} /run/rpms/*.rpm"])
    shutil.rmtree(packages)


def _remove_dpkg(tree: Path) -> None:
    """Delete Debian's package management: the files of its packages, and what they kept."""
    known = deb2rpm.Tree(tree)
    kept = {path for paths_ in known.files.values() for path in paths_}
    for listing in (tree / "var/lib/dpkg/info").glob("*.list"):
        if listing.stem.split(":")[0] not in deb2rpm.DROPPED:
            continue
        for path in map(deb2rpm.folded, listing.read_text().split("\n")):
            file = tree / path.lstrip("/")
            if path and path not in kept and (file.is_symlink() or file.is_file()):
                file.unlink()
    gone = ["var/lib/dpkg", "var/lib/apt", "var/cache/apt", "etc/apt", "etc/dpkg", "usr/lib/apt"]
    gone += [
        "var/log/apt",
        "var/cache/debconf",
        "usr/lib/dpkg",
        "usr/share/debconf",
        "usr/share/dpkg",
    ]
    gone += ["var/lib/systemd/deb-systemd-helper-enabled", "var/lib/ucf", "usr/share/perl5/Debian"]
    # systemd would start what these call once more, under the name of Debian's script.
    gone += ["etc/init.d", *(f"etc/rc{level}.d" for level in "0123456S")]
    for name in gone:
        shutil.rmtree(tree / name, ignore_errors=True)
    for name in ("etc/debian_version", "etc/issue", "etc/issue.net", "etc/motd"):
        (tree / name).unlink(missing_ok=True)
    for marker in (tree / "usr/lib").glob("python3*/EXTERNALLY-MANAGED"):
        marker.unlink()


def _release_files(platform: Platform) -> dict[str, str]:
    version, major = platform.version, platform.major
    title = f"Red Hat Enterprise Linux {version} ({platform.codename})"
    release = f"Red Hat Enterprise Linux release {version} ({platform.codename})\n"
    return {
        "usr/lib/os-release": (
            f'NAME="Red Hat Enterprise Linux"\nVERSION="{version} ({platform.codename})"\n'
            f'ID="rhel"\nID_LIKE="{platform.rhel_id_like}"\nVERSION_ID="{version}"\n'
            f'PLATFORM_ID="platform:el{major}"\nPRETTY_NAME="{title}"\nANSI_COLOR="0;31"\n'
            f'CPE_NAME="cpe:/o:redhat:enterprise_linux:{major}::baseos"\n'
        ),
        "etc/redhat-release": release,
        "etc/rpm/macros.dist": f"%dist .el{major}\n%rhel {major}\n%el{major} 1\n",
        "etc/machine-id": "",
        "etc/hostname": "",
        "etc/locale.conf": "LANG=C.UTF-8\n",
        "root/.ssh/authorized_keys": ssh_key().with_suffix(".pub").read_text(),
    }


def _accounts(tree: Path) -> None:
    """Groups that RHEL has from the start; nobody's group is called as in RHEL."""
    groups = tree / "etc/group"
    text = groups.read_text()
    _write(groups, text.replace("nogroup:x:65534:", "nobody:x:65534:") + "wheel:x:10:\n")
    shadow = tree / "etc/gshadow"
    _write(shadow, shadow.read_text().replace("nogroup:", "nobody:") + "wheel:::\n", 0o640)
    _write(tree / "etc/subuid", "")
    _write(tree / "etc/subgid", "")
    (tree / "root/.ssh").chmod(0o700)
    (tree / "root/.ssh/authorized_keys").chmod(0o600)


def _links(tree: Path) -> None:
    """Paths of RHEL that point at Debian's files."""
    for name, target in {
        "etc/os-release": "../usr/lib/os-release",
        "etc/system-release": "redhat-release",
        "usr/libexec/platform-python": "../bin/python3",
        "usr/sbin/adduser": "useradd",
        "var/spool/mail": "../mail",
        "etc/localtime": "../usr/share/zoneinfo/UTC",
    }.items():
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_symlink() or path.is_file():
            path.unlink()
        if not path.exists():
            path.symlink_to(target)
    for name in ("etc/yum.repos.d", "etc/pki/rpm-gpg", "etc/sysconfig"):
        (tree / name).mkdir(parents=True, exist_ok=True)


def _services(tree: Path) -> None:
    """What starts at boot is what the presets say, and nothing that acts on the machine."""
    units = tree / "etc/systemd/system"
    for unit in words(_MASKED.name):
        link = units / unit
        link.unlink(missing_ok=True)
        link.symlink_to("/dev/null")
    debian.in_root(tree, ["systemctl", "preset-all"])
    debian.in_root(tree, ["systemctl", "set-default", "multi-user.target"])
    debian.in_root(tree, ["ssh-keygen", "-A"])


def _write(path: Path, text: str, mode: int = 0o644) -> None:
    """Replace a file; a link or hard link in its place is not written through."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
