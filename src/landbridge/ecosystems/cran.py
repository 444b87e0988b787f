"""R packages: the closure over CRAN's index, carried as `src/contrib`."""

from __future__ import annotations

import gzip
import re
import tarfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from landbridge.bundle.transport import Missing
from landbridge.ecosystems import Learner
from landbridge.ecosystems._cran_index import RECOMMENDED, needs, parse_packages, write_index
from landbridge.errors import InputError, SourceError
from landbridge.files import sha256_of
from landbridge.lock import Artifact, Kept, Lock, Part
from landbridge.stack import Stack

CONTRIB = "cran/src/contrib"


def resolve(stack: Stack, learner: Learner, kept: Kept | None = None) -> Part:
    """Follow Depends, Imports and LinkingTo from the wanted packages to the end."""
    if not stack.r.packages or stack.sources.cran is None:
        return Part([])
    base = stack.sources.cran.url.rstrip("/") + "/src/contrib"
    stanzas = parse_packages(_read_index(base, learner))
    locked = {a.name: a for a in kept.of("cran")} if kept else {}
    chosen, needed_by = _least_change(stack.r.packages, stanzas, locked, base)

    def artifact(name: str) -> Artifact:
        old = locked.get(name)
        same = old and chosen[name]["stanza"] == old.index_entry
        found = old if old and same else _artifact(chosen[name], base, learner)
        return found.model_copy(update={"required_by": sorted(needed_by[name])})

    with ThreadPoolExecutor() as pool:
        return Part(list(pool.map(artifact, sorted(needed_by))))


def index(root: Path, lock: Lock, _learner: Learner) -> None:
    """Write PACKAGES, PACKAGES.gz and PACKAGES.rds from the source's own stanzas."""
    if artifacts := lock.of("cran"):
        write_index(root / CONTRIB, [artifact.index_entry for artifact in artifacts])


def alternatives(artifact: Artifact) -> list[str]:
    """Other URLs of a package: mirrors move what is superseded to the Archive.

    Args:
        artifact: of this ecosystem.
    """
    base, _, rest = artifact.url.partition("/src/contrib/")
    file = rest.rsplit("/", 1)[-1]
    contrib = f"{base}/src/contrib"
    return [f"{contrib}/Archive/{artifact.name}/{file}", f"{contrib}/{file}"]


def closure(
    wanted: list[str], stanzas: dict[str, dict[str, str]], where: str
) -> dict[str, set[str]]:
    """All packages to carry, each with the packages that need it.

    A recommended package is carried only where the source has it: R brings its own.

    Raises:
        InputError: the stack asks for a package that the source does not have.
        SourceError: a package needs one that the source does not have.
    """
    unknown = [name for name in wanted if name not in stanzas]
    if unknown:
        raise InputError(
            f"r: {where} has no package {', '.join(unknown)}", "correct the names in the stack"
        )
    needed_by: dict[str, set[str]] = {name: set() for name in wanted}
    queue = list(wanted)
    while queue:
        name = queue.pop()
        for need in needs(stanzas[name]):
            if need.name not in stanzas:
                if need.name in RECOMMENDED:
                    continue
                raise SourceError(
                    f"r: {name} needs {need}, which {where} does not have", "complete the mirror"
                )
            if need.name not in needed_by:
                needed_by[need.name] = set()
                queue.append(need.name)
            needed_by[need.name].add(name)
    return needed_by


def _least_change(
    wanted: list[str],
    newest: dict[str, dict[str, str]],
    locked: dict[str, Artifact],
    where: str,
) -> tuple[dict[str, dict[str, str]], dict[str, set[str]]]:
    """The stanzas to take, and who needs whom: what is locked stays until a need is not met.

    Then the needed package moves to its newest version, or where that is so already, the one
    that needs it.

    Raises:
        SourceError: the source's own packages do not meet each other's needs.
    """
    staying = {n: s for a in locked.values() for n, s in parse_packages(a.index_entry).items()}
    while True:
        chosen = {**newest, **staying}
        needed_by = closure(wanted, chosen, where)
        unmet = [
            (name, need)
            for name in sorted(needed_by)
            for need in needs(chosen[name])
            if need.name in needed_by and not need.is_met_by(chosen[need.name]["Version"])
        ]
        if not unmet:
            return chosen, needed_by
        moving, faults = set(), []
        for name, need in unmet:
            movable = [n for n in (need.name, name) if n in staying and n in newest]
            moving.update(movable[:1])
            if not movable:
                faults.append(f"{name} needs {need}, there is {chosen[need.name]['Version']}")
        if faults:
            raise SourceError(f"r: {where}: {'; '.join(faults)}", "sync or complete the mirror")
        staying = {name: fields for name, fields in staying.items() if name not in moving}


def _artifact(fields: dict[str, str], base: str, learner: Learner) -> Artifact:
    name, version = fields["Package"], fields["Version"]
    file_name = f"{name}_{version}.tar.gz"
    file = learner.learn(f"{base}/{file_name}", fields.get("MD5sum"))
    return Artifact(
        ecosystem="cran",
        name=name,
        version=version,
        path=f"{CONTRIB}/{file_name}",
        url=f"{base}/{file_name}",
        sha256=sha256_of(file),
        size=file.stat().st_size,
        license=fields.get("License", ""),
        released=_day(fields) or _day(_description(file, name)),
        index_entry=fields["stanza"],
    )


def _day(fields: dict[str, str]) -> str:
    """The day of publication, in an index or a package's own DESCRIPTION."""
    for key in ("Published", "Date/Publication", "Packaged"):
        if match := re.match(r"\d{4}-\d{2}-\d{2}", fields.get(key, "")):
            return match[0]
    return ""


def _description(file: Path, name: str) -> dict[str, str]:
    """The fields of a package's DESCRIPTION; none where it cannot be read."""
    try:
        with tarfile.open(file) as tar:
            member = next((m for m in tar if m.name == f"{name}/DESCRIPTION"), None)
            stream = tar.extractfile(member) if member else None
            text = stream.read().decode(errors="replace") if stream else ""
    except (tarfile.TarError, OSError, EOFError):
        return {}
    return parse_packages(text).get(name, {})


def _read_index(base: str, learner: Learner) -> str:
    """PACKAGES.gz, which every mirror has; PACKAGES where a plain folder lacks it."""
    try:
        return gzip.decompress(learner.metadata(f"{base}/PACKAGES.gz").read_bytes()).decode()
    except Missing:
        return learner.metadata(f"{base}/PACKAGES").read_text(encoding="utf-8")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise SourceError(f"{base}/PACKAGES.gz: {error}", "sync the mirror") from error
