"""CRAN's index: stanzas of PACKAGES, versions as R compares them, and our own index written."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import date
from pathlib import Path
from typing import NamedTuple

from landbridge.ecosystems import _rds
from landbridge.files import write_file, write_gzip

# What R itself carries: base and recommended packages are part of the RPM R-core.
BASE = frozenset(
    re.findall(
        r"\w+",
        "R base compiler datasets grDevices graphics grid methods parallel splines stats stats4"
        " tcltk tools utils",
    )
)
RECOMMENDED = frozenset(
    re.findall(
        r"\w+",
        "KernSmooth MASS Matrix boot class cluster codetools foreign lattice mgcv nlme nnet"
        " rpart spatial survival",
    )
)
# For what tells no day of release.
_NO_DAY = "1980-01-01"
_NEEDS = ("Depends", "Imports", "LinkingTo")
# `name (>= 1.2)`, the version being optional ("Writing R Extensions", package dependencies).
_NEED = re.compile(r"\s*([\w.]+)\s*(?:\(\s*([<>=!]+)\s*([\w.-]+)\s*\))?\s*$")
_COMPARE: dict[str, Callable[[list[int], list[int]], bool]] = {
    ">=": operator.ge,
    ">": operator.gt,
    "<=": operator.le,
    "<": operator.lt,
    "==": operator.eq,
    "!=": operator.ne,
}


class Need(NamedTuple):
    """A package that another one needs, and in which versions; empty for any."""

    name: str
    operator: str = ""
    version: str = ""

    def __str__(self) -> str:
        return f"{self.name} ({self.operator} {self.version})" if self.operator else self.name

    def is_met_by(self, version: str) -> bool:
        """Whether `version` will do, by R's comparison."""
        if self.operator not in _COMPARE:
            return True
        return _COMPARE[self.operator](version_key(version), version_key(self.version))


def version_key(version: str) -> list[int]:
    """What R compares of a version (`package_version`): its numbers, one after the other."""
    return [int(number) for number in re.findall(r"\d+", version)]


def needs(fields: Mapping[str, str]) -> list[Need]:
    """What a package needs to be built and loaded, R's own left out."""
    return [need for need in all_needs(fields) if need.name not in BASE]


def all_needs(fields: Mapping[str, str]) -> list[Need]:
    """The same with R itself and its own packages."""
    entries = ",".join(fields[key] for key in _NEEDS if key in fields).split(",")
    matches = [_NEED.match(entry) for entry in entries]
    return sorted({Need(m[1], m[2] or "", m[3] or "") for m in matches if m})


def read_stanza(text: str) -> dict[str, str]:
    """The fields of one stanza, lines of a folded one joined by line ends, as `read.dcf` does."""
    fields: dict[str, str] = {}
    key = ""
    for line in text.split("\n"):
        if line[:1] in {" ", "\t"}:
            if key:
                more = line.strip()
                fields[key] = f"{fields[key]}\n{'' if more == '.' else more}".removeprefix("\n")
        elif ":" in line:
            key, _, value = line.partition(":")
            key = key.strip()
            fields[key] = value.strip()
    return fields


def parse_packages(text: str) -> dict[str, dict[str, str]]:
    """Read a PACKAGES file.

    Returns:
        The fields of each package by its name, unfolded, and under `stanza` its text as it
        stands. Of several versions of a package the highest counts, as in R; those in a folder
        of their own (`Path`) are for other releases of R.
    """
    packages: dict[str, dict[str, str]] = {}
    for stanza in re.split(r"\n\s*\n", text.strip()):
        fields = {key: value.replace("\n", " ") for key, value in read_stanza(stanza).items()}
        if "Package" not in fields or "Version" not in fields or "Path" in fields:
            continue
        other = packages.get(fields["Package"])
        if other is None or version_key(fields["Version"]) >= version_key(other["Version"]):
            packages[fields["Package"]] = {**fields, "stanza": stanza.strip("\n")}
    return packages


def write_index(folder: Path, stanzas: Iterable[str]) -> None:
    """Write PACKAGES, PACKAGES.gz and PACKAGES.rds, which say the same.

    Args:
        folder: the repository's `src/contrib`.
        stanzas: one for each package, as its source has it.
    """
    stanzas = list(stanzas)
    text = "\n\n".join(stanzas) + "\n"
    write_file(folder / "PACKAGES", text)
    write_gzip(folder / "PACKAGES.gz", text)
    write_gzip(folder / "PACKAGES.rds", _rds.serialize(_table(stanzas)))


def write_archive(folder: Path, files: Mapping[str, tuple[int, str]]) -> None:
    """Write Meta/archive.rds, where clients look for what is not in the index (remotes, pak).

    Args:
        folder: the repository's `src/contrib`.
        files: size in bytes and day of release (or "") by the path below `Archive/`.
    """
    by_package: dict[str, list[str]] = {}
    for path in sorted(files, key=version_key):
        by_package.setdefault(path.partition("/")[0], []).append(path)
    names = sorted(by_package)
    frames = [_archived(by_package[name], files) for name in names]
    value = _rds.Items(frames, {"names": _rds.Strings(names)})
    write_gzip(folder / "Meta/archive.rds", _rds.serialize(value))


def _archived(paths: list[str], files: Mapping[str, tuple[int, str]]) -> _rds.Items:
    """As much of R's `file.info` as can be told of files that are the same everywhere."""
    days = (date.fromisoformat(files[path][1] or _NO_DAY) for path in paths)
    times = [float((day - date(1970, 1, 1)).days * 86400) for day in days]
    classes = {"class": _rds.Strings(["POSIXct", "POSIXt"])}
    sizes = _rds.Reals([float(files[path][0]) for path in paths])
    return _rds.frame(paths, {"size": sizes, "mtime": _rds.Reals(times, classes)})


def _table(stanzas: list[str]) -> _rds.Strings:
    """What R makes of PACKAGES: a row for each package, a column for each field that one has."""
    rows = [read_stanza(stanza) for stanza in stanzas]
    columns = dict.fromkeys(key for row in rows for key in row)
    cells = {key: [row.get(key) for row in rows] for key in columns}
    return _rds.matrix([row["Package"] for row in rows], cells)
