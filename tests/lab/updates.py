"""The lab's upstreams as they are after a while: one RPM, one conda package, one wheel newer."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.lab import rpmbuild, rpmrepo, upstream_conda, upstream_conda_wheel, upstreams
from tests.lab import upstream_conda_package as conda
from tests.lab.platforms import PLATFORMS
from tests.lab.serve import serve

RPM, CONDA, WHEEL = "podman", "numpy", "requests"
PLATFORM = PLATFORMS["el9"]


@dataclass(frozen=True)
class Upstreams:
    """Served copies of the lab's upstreams.

    Attributes:
        sources: the sources file.
        folder: holds the copies.
        environment: for commands that read them; pip finds the newer wheel by it.
    """

    sources: Path
    folder: Path
    environment: dict[str, str]

    def update(self) -> dict[str, int]:
        """Add a newer version of one package of each kind.

        Returns:
            The packages' names and the bytes of their files.
        """
        made = {
            RPM: _rpm(self.folder / f"rpm-{PLATFORM.target}", self.folder / "work"),
            CONDA: _conda(self.folder / "conda"),
            WHEEL: _wheel(self.folder / "wheels", self.environment),
        }
        return {name: file.stat().st_size for name, file in made.items()}


@contextmanager
def served(folder: Path) -> Iterator[Upstreams]:
    """Serve copies (hard links) of the upstreams, which `update` may change.

    Args:
        folder: for the copies, on the filesystem of the lab's cache.
    """
    folder.mkdir(parents=True)
    (folder / "wheels").mkdir()
    products = upstreams.products()
    images = products.pop("images")
    for name, product in products.items():
        subprocess.run(["cp", "-al", product, folder / name], check=True)
    folders = {name: folder / name for name in products}
    rpm = {}
    for platform in PLATFORMS.values():
        key = rpmrepo.key_file(platform)
        folders[f"keys-{platform.target}"] = key.parent
        rpm[platform.target] = (f"rpm-{platform.target}", f"keys-{platform.target}/{key.name}")
    # pip's own configuration stays; this place is looked at besides.
    places = f"{os.environ.get('PIP_FIND_LINKS', '')} {folder / 'wheels'}".strip()
    with serve(folders, images, rpm) as sources:
        yield Upstreams(sources, folder, {**os.environ, "PIP_FIND_LINKS": places})


def _rpm(repository: Path, work: Path) -> Path:
    """The newest RPM of that name with a higher release, signed and indexed."""
    old = next((repository / "Packages").glob(f"{RPM}-[0-9]*.rpm"))
    image = work / "image"
    image.mkdir(parents=True)
    with old.open("rb") as stdin, (work / "payload.tgz").open("wb") as stdout:
        subprocess.run(["rpm2archive", "-"], stdin=stdin, stdout=stdout, check=True)
    subprocess.run(["tar", "-xzf", work / "payload.tgz", "-C", image], check=True)
    version, release = _query(old, "%{VERSION}\n%{RELEASE}\n")
    spec = [
        rpmbuild.header(RPM, version, f"99.{release}", "Newer", arch="x86_64"),
        "AutoReqProv: no",
        *(f"Requires: {item}" for item in _relations(old, "--requires")),
        *(f"Provides: {item}" for item in _relations(old, "--provides")),
        f"%description\nNewer.\n%install\ncp -a {image}/. %{{buildroot}}/\n%files",
        *(f'"{path}"' for path in _query(old, "[%{FILENAMES}\n]")),
    ]
    out = work / "out"
    rpmbuild.build("\n".join(spec) + "\n", work / "build", out)
    (new,) = out.rglob("*.rpm")
    _sign(new)
    placed = Path(shutil.move(new, repository / "Packages"))
    command = ["createrepo_c", "--quiet", "--update", "--general-compress-type=gz", repository]
    subprocess.run(command, check=True)
    return placed


def _sign(rpm: Path) -> None:
    home = rpmrepo.signing_home()
    owner = "lab@landbridge.invalid"
    defines = [f"--define=_gpg_name {owner}", "--define=__gpg /usr/bin/gpg"]
    environment = {**os.environ, "GNUPGHOME": str(home)}
    subprocess.run(["rpmsign", "--addsign", *defines, rpm], check=True, env=environment)
    subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=True)


def _relations(rpm: Path, kind: str) -> list[str]:
    command = ["rpm", "-qp", "--nosignature", kind, rpm]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    # rpm adds these by itself, and its own name in the new version.
    own = re.compile(rf"rpmlib\(|config\(|{RPM}(\(| )")
    return sorted({line for line in lines if not own.match(line)})


def _query(rpm: Path, form: str) -> list[str]:
    command = ["rpm", "-qp", "--nosignature", "--queryformat", form, rpm]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()


def _conda(channel: Path) -> Path:
    """The package made anew from its wheel, with a higher version."""
    known = upstream_conda_wheel.catalogue(upstream_conda.wheelhouse())
    package = upstream_conda_wheel.package(known[CONDA], known)
    package.version += ".1"
    written = conda.write(package, channel)
    upstream_conda.index(channel)
    return written


def _wheel(folder: Path, environment: dict[str, str]) -> Path:
    """The wheel that pip finds today, called a higher version."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder]
    subprocess.run([*command, WHEEL], check=True, env=environment)
    (old,) = folder.glob("*.whl")
    version = old.name.split("-")[1]
    newer = f"{version}.1"
    with zipfile.ZipFile(old) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    was, now = f"{WHEEL}-{version}.dist-info/", f"{WHEEL}-{newer}.dist-info/"
    files = {name.replace(was, now): data for name, data in files.items()}
    metadata = files[f"{now}METADATA"].decode()
    files[f"{now}METADATA"] = metadata.replace(
        f"\nVersion: {version}\n", f"\nVersion: {newer}\n", 1
    ).encode()
    files[f"{now}RECORD"] = _record(files, f"{now}RECORD")
    new = folder / old.name.replace(version, newer, 1)
    with zipfile.ZipFile(new, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    old.unlink()
    return new


def _record(files: dict[str, bytes], own: str) -> bytes:
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    for name, data in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        rows.writerow([name, "", ""] if name == own else [name, f"sha256={digest}", len(data)])
    return text.getvalue().encode()
