"""The lab's CRAN mirror: upstream source tarballs of R packages, as Debian's archive keeps them.

Versions are those of Debian trixie, which compile with R 4.2 (EL9-like) and R 4.5 (EL10-like);
`Archive/` holds older ones. Debian repacks some (`+dfsg`): they are named for what DESCRIPTION
says, what was taken out of them is put back where it can be, and `LACKING.txt` lists the rest.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import re
import shutil
import tarfile
from collections.abc import Iterable, Mapping
from email.parser import HeaderParser
from pathlib import Path
from typing import NamedTuple

from landbridge.ecosystems._cran_index import BASE, RECOMMENDED
from landbridge.errors import SourceError
from tests.lab import debian, paths
from tests.lab import upstream_cran_gaps as gaps
from tests.lab import upstream_cran_source as sources

HERE = Path(__file__).parent
SUITE = "trixie"
WANTED = (
    *("IRkernel", "jsonlite", "glue", "magrittr", "rmarkdown", "plumber", "reticulate"),
    *("renv", "remotes", "xml2", "curl", "purrr", "scales", "tibble"),
)
# Older versions by the suite that has them; each also has a newer one in src/contrib.
ARCHIVED = {"bookworm": ("glue", "R6")}
FIELDS = ("Depends", "Imports", "LinkingTo", "Suggests", "License", "NeedsCompilation")
TIMESTAMP = 1_704_067_200  # 2024-01-01 UTC: the same input gives the same bytes


class Repacked(NamedTuple):
    """A package as the mirror has it: `lacking` are paths that upstream's tarball has beyond it."""

    description: Mapping[str, str]
    tarball: Path
    lacking: list[str]


def mirror() -> Path:
    """The mirror's directory (`src/contrib/`, `LACKING.txt`, `README.md`), built if missing."""
    code = [HERE / f"upstream_cran{part}.py" for part in ("", "_gaps", "_source")]
    return paths.product("cran", paths.key(*code, debian.mirror()), _build)


def _build(target: Path) -> None:
    contrib, work = target / "src/contrib", target / ".work"
    contrib.mkdir(parents=True)
    donors = gaps.donors()
    packages: dict[str, Repacked] = {}
    wanted = set(WANTED)
    while wanted:
        tarballs = sources.fetch(SUITE, sorted(wanted), work)
        packages |= {name: repack(tarballs[name], contrib, donors) for name in sorted(wanted)}
        wanted = {n for p in packages.values() for n in needs(p.description)} - set(packages)
    old = []
    for suite, names in ARCHIVED.items():
        for name, tarball in sources.fetch(suite, names, work).items():
            folder = contrib / "Archive" / name
            folder.mkdir(parents=True, exist_ok=True)
            old.append(repack(tarball, folder, donors))
    shutil.rmtree(work)
    text = "\n\n".join(stanza(*packages[name][:2]) for name in sorted(packages)) + "\n"
    (contrib / "PACKAGES").write_text(text)
    (contrib / "PACKAGES.gz").write_bytes(gzip.compress(text.encode(), mtime=TIMESTAMP))
    (target / "LACKING.txt").write_text(_lacking([*packages.values(), *old]))
    (target / "README.md").write_text(f"# CRAN mirror of the Landbridge lab\n\n{__doc__}")


def _lacking(packages: Iterable[Repacked]) -> str:
    """A line for each file that upstream's tarball has and the mirror's lacks."""
    lines = [f"{p.tarball.name} {path}" for p in packages for path in p.lacking]
    return "".join(f"{line}\n" for line in sorted(lines))


def repack(source: Path, contrib: Path, donors: Mapping[str, bytes]) -> Repacked:
    """Write `source` as `<Package>_<Version>.tar.gz` with the one top folder `<Package>`.

    Args:
        source: an upstream tarball.
        contrib: where to.
        donors: files that may be put where Debian took one out (see `upstream_cran_gaps`).
    """
    files, executable = _content(source)
    text = files["DESCRIPTION"].decode("utf-8", "replace")
    description = dict(HeaderParser().parsestr(text).items())
    name = description["Package"]
    files |= gaps.close(name, files, donors)
    tarball = contrib / f"{name}_{description['Version']}.tar.gz"
    with (
        tarball.open("wb") as raw,
        gzip.GzipFile("", "wb", 6, raw, mtime=TIMESTAMP) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.GNU_FORMAT) as archive,
    ):
        for path, data in sorted(files.items()):
            member = tarfile.TarInfo(f"{name}/{path}")
            member.size, member.mtime = len(data), TIMESTAMP
            member.mode = 0o755 if path in executable else 0o644
            archive.addfile(member, io.BytesIO(data))
    return Repacked(description, tarball, sorted(gaps.lacking(files)))


def _content(source: Path) -> tuple[dict[str, bytes], set[str]]:
    """The package's files by path, symbolic links followed, and which of them are executable."""
    with tarfile.open(source) as archive:
        members = [member for member in archive if member.isfile() or member.issym()]
        names = [member.name for member in members]
        found = [name for name in names if re.fullmatch(r"(\./)?[^/]+/DESCRIPTION", name)]
        if not found:
            raise SourceError(f"{source.name} holds no DESCRIPTION: it is not an R package")
        root = found[0].removesuffix("DESCRIPTION")
        files, executable = {}, set()
        for member in members:
            if member.name.startswith(root) and (stream := archive.extractfile(member)):
                path = member.name.removeprefix(root)
                files[path] = stream.read()
                if member.mode & 0o100 and member.isfile():
                    executable.add(path)
    return files, executable


def needs(description: Mapping[str, str]) -> list[str]:
    """Names of the packages that must be installed first, without those that R carries."""
    text = ",".join(description.get(field, "") for field in ("Depends", "Imports", "LinkingTo"))
    names = {re.split(r"[\s(]", entry.strip())[0] for entry in text.split(",")}
    return sorted(names - BASE - RECOMMENDED - {""})


def stanza(description: Mapping[str, str], tarball: Path) -> str:
    """The package's entry in PACKAGES."""
    fields = {"Package": description["Package"], "Version": description["Version"]}
    fields |= {f: description[f] for f in FIELDS if f in description}
    # Left out by authors who never built the package; R needs it to know what it will compile.
    fields.setdefault("NeedsCompilation", "yes" if _compiles(tarball) else "no")
    fields["MD5sum"] = hashlib.md5(tarball.read_bytes(), usedforsecurity=False).hexdigest()
    return "\n".join(f"{key}: {' '.join(value.split())}" for key, value in fields.items())


def _compiles(tarball: Path) -> bool:
    with tarfile.open(tarball) as archive:
        return any("/src/" in name for name in archive.getnames())
