"""Upstream's tarballs of R packages from Debian's archive, checked against its signed indexes."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path

from landbridge.errors import SourceError
from tests.lab import debian

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


def fetch(suite: str, names: Iterable[str], work: Path) -> dict[str, Path]:
    """The upstream tarball of each R package in `names`, as the Debian release `suite` has it.

    Args:
        suite: Debian's code name.
        names: names of R packages, as CRAN spells them.
        work: where apt keeps its state of `suite`, and the tarballs.

    Raises:
        SourceError: the suite has no such package, or a file is not what the index promises.
    """
    environment = _private_apt(suite, work / suite)
    wanted = {f"r-cran-{name.lower()}": name for name in names}
    records = _run(["apt-cache", "showsrc", *wanted], environment).split("\n\n")
    found: dict[str, tuple[str, str, str]] = {}
    for record in records:
        binaries = re.split(r",\s*", _field(record, "Binary"))
        files = re.findall(r"^ ([0-9a-f]{64}) \d+ (\S+\.orig\.tar\.\w+)$", record, re.MULTILINE)
        for binary in set(binaries) & set(wanted) if files else ():
            found[wanted[binary]] = (_field(record, "Package"), *files[0])
    if lacking := sorted(set(wanted.values()) - set(found)):
        raise SourceError(
            f"Debian {suite} has no source of the R package {', '.join(lacking)}",
            "choose another package in tests/lab/upstream_cran.py",
        )
    folder = work / suite / "sources"
    sources = sorted(source for source, _, _ in found.values())
    apt = ["apt-get", "-qq", "source", "--download-only", "--tar-only", *sources]
    _run(apt, environment, folder)
    for _, digest, file in found.values():
        if hashlib.sha256((folder / file).read_bytes()).hexdigest() != digest:
            raise SourceError(f"{file} is not what Debian's index of sources promises", "try again")
    return {name: folder / file for name, (_, _, file) in found.items()}


def _field(record: str, name: str) -> str:
    match = re.search(rf"^{name}: (.*)$", record, re.MULTILINE)
    return match[1] if match else ""


def _private_apt(suite: str, state: Path) -> dict[str, str]:
    """Lists of `suite`'s sources in `state`, fetched once; the machine's own apt stays as it is.

    Returns:
        The environment with which apt reads them.
    """
    environment = {**os.environ, "APT_CONFIG": str(state / "apt.conf"), "LC_ALL": "C.UTF-8"}
    if (state / "apt.conf").exists():
        return environment
    for folder in ("lists/partial", "cache/archives/partial", "sources"):
        (state / folder).mkdir(parents=True)
    (state / "status").touch()
    (state / "sources.list").write_text(
        f"deb-src [signed-by={KEYRING}] {debian.mirror()} {suite} main\n"
    )
    (state / "apt.conf").write_text(
        f'Dir::State "{state}";\nDir::State::status "{state}/status";\n'
        f'Dir::Cache "{state}/cache";\nDir::Etc::sourcelist "{state}/sources.list";\n'
        'Dir::Etc::sourceparts "/dev/null";\nAPT::Sandbox::User "root";\n'
    )
    _run(["apt-get", "-qq", "update"], environment)
    return environment


def _run(command: list[str], environment: dict[str, str], cwd: Path | None = None) -> str:
    done = subprocess.run(
        command, env=environment, cwd=cwd, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise SourceError(f"{' '.join(command)} failed: {done.stderr.strip()[-800:]}")
    return done.stdout
