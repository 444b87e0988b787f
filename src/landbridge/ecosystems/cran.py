"""R packages: the closure over CRAN's index, carried as `src/contrib`."""

from __future__ import annotations

import gzip
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from landbridge.ecosystems import Learner
from landbridge.errors import InputError, SourceError
from landbridge.files import sha256_of, write_file, write_gzip
from landbridge.lock import Artifact, Kept, Lock, Part
from landbridge.stack import Stack

CONTRIB = "cran/src/contrib"
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
_NEEDS = ("Depends", "Imports", "LinkingTo")


def resolve(stack: Stack, learner: Learner, _kept: Kept | None = None) -> Part:
    """Follow Depends, Imports and LinkingTo from the wanted packages to the end."""
    if not stack.r.packages or stack.sources.cran is None:
        return Part([])
    base = stack.sources.cran.url.rstrip("/") + "/src/contrib"
    stanzas = parse_packages(_read_index(base, learner))
    needed_by = closure(stack.r.packages, stanzas, base)

    def artifact(name: str) -> Artifact:
        fields = stanzas[name]
        url = f"{base}/{name}_{fields['Version']}.tar.gz"
        file = learner.learn(url, fields.get("MD5sum"))
        return Artifact(
            ecosystem="cran",
            name=name,
            version=fields["Version"],
            path=f"{CONTRIB}/{name}_{fields['Version']}.tar.gz",
            url=url,
            sha256=sha256_of(file),
            size=file.stat().st_size,
            required_by=sorted(needed_by[name]),
            index_entry=fields["stanza"],
        )

    with ThreadPoolExecutor() as pool:
        return Part(list(pool.map(artifact, sorted(needed_by))))


def index(root: Path, lock: Lock, _learner: Learner) -> None:
    """Write PACKAGES and PACKAGES.gz from the source's own stanzas."""
    artifacts = lock.of("cran")
    if not artifacts:
        return
    text = "\n\n".join(artifact.index_entry for artifact in artifacts) + "\n"
    write_file(root / CONTRIB / "PACKAGES", text)
    write_gzip(root / CONTRIB / "PACKAGES.gz", text)


def parse_packages(text: str) -> dict[str, dict[str, str]]:
    """Read a PACKAGES file.

    Returns:
        The fields of each package by its name, and under `stanza` its text as it stands.
        Of several versions of a package the last counts, as in R.
    """
    packages: dict[str, dict[str, str]] = {}
    for stanza in re.split(r"\n\s*\n", text.strip()):
        unfolded = re.sub(r"\n[ \t]+", " ", stanza)
        pairs = (line.split(":", 1) for line in unfolded.splitlines() if ":" in line)
        fields = {key.strip(): value.strip() for key, value in pairs}
        if "Package" in fields and "Version" in fields:
            packages[fields["Package"]] = {**fields, "stanza": stanza.strip("\n")}
    return packages


def needs(fields: dict[str, str]) -> list[str]:
    """Names that a package needs to be built and loaded, R's own left out."""
    entries = ",".join(fields[key] for key in _NEEDS if key in fields).split(",")
    names = {re.sub(r"\(.*", "", entry).strip() for entry in entries}
    return sorted(names - BASE - {""})


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
            if need not in stanzas:
                if need in RECOMMENDED:
                    continue
                raise SourceError(
                    f"r: {name} needs {need}, which {where} does not have", "complete the mirror"
                )
            if need not in needed_by:
                needed_by[need] = set()
                queue.append(need)
            needed_by[need].add(name)
    return needed_by


def _read_index(base: str, learner: Learner) -> str:
    """PACKAGES.gz, which every mirror has; PACKAGES where a plain folder lacks it."""
    try:
        return gzip.decompress(learner.learn(f"{base}/PACKAGES.gz").read_bytes()).decode()
    except SourceError:
        return learner.learn(f"{base}/PACKAGES").read_text(encoding="utf-8")
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise SourceError(f"{base}/PACKAGES.gz: {error}", "sync the mirror") from error
