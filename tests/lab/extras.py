"""What RHEL's packages have and Debian's lack: names provided, dependencies, conflicts, links."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.lab import r_makeconf
from tests.lab.platforms import Platform


@dataclass(frozen=True)
class Extra:
    """Additions to one RPM.

    `links` are (path, target), `files` were made by Debian's postinst, and `edits` are (path, what
    makes its new text of the old one).
    """

    version: str = ""
    requires: tuple[str, ...] = ()
    provides: tuple[str, ...] = ()
    conflicts: tuple[str, ...] = ()
    links: tuple[tuple[str, str], ...] = ()
    files: tuple[str, ...] = ()
    edits: tuple[tuple[str, Callable[[str], str]], ...] = ()
    script: str = ""
    without: tuple[str, ...] = ()  # beginnings of paths that RHEL's package does not hold
    unneeded: str = ""  # pattern of sonames that only an optional plugin wants


# As in RHEL: new units, users and temporary files are known after each transaction.
_SYSTEMD_TRIGGERS = """
%transfiletriggerin -P 1000900 -- /usr/lib/systemd/system /etc/systemd/system
if [ -d /run/systemd/system ]; then systemctl daemon-reload; fi
%transfiletriggerin -P 1000700 -- /usr/lib/sysusers.d
systemd-sysusers
%transfiletriggerin -P 1000500 -- /usr/lib/tmpfiles.d
[ -d /run/systemd/system ] || exit 0
grep '^/usr/lib/tmpfiles.d/.*conf$' | xargs -r systemd-tmpfiles --create
"""
_LDCONFIG_TRIGGER = """
%transfiletriggerin -P 2000000 -- /usr/lib /usr/local/lib
/sbin/ldconfig
%transfiletriggerpostun -P 2000000 -- /usr/lib /usr/local/lib
/sbin/ldconfig
"""


# What Debian takes for granted, in RHEL's names: there other packages require it.
_ESSENTIAL = ("bash", "coreutils", "diffutils", "findutils", "gawk", "grep", "gzip", "sed", "tar")


def extras(platform: Platform) -> dict[str, Extra]:
    """Additions by Debian package."""
    rootless_network = "slirp4netns" if platform.major == "9" else "passt"
    firewall = "iptables-nft" if platform.major == "9" else "nftables"
    return {
        "base-files": Extra(
            version=platform.version,
            provides=(
                f"system-release = {platform.version}",
                f"system-release(releasever) = {platform.major}",
                "filesystem",
                "basesystem",
            ),
            # debootstrap makes them; in an empty root somebody has to.
            links=tuple((f"/{name}", f"usr/{name}") for name in ("bin", "lib", "lib64", "sbin")),
        ),
        # /usr/bin/sh is in Debian's dash.
        "bash": Extra(provides=("/bin/bash", "/bin/sh"), requires=("dash",)),
        "coreutils": Extra(provides=("/bin/true",)),
        "libc6": Extra(
            provides=("rtld(GNU_HASH)",), requires=("basesystem", "bash", "glibc-common")
        ),
        "libc-bin": Extra(provides=("/sbin/ldconfig",), script=_LDCONFIG_TRIGGER),
        "systemd": Extra(provides=("/bin/systemctl",), script=_SYSTEMD_TRIGGERS),
        "python3-minimal": Extra(
            provides=("platform-python", f"python(abi) = {platform.python}"),
            links=(("/usr/libexec/platform-python", "../bin/python3"),),
        ),
        "iproute2": Extra(unneeded="^libatm"),
        "dnf-plugins-core": Extra(  # these plugins have packages of their own in RHEL
            without=(
                "/usr/lib/systemd/system/dnf-system-upgrade",
                "/usr/lib/python3/dist-packages/dnf-plugins/system_upgrade",
                "/etc/dnf/plugins/local.conf",
                "/usr/lib/python3/dist-packages/dnf-plugins/local",
            )
        ),
        "podman": Extra(
            without=("/etc/cni",),
            requires=(
                *("catatonit", "conmon", "containers-common", "crun", "netavark", "aardvark-dns"),
                *("container-selinux", "fuse-overlayfs", "shadow-utils-subid", rootless_network),
            ),
        ),
        "netavark": Extra(requires=(firewall, "aardvark-dns")),
        "podman-docker": Extra(
            requires=("podman",),
            conflicts=("docker", "docker-latest", "docker-ce", "docker-ee", "moby-engine"),
        ),
        "nginx-common": Extra(files=("/etc/nginx/sites-enabled/default",)),
        "chrony": Extra(files=("/etc/chrony/chrony.conf", "/etc/chrony/chrony.keys")),
        "policycoreutils": Extra(files=("/etc/selinux/config",)),
        "firewalld": Extra(requires=("nftables", "python3-nftables")),
        "r-base-core": Extra(
            requires=("r-recommended", *_ESSENTIAL),
            files=("/etc/R/Renviron",),
            edits=(("/etc/R/Makeconf", r_makeconf.fast),),
            links=(("/usr/lib64/R", "../lib/R"),),
        ),
        "r-base-dev": Extra(requires=("gcc", "gcc-c++", "gcc-gfortran", "make")),
    }
