"""What an R package's own tarball tells that no index does; each is opened once in its life."""

from __future__ import annotations

import hashlib
import json
import tarfile
import zlib
from pathlib import Path

from landbridge.ecosystems import Learner
from landbridge.ecosystems._cran_index import read_stanza
from landbridge.errors import SourceError

_KIND = "r-descriptions"
# The largest on CRAN is a hundredth of that.
_LARGEST = 1024 * 1024
# The columns of an index, in the order in which R's `tools::write_PACKAGES` writes them.
_INDEXED = (
    "Package",
    "Version",
    "Priority",
    "Depends",
    "Imports",
    "LinkingTo",
    "Suggests",
    "Enhances",
    "License",
    "License_is_FOSS",
    "License_restricts_use",
    "OS_type",
    "Archs",
)


def description(file: Path, sha256: str, name: str, learner: Learner) -> dict[str, str]:
    """The fields of a package's DESCRIPTION, each on one line.

    `NeedsCompilation` is there even where its author left it out.

    Args:
        file: the tarball.
        sha256: of it; what is read is remembered under it.
        name: of the package, which is its folder in the tarball too.
        learner: remembers.

    Raises:
        SourceError: it is not the tarball of this package.
    """
    if known := learner.recall(_KIND, sha256):
        fields: dict[str, str] = json.loads(known)
    else:
        fields = _read(file, name)
        learner.remember(_KIND, sha256, json.dumps(fields))
    if fields.get("Package") != name:
        raise SourceError(
            f"{file}: holds the R package {fields.get('Package')}, not {name}", "sync the mirror"
        )
    return fields


def index_stanza(fields: dict[str, str], file: Path) -> str:
    """What stands in PACKAGES of a package of which only the tarball is there.

    Args:
        fields: its DESCRIPTION.
        file: the tarball.
    """
    with file.open("rb") as opened:
        md5 = hashlib.file_digest(opened, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    rows = {key: fields[key] for key in _INDEXED if key in fields}
    rows |= {"MD5sum": md5, "NeedsCompilation": fields["NeedsCompilation"]}
    return "\n".join(f"{key}: {value}" for key, value in rows.items())


def _read(file: Path, name: str) -> dict[str, str]:
    text, compiles = None, False
    try:
        with tarfile.open(file) as tar:
            for member in tar:
                if member.name == f"{name}/DESCRIPTION" and member.isfile():
                    stream = tar.extractfile(member)
                    text = stream.read(_LARGEST).decode(errors="replace") if stream else None
                compiles = compiles or member.name.startswith(f"{name}/src/")
                # Almost every one says it: the rest need not be unpacked then.
                if text is not None and ("NeedsCompilation:" in text or compiles):
                    break
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise SourceError(f"{file}: is no tarball of an R package: {error}") from error
    if text is None:
        raise SourceError(f"{file}: holds no {name}/DESCRIPTION: it is no R package")
    fields = {key: " ".join(value.split()) for key, value in read_stanza(text).items()}
    return {"NeedsCompilation": "yes" if compiles else "no", **fields}
