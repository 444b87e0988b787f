"""RPMs as a repository: every signature checked with rpmkeys, metadata made by createrepo_c."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from landbridge.ecosystems import Learner
from landbridge.ecosystems._rpm_metadata import CARRIED
from landbridge.errors import SourceError
from landbridge.files import link, scratch, sha256_of, write_file
from landbridge.lock import Lock
from landbridge.process import run, tail

# Python's own dates begin here; repodata carries this instead of the clock.
_REVISION = "315532800"
# Metadata that dnf 4.14 (EL9) reads, with file lists, the same bytes each time.
_CREATE = [
    "createrepo_c",
    "--quiet",
    "--no-database",
    "--general-compress-type=gz",
    "--checksum=sha256",
    f"--revision={_REVISION}",
    "--set-timestamp-to-revision",
]
_ADD = ["modifyrepo_c", "--compress-type=gz", "--checksum=sha256"]


def index(root: Path, lock: Lock, learner: Learner) -> None:
    """Check every signature, then write `repodata/` for each target.

    Raises:
        SourceError: an RPM is not signed by one of the bundle's keys.
    """
    _check_signatures(root, lock, learner)
    for target in lock.targets:
        packages = {a.path: a.sha256 for a in lock.of("rpm") if target in a.targets}
        if packages:
            _repodata(root, target, packages, lock.metadata, learner)


def _check_signatures(root: Path, lock: Lock, learner: Learner) -> None:
    """Every RPM against the bundle's keys alone; what was found good once is not read again."""
    keys = {a.path: a.sha256 for a in lock.of("rpm-key")}
    ring = _hash(sorted(keys.values()))
    known = set((learner.recall("rpm-signed", ring) or "").split())
    new = {root / a.path: a.sha256 for a in lock.of("rpm") if a.sha256 not in known}
    if not new:
        return
    bad = _badly_signed(sorted(new), [root / key for key in sorted(keys)])
    if bad:
        lines = [f"{file.relative_to(root)}: {verdict}" for file, verdict in bad.items()]
        raise SourceError(
            "RPMs without a signature by a key of sources.rpm:\n" + "\n".join(lines),
            "give the key that signed them as gpgkey, or take them from a trusted mirror",
        )
    learner.remember("rpm-signed", ring, "\n".join(sorted(known.union(new.values()))))


def _badly_signed(files: list[Path], keys: list[Path]) -> dict[Path, str]:
    """The files that are not signed by one of the keys, with what rpmkeys says of each."""
    with scratch() as database:
        rpmkeys = ["rpmkeys", f"--dbpath={database}"]
        run([*rpmkeys, "--import", *keys], package="rpm")
        # Level "all" wants a signature; the default is content with digests.
        checksig = [*rpmkeys, "--define", "_pkgverify_level all", "--checksig"]
        done = run([*checksig, *files], package="rpm", check=False)
    lines = (line.rpartition(": ") for line in done.stdout.splitlines())
    verdicts = {Path(name): verdict for name, _, verdict in lines}
    return {
        file: verdicts.get(file, tail(done))
        for file in files
        if verdicts.get(file) != "digests signatures OK"
    }


def _repodata(
    root: Path, target: str, packages: dict[str, str], metadata: Mapping[str, str], learner: Learner
) -> None:
    """The target's `repodata/`, hard-linked from the cache if it was made of the same before."""
    folder = f"rpm/{target}"
    names = [carried.file for carried in CARRIED.values()]
    texts = {name: metadata.get(f"{folder}/{name}", "") for name in names}
    made_by = run(["createrepo_c", "--version"], package="createrepo_c").stdout
    key = _hash([made_by, _CREATE, _ADD, packages, texts])
    made = learner.folder("repodata") / key
    # The bundle's files are the cache's own: one that was written to there is found here.
    if learner.recall("rpm-repodata", key) != _sums(made):
        _make_repodata(root / folder, texts, made)
        learner.remember("rpm-repodata", key, _sums(made))
    for file in sorted(made.iterdir()):
        link(file, root / folder / "repodata" / file.name)


def _sums(folder: Path) -> str:
    """Names and hashes of the files in a folder; empty where there is none."""
    return "\n".join(f"{sha256_of(file)} {file.name}" for file in sorted(folder.glob("*")))


def _make_repodata(packages: Path, texts: dict[str, str], made: Path) -> None:
    """Metadata of the RPMs below `packages`, and the texts beside it, put at `made` when whole."""
    with scratch(made.parent) as work:
        run([*_CREATE, f"--outputdir={work}", packages], package="createrepo_c")
        repodata = work / "repodata"
        for kind, carried in CARRIED.items():
            if text := texts[carried.file]:
                write_file(work / carried.file, text)
                added: list[str | Path] = [f"--mdtype={kind}", work / carried.file, repodata]
                run([*_ADD, *added], package="createrepo_c")
        repomd = repodata / "repomd.xml"
        # modifyrepo_c writes the time of day.
        stamp = rf"\g<1>{_REVISION}<"
        write_file(repomd, re.sub(r"(<timestamp>)\d+<", stamp, repomd.read_text(encoding="utf-8")))
        shutil.rmtree(made, ignore_errors=True)
        try:
            repodata.rename(made)
        except OSError:
            # Another build with this cache was faster; what it made is the same.
            if not made.is_dir():
                raise


def _hash(value: object) -> str:
    """Hex sha256 of plain data."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
