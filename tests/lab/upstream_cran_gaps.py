"""What Debian took out of upstream's tarballs, put back: CRAN's own bytes where they can be had.

A tarball of CRAN lists its files with their MD5 sums, so what was taken out is known exactly. It
comes back from an npm or a Debian package that holds the same bytes. Where nobody offers those, a
stand-in is another build of the same library, and an edit makes a package use the system's copy.
"""

from __future__ import annotations

import hashlib
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path

from landbridge.errors import SourceError
from tests.lab import debs, paths

NPM = (
    *("bootstrap@3.3.5", "bootstrap@5.3.1", "bootstrap-sass@3.4.1", "highlightjs@9.12.0"),
    *("html5shiv@3.7.3", "jquery@1.12.4", "jquery@2.2.4", "jquery@3.6.0"),
    *("jquery-ui-dist@1.13.2", "respond.js@1.4.2"),
)
DEBIAN = ("bookworm", ["libtomlplusplus-dev"])

# By package and path: the donor's file. CRAN's copies differ in a few lines.
_TOML = "inst/include/toml++/impl"
_RMD = "inst/rmd/h"
STAND_INS: dict[str, dict[str, str]] = {
    "RcppTOML": {
        f"{_TOML}/{name}": f"debian/usr/include/toml++/impl/{name}"
        for name in ("parser.h", "path.h")
    },
    "rmarkdown": {
        f"{_RMD}/bootstrap/css/bootstrap.min.css": "bootstrap@3.3.5/dist/css/bootstrap.min.css",
        f"{_RMD}/bootstrap/shim/html5shiv.min.js": "html5shiv@3.7.3/dist/html5shiv.min.js",
        f"{_RMD}/bootstrap/shim/respond.min.js": "respond.js@1.4.2/dest/respond.min.js",
        f"{_RMD}/highlightjs/highlight.js": "highlightjs@9.12.0/highlight.pack.min.js",
    },
}
# By package and path: texts and what replaces them. The autotools' output of libuv, which both
# packages bundle, is to be had nowhere; Debian builds them with the system's libuv, too.
EDITS: dict[str, dict[str, dict[str, str]]] = {
    "fs": {
        "src/Makevars": {
            "PKG_LIBS = ./$(LIBUV)/.libs/libuv.a": "PKG_LIBS = -luv",
            "-I./$(LIBUV)/include ": "",
            "$(SHLIB): $(LIBUV)/.libs/libuv.a\n": "",
        },
        "DESCRIPTION": {"SystemRequirements: GNU make": "SystemRequirements: GNU make, libuv"},
    },
    "httpuv": {
        "DESCRIPTION": {
            "SystemRequirements: GNU make, zlib": "SystemRequirements: GNU make, zlib, libuv"
        }
    },
}


def donors() -> dict[str, bytes]:
    """Every file that may stand in a gap, as `<npm package>/<path>` and `debian/<path>`."""
    found = {}
    for tarball in sorted(_npm_packages().glob("*.tgz")):
        with tarfile.open(tarball) as archive:
            for member in archive:
                if stream := archive.extractfile(member) if member.isfile() else None:
                    inside = member.name.partition("/")[2]
                    found[f"{tarball.stem}/{inside}"] = stream.read()
    with tempfile.TemporaryDirectory() as scratch:
        debs.unpack(*DEBIAN, Path(scratch))
        for path in Path(scratch).rglob("*"):
            if path.is_file() and not path.is_symlink():
                found[f"debian/{path.relative_to(scratch)}"] = path.read_bytes()
    return found


def close(
    package: str, files: Mapping[str, bytes], donors: Mapping[str, bytes]
) -> dict[str, bytes]:
    """The files to add to those of `package`, or to put in place of them.

    Args:
        package: its name.
        files: its content by path.
        donors: see `donors`.

    Raises:
        SourceError: an edit does not fit: the package has another version than it was made for.
    """
    by_sum = {
        hashlib.md5(data, usedforsecurity=False).hexdigest(): data for data in donors.values()
    }
    gaps = lacking(files)
    closed = {path: by_sum[digest] for path, digest in gaps.items() if digest in by_sum}
    if donors:
        closed |= {path: donors[donor] for path, donor in STAND_INS.get(package, {}).items()}
    for path, replacements in EDITS.get(package, {}).items():
        text = files[path].decode()
        for old, new in replacements.items():
            if old not in text:
                raise SourceError(f"{package}: {path} has no '{old}'", f"correct {__name__}")
            text = text.replace(old, new)
        closed[path] = text.encode()
    return closed


def lacking(files: Mapping[str, bytes]) -> dict[str, str]:
    """MD5 sum by path of what upstream's own list names and `files` lacks."""
    lines = files.get("MD5", b"").decode().splitlines()
    listed = {path: digest for digest, _, path in (line.partition(" *") for line in lines)}
    return {path: digest for path, digest in listed.items() if path not in files}


def _npm_packages() -> Path:
    """A folder with `<package>@<version>.tgz` for each of `NPM`."""

    def make(target: Path) -> None:
        for name in NPM:
            pack = ["npm", "pack", name, "--silent", "--pack-destination", str(target)]
            subprocess.run(pack, check=True, capture_output=True)
            package, _, version = name.rpartition("@")
            (target / f"{package}-{version}.tgz").rename(target / f"{name}.tgz")

    return paths.product("cran-npm", paths.key(*NPM), make)
