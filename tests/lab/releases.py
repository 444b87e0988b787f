"""A next release of the lab's bundle, made in seconds: one RPM more, and signed later."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from landbridge.bundle import manifest, sign
from landbridge.files import write_file
from tests.lab import bundle as lab_bundle
from tests.lab import rpmrepo
from tests.lab.platforms import Platform


@dataclass(frozen=True)
class Next:
    """A bundle that follows another one.

    Attributes:
        root: the bundle; it shares its files with the one before.
        release: what it is called.
        added: name of the RPM that it has more.
    """

    root: Path
    release: str
    added: str


def following(
    bundle: Path,
    root: Path,
    platform: Platform,
    r_packages_without: Collection[str] = (),
    conda_without: Mapping[str, Collection[str]] | None = None,
) -> Next:
    """Make the release after `bundle`.

    Args:
        bundle: a bundle of the lab.
        root: where, on the same filesystem; it must not exist.
        platform: its repository gets the RPM.
        r_packages_without: R packages that the site library no longer has.
        conda_without: packages that conda environments no longer have, by environment.
    """
    subprocess.run(["cp", "-al", bundle, root], check=True)
    repository = root / "rpm" / platform.target
    added = _add_package(repository, platform)
    command: list[str | Path] = [
        "createrepo_c",
        "--quiet",
        "--general-compress-type=gz",
        repository,
    ]
    subprocess.run(command, check=True)
    for name, packages in (conda_without or {}).items():
        for lock in (root / "conda" / "envs").glob(f"{name}.*.txt"):
            _drop(lock, packages)
    before, _ = manifest.read_manifest(bundle)
    paths = [path for path in manifest.files_of(root) if path != manifest.CONTENT]
    entries = manifest.describe(root, paths, {})
    release = manifest.release_of(before.rpartition("-")[0], entries)
    content = json.loads((root / manifest.CONTENT).read_text())
    kept = [p for p in content["r"]["packages"] if p["name"] not in r_packages_without]
    content["r"]["packages"] = kept
    write_file(root / manifest.CONTENT, json.dumps({**content, "release": release}, indent=1))
    entries |= manifest.describe(root, [manifest.CONTENT], {})
    manifest.write_manifest(root, release, entries)
    sign.sign(root, sign.SigningKey(str(lab_bundle.secret_key())))
    return Next(root, release, added)


def _drop(lock: Path, packages: Collection[str]) -> None:
    """Take packages out of a conda environment's lock."""
    lines = lock.read_text().splitlines(keepends=True)
    # <subdir>/<name>-<version>-<build>.conda#<sha256>
    kept = [x for x in lines if x.rpartition("/")[2].rsplit("-", 2)[0] not in packages]
    assert len(lines) - len(kept) == len(packages), f"{lock} has not all of {packages}"
    write_file(lock, "".join(kept))


def _add_package(repository: Path, platform: Platform) -> str:
    """The smallest package of the upstream that is not in a repository; its name."""
    packages = repository / "Packages"
    have = {rpm.name for rpm in packages.iterdir()}
    offered = (rpmrepo.repository(platform) / "Packages").iterdir()
    rpm = min((r for r in offered if r.name not in have), key=lambda r: (r.stat().st_size, r.name))
    shutil.copy(rpm, packages)
    return rpm.name.rsplit("-", 2)[0]
