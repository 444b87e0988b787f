"""The lab's CRAN mirror: upstream source tarballs of R packages, as Debian's archive keeps them.

Versions are those of Debian trixie, which compile with R 4.2 (EL9-like) and R 4.5 (EL10-like).
Debian repacks some (`+dfsg`): they are named for what DESCRIPTION says, and are not CRAN's bytes.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import re
import subprocess
import tarfile
from collections.abc import Mapping
from email.parser import HeaderParser
from pathlib import Path

from landbridge.errors import SourceError
from tests.lab import debian, paths

SUITE = "trixie"
WANTED = ("IRkernel", "jsonlite", "glue", "magrittr")
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
FIELDS = ("Depends", "Imports", "LinkingTo", "Suggests", "License", "NeedsCompilation")
# Part of R itself, so not in src/contrib.
BASE = frozenset(
    re.findall(
        r"\w+",
        "R base compiler datasets grDevices graphics grid methods parallel splines stats stats4 "
        "tcltk tools utils",
    )
)
TIMESTAMP = 1_704_067_200  # 2024-01-01 UTC: the same input gives the same bytes


def mirror() -> Path:
    """The mirror's directory (`src/contrib/`, `README.md`), built if missing."""
    key = paths.key(Path(__file__), debian.mirror(), SUITE, *WANTED)
    return paths.product("cran", key, _build)


def _build(target: Path) -> None:
    contrib, work = target / "src/contrib", target / ".work"
    contrib.mkdir(parents=True)
    environment = _private_apt(work)
    stanzas: dict[str, str] = {}
    queue = list(WANTED)
    while queue:
        name = queue.pop()
        if name in stanzas:
            continue
        description, tarball = repack(_fetch(name, work, environment), contrib)
        stanzas[name] = stanza(description, tarball)
        queue += needs(description)
    _run(["rm", "-r", str(work)])
    text = "\n\n".join(stanzas[name] for name in sorted(stanzas)) + "\n"
    (contrib / "PACKAGES").write_text(text)
    (contrib / "PACKAGES.gz").write_bytes(gzip.compress(text.encode(), mtime=TIMESTAMP))
    (target / "README.md").write_text(f"# CRAN mirror of the Landbridge lab\n\n{__doc__}")


def repack(source: Path, contrib: Path) -> tuple[Mapping[str, str], Path]:
    """Write `source` as `<Package>_<Version>.tar.gz` with the one top folder `<Package>`.

    Returns:
        The package's DESCRIPTION by field, and the tarball in `contrib`.
    """
    with tarfile.open(source) as old:
        members = old.getmembers()
        paths_inside = [member.name for member in members if member.isfile()]
        found = [name for name in paths_inside if re.fullmatch(r"(\./)?[^/]+/DESCRIPTION", name)]
        if not found:
            raise SourceError(f"{source.name} holds no DESCRIPTION: it is not an R package")
        root = found[0].removesuffix("DESCRIPTION")
        text = _content(old, found[0]).decode("utf-8", "replace")
        description = dict(HeaderParser().parsestr(text).items())
        name = description["Package"]
        tarball = contrib / f"{name}_{description['Version']}.tar.gz"
        with (
            tarball.open("wb") as raw,
            gzip.GzipFile("", "wb", 6, raw, mtime=TIMESTAMP) as packed,
            tarfile.open(fileobj=packed, mode="w", format=tarfile.GNU_FORMAT) as new,
        ):
            for member in sorted(members, key=lambda member: member.name):
                if member.name.startswith(root) and (member.isfile() or member.issym()):
                    data = _content(old, member.name) if member.isfile() else b""
                    new.addfile(
                        _settled(member, f"{name}/{member.name[len(root) :]}"), io.BytesIO(data)
                    )
    return description, tarball


def needs(description: Mapping[str, str]) -> list[str]:
    """Names of the packages that must be installed first, without those that R carries."""
    text = ",".join(description.get(field, "") for field in ("Depends", "Imports", "LinkingTo"))
    names = {re.split(r"[\s(]", entry.strip())[0] for entry in text.split(",")}
    return sorted(names - BASE - {""})


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


def _settled(member: tarfile.TarInfo, name: str) -> tarfile.TarInfo:
    settled = tarfile.TarInfo(name)
    settled.size, settled.type, settled.linkname = member.size, member.type, member.linkname
    settled.mode = 0o755 if member.mode & 0o100 else 0o644
    settled.mtime = TIMESTAMP
    return settled


def _content(archive: tarfile.TarFile, name: str) -> bytes:
    stream = archive.extractfile(name)
    assert stream is not None  # callers ask for regular files only
    return stream.read()


def _private_apt(work: Path) -> dict[str, str]:
    """Package lists of `SUITE`'s sources in `work`; the machine's own apt stays as it is.

    Returns:
        The environment with which apt reads them.
    """
    for folder in ("lists/partial", "cache/archives/partial", "sources"):
        (work / folder).mkdir(parents=True)
    (work / "status").touch()
    (work / "sources.list").write_text(
        f"deb-src [signed-by={KEYRING}] {debian.mirror()} {SUITE} main\n"
    )
    (work / "apt.conf").write_text(
        f'Dir::State "{work}";\nDir::State::status "{work}/status";\nDir::Cache "{work}/cache";\n'
        f'Dir::Etc::sourcelist "{work}/sources.list";\nDir::Etc::sourceparts "/dev/null";\n'
        'APT::Sandbox::User "root";\n'
    )
    environment = {**os.environ, "APT_CONFIG": str(work / "apt.conf"), "LC_ALL": "C.UTF-8"}
    _run(["apt-get", "-qq", "update"], environment)
    return environment


def _fetch(name: str, work: Path, environment: dict[str, str]) -> Path:
    """The upstream tarball of an R package, checked against Debian's signed index of sources."""
    source, folder = f"r-cran-{name.lower()}", work / "sources"
    record = _run(["apt-cache", "showsrc", "--only-source", source], environment)
    found = re.findall(r"^ ([0-9a-f]{64}) \d+ (\S+\.orig\.tar\.\w+)$", record, re.MULTILINE)
    if not found:
        raise SourceError(
            f"Debian {SUITE} has no source of the R package {name}",
            "choose another package in tests/lab/upstream_cran.py",
        )
    digest, file = str(found[0][0]), str(found[0][1])
    _run(["apt-get", "-qq", "source", "--download-only", "--tar-only", source], environment, folder)
    if hashlib.sha256((folder / file).read_bytes()).hexdigest() != digest:
        raise SourceError(f"{file} is not what Debian's index of sources promises", "try again")
    return folder / file


def _run(
    command: list[str], environment: dict[str, str] | None = None, cwd: Path | None = None
) -> str:
    done = subprocess.run(
        command, env=environment, cwd=cwd, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise SourceError(f"{' '.join(command)} failed: {done.stderr.strip()[-800:]}")
    return done.stdout
