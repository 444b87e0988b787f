"""Debian packages installed in a tree become RPMs with RHEL's names.

What rpm can find by itself (sonames, pkg-config modules) it finds; this module carries names,
dependencies, owners and modes, configuration files, systemd presets, and what Debian's maintainer
scripts made: links of its alternatives, and users.
"""

from __future__ import annotations

import email.parser
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.lab.platforms import words

# Debian's own package management, and what only its maintainer scripts call.
DROPPED = frozenset(words("dropped.txt"))
_NAMES = words("names.txt")
NAMES = dict(zip(_NAMES[::2], _NAMES[1::2], strict=True))

# The tree's folders that are links into /usr.
_MERGED = re.compile(r"^/(lib64|lib|bin|sbin)(/|$)")

Stanza = Mapping[str, str]


def evr(version: str, dist: str) -> tuple[str, str, str]:
    """Epoch, version and release of the RPM for a Debian version, e.g. `1:2.3~rc1-4+b1`."""
    epoch, _, rest = version.rpartition(":")
    upstream, _, revision = rest.rpartition("-") if "-" in rest else (rest, "", "1")
    return epoch, _clean(upstream), f"{_clean(revision)}.{dist}"


def _clean(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._+~^]", "_", text)


def alternatives(relation: str) -> list[str]:
    """Package names in one Debian relation such as `a (>= 1) | b:any [amd64]`, in order."""
    found = (re.match(r"[a-z0-9][a-z0-9.+-]*", part.strip()) for part in relation.split("|"))
    return [match[0] for match in found if match]


def rpm_name(package: str) -> str:
    """The RHEL name of a Debian package; its own name where no other is known."""
    return NAMES.get(package, package)


def folded(path: str) -> str:
    """`/bin/x` as `/usr/bin/x`: the place of a file once /bin, /sbin and /lib are links."""
    return _MERGED.sub(r"/usr/\1\2", path)


class Tree:
    """A Debian tree: its packages, who owns what, and what its scripts made."""

    def __init__(self, root: Path) -> None:
        self.root = root
        text = (root / "var/lib/dpkg/status").read_text(encoding="utf-8")
        parsed = (email.parser.Parser().parsestr(part) for part in text.strip().split("\n\n"))
        self.packages: dict[str, Stanza] = {
            stanza["Package"]: dict(stanza.items())
            for stanza in parsed
            if "installed" in stanza["Status"].split() and stanza["Package"] not in DROPPED
        }
        self.provided = {
            virtual: name
            for name, stanza in self.packages.items()
            for relation in stanza.get("Provides", "").split(",")
            for virtual in alternatives(relation)
        }
        self.files = {name: self._listed(name) for name in self.packages}
        for link, owner in self._alternative_links():
            self.files[owner].append(link)
        self.shared = Counter(path for paths in self.files.values() for path in set(paths))
        self.users = self._names("etc/passwd")
        self.groups = self._names("etc/group")

    def info(self, package: str, what: str) -> str:
        """The content of `package`'s dpkg file `what` (list, conffiles, postinst), or nothing."""
        folder = self.root / "var/lib/dpkg/info"
        for name in (f"{package}.{what}", f"{package}:amd64.{what}"):
            if (folder / name).exists():
                return (folder / name).read_text(encoding="utf-8", errors="replace")
        return ""

    def required(self, package: str) -> set[str]:
        """RHEL names of what `package` depends on; of alternatives, the first that is there."""
        found = set()
        for key in ("Depends", "Pre-Depends"):
            for relation in self.packages[package].get(key, "").split(","):
                known = (
                    name if name in self.packages else self.provided.get(name)
                    for name in alternatives(relation)
                )
                if first := next(filter(None, known), None):
                    found.add(rpm_name(first))
        return found - {rpm_name(package)}

    def owners(self, path: str) -> tuple[str, str]:
        """User and group of a path, by name."""
        status = (self.root / path.lstrip("/")).lstat()
        return self.users[status.st_uid], self.groups[status.st_gid]

    def _listed(self, package: str) -> list[str]:
        paths = dict.fromkeys(folded(line) for line in self.info(package, "list").split("\n"))
        return [
            path
            for path in paths
            if path not in ("", "/.", "/usr", "/usr/lib", "/usr/lib64", "/usr/bin", "/usr/sbin")
            and not path.startswith("/etc/init.d")
            and os.path.lexists(self.root / path.lstrip("/"))
        ]

    def _names(self, file: str) -> dict[int, str]:
        rows = (line.split(":") for line in (self.root / file).read_text().splitlines())
        return {int(row[2]): row[0] for row in rows}

    def _alternative_links(self) -> Iterator[tuple[str, str]]:
        """Links that update-alternatives made, each with the package that owns its target."""
        owner = {path: name for name, paths in self.files.items() for path in paths}
        for file in sorted((self.root / "var/lib/dpkg/alternatives").iterdir()):
            lines = file.read_text().split("\n")
            slaves = lines[2 : lines.index("", 2)]  # name, link, name, link ...
            pairs = [(lines[1], file.name), *zip(slaves[1::2], slaves[::2], strict=True)]
            for link, name in pairs:
                inner = f"/etc/alternatives/{name}"
                place = self.root / inner.lstrip("/")
                target = folded(str(place.readlink())) if place.is_symlink() else ""
                if target in owner and link.startswith("/"):
                    yield folded(link), owner[target]
                    yield inner, owner[target]
