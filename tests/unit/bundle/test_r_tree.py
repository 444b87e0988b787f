"""An installed R package packed: the same bytes from the same files, and nothing strange."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

import pytest

from landbridge.bundle.r_tree import description, pack, unpacked_bytes
from landbridge.errors import SourceError


def installed(folder: Path, names: list[str]) -> Path:
    """A package whose files are made in this order."""
    tree = folder / "pkg"
    (tree / "libs").mkdir(parents=True)
    for name in names:
        (tree / name).write_text(f"{name}\n")
    (tree / "libs/pkg.so").chmod(0o775)
    (tree / "link").symlink_to("libs/pkg.so")
    return tree


def test_no_order_time_or_umask_takes_part(tmp_path: Path) -> None:
    names = ["DESCRIPTION", "libs/pkg.so", "INDEX"]
    one = installed(tmp_path / "one", names)
    two = installed(tmp_path / "two", names[::-1])
    os.utime(two / "INDEX", (1, 1))
    (two / "INDEX").chmod(0o600)
    (two / "libs").chmod(0o700)
    pack(one, tmp_path / "one.tar.gz")
    pack(two, tmp_path / "another.tar.gz")
    assert (tmp_path / "one.tar.gz").read_bytes() == (tmp_path / "another.tar.gz").read_bytes()


def test_it_unpacks_to_what_it_was(tmp_path: Path) -> None:
    tree = installed(tmp_path, ["DESCRIPTION", "libs/pkg.so"])
    pack(tree, tmp_path / "p.tar.gz")
    with tarfile.open(tmp_path / "p.tar.gz") as tar:
        members = {m.name: (m.mode, m.linkname) for m in tar}
    assert members == {
        "pkg": (0o755, ""),
        "pkg/DESCRIPTION": (0o644, ""),
        "pkg/libs": (0o755, ""),
        "pkg/libs/pkg.so": (0o755, ""),
        "pkg/link": (0o777, "libs/pkg.so"),
    }
    assert unpacked_bytes(tmp_path / "p.tar.gz") == len("DESCRIPTION\n") + len("libs/pkg.so\n")


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    tree = installed(tmp_path, ["DESCRIPTION", "libs/pkg.so"])
    os.mkfifo(tree / "pipe")
    with pytest.raises(SourceError, match="pkg/pipe"):
        pack(tree, tmp_path / "p.tar.gz")


def test_the_description_is_read_in_any_encoding(tmp_path: Path) -> None:
    tree = installed(tmp_path, ["libs/pkg.so"])
    (tree / "DESCRIPTION").write_bytes(
        b"Package: pkg\nAuthor: M\xfcller\nBuilt: R 4.5.0; ; x; unix\n"
    )
    assert description(tree)["Built"] == "R 4.5.0; ; x; unix"
