"""An installed R package as a tarball, the same bytes for the same files."""

from __future__ import annotations

import gzip
import stat
import tarfile
from pathlib import Path

from landbridge.bundle.part import SEAL
from landbridge.ecosystems._cran_index import read_stanza
from landbridge.errors import SourceError


def pack(tree: Path, file: Path) -> None:
    """Write a package's folder as R takes it in place of a source: `R CMD INSTALL` copies it.

    No clock, user, umask or order of a directory takes part.

    Args:
        tree: the installed package; its last part is the package's name.
        file: the tarball.

    Raises:
        SourceError: the package holds something else than files, folders and links.
    """
    with (
        file.open("wb") as raw,
        gzip.GzipFile("", "wb", 6, raw, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for path in [tree, *sorted(tree.rglob("*"))]:
            _add(tar, path, f"{tree.name}/{path.relative_to(tree).as_posix()}".removesuffix("/."))


def unpacked_bytes(file: Path) -> int:
    """Bytes of all files in a tarball."""
    with tarfile.open(file) as tar:
        return sum(member.size for member in tar)


def description(tree: Path) -> dict[str, str]:
    """The fields of an installed package's DESCRIPTION."""
    text = (tree / "DESCRIPTION").read_text(encoding="utf-8", errors="replace")
    return read_stanza(text)


def _add(tar: tarfile.TarFile, path: Path, name: str) -> None:
    info = tarfile.TarInfo(name)
    info.mtime = SEAL
    status = path.lstat()
    if stat.S_ISDIR(status.st_mode):
        info.type, info.mode = tarfile.DIRTYPE, 0o755
        tar.addfile(info)
    elif stat.S_ISLNK(status.st_mode):
        info.type, info.mode, info.linkname = tarfile.SYMTYPE, 0o777, str(path.readlink())
        tar.addfile(info)
    elif stat.S_ISREG(status.st_mode):
        info.size, info.mode = status.st_size, 0o755 if status.st_mode & 0o100 else 0o644
        with path.open("rb") as content:
            tar.addfile(info, content)
    else:
        raise SourceError(f"{name}: an R package with neither a file, a folder nor a link there")
