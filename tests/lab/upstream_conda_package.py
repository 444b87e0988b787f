"""Writes `.conda` packages whose bytes depend on their content only."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import tempfile
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

from conda_package_streaming.create import conda_builder

# Installers replace it by the prefix; 255 characters, so that long prefixes fit into binaries.
PLACEHOLDER = ("/opt/landbridge-lab/" + "placehold_" * 30)[:255]
# 2024-01-01 UTC: packages carry no clock, so that the same input gives the same bytes.
TIMESTAMP = 1_704_067_200
ZIP_DATE = (2024, 1, 1, 0, 0, 0)
ABOUT = "Synthetic package of the Landbridge lab, repackaged from {origin}; not from conda-forge."


@dataclass(frozen=True)
class File:
    """One path of a package: bytes with a mode, or a symbolic link to `link`."""

    data: bytes = b""
    mode: int = 0o644
    link: str | None = None


@dataclass
class Package:
    """Everything that goes into one `.conda` file.

    `noarch` is `python`, `generic` or None (then the package is for linux-64);
    `entry_points` (`command = module:function`) are made by the installer of noarch packages.
    """

    name: str
    version: str
    build: str
    origin: str
    depends: list[str]
    license: str
    files: dict[str, File] = field(default_factory=dict)
    licenses: dict[str, bytes] = field(default_factory=dict)
    noarch: str | None = None
    entry_points: list[str] = field(default_factory=list)
    site_packages: str | None = None

    @property
    def subdir(self) -> str:
        """The channel's folder for this package."""
        return "noarch" if self.noarch else "linux-64"


def write(package: Package, channel: Path) -> Path:
    """Write `package` to `channel/<subdir>/<name>-<version>-<build>.conda`; returns that path."""
    folder = channel / package.subdir
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"{package.name}-{package.version}-{package.build}"
    final = folder / f"{stem}.conda"
    with tempfile.TemporaryDirectory(dir=channel) as scratch:
        with conda_builder(stem, scratch, compression_level=3, compression_threads=0) as tar:
            for path, file in sorted(package.files.items()):
                _add(tar, path, file)
            for path, file in _info(package).items():
                _add(tar, path, file)
        _without_clock(Path(scratch, f"{stem}.conda"), final)
    return final


def _without_clock(source: Path, target: Path) -> None:
    """Copy a zip with fixed dates: the library stamps its members with the time of day."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for member in old.infolist():
            new.writestr(zipfile.ZipInfo(member.filename, ZIP_DATE), old.read(member))


def _add(tar: tarfile.TarFile, path: str, file: File) -> None:
    info = tarfile.TarInfo(path)
    info.mtime = TIMESTAMP
    if file.link is None:
        info.mode, info.size = file.mode, len(file.data)
        tar.addfile(info, io.BytesIO(file.data))
    else:
        info.mode, info.type, info.linkname = 0o777, tarfile.SYMTYPE, file.link
        tar.addfile(info)


def _info(package: Package) -> dict[str, File]:
    """The files under `info/`."""
    index: dict[str, object] = {
        "name": package.name,
        "version": package.version,
        "build": package.build,
        "build_number": 0,
        "depends": package.depends,
        "license": package.license,
        "subdir": package.subdir,
        "timestamp": TIMESTAMP * 1000,
    }
    index |= (
        {"noarch": package.noarch} if package.noarch else {"arch": "x86_64", "platform": "linux"}
    )
    if package.site_packages:
        index["python_site_packages_path"] = package.site_packages
    paths = [_path_entry(path, file) for path, file in sorted(package.files.items())]
    about = {"license": package.license, "summary": ABOUT.format(origin=package.origin)}
    info: dict[str, object] = {
        "index.json": index,
        "paths.json": {"paths": paths, "paths_version": 1},
        "about.json": about,
    }
    if package.noarch:
        noarch: dict[str, object] = {"type": package.noarch}
        if package.noarch == "python":
            noarch["entry_points"] = package.entry_points
        info["link.json"] = {"noarch": noarch, "package_metadata_version": 1}
    files = {f"info/{name}": File(json.dumps(info[name], indent=1).encode()) for name in info}
    return files | {f"info/licenses/{n}": File(d) for n, d in sorted(package.licenses.items())}


def _path_entry(path: str, file: File) -> dict[str, object]:
    entry: dict[str, object] = {
        "_path": path,
        "path_type": "hardlink" if file.link is None else "softlink",
        "sha256": hashlib.sha256(file.data).hexdigest(),
        "size_in_bytes": len(file.data),
    }
    if PLACEHOLDER.encode() in file.data:
        mode = "binary" if b"\0" in file.data else "text"
        entry |= {"prefix_placeholder": PLACEHOLDER, "file_mode": mode}
    return entry
