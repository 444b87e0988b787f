"""Resolve RPMs with dnf's own solver; runs under the Python that has dnf, not under ours.

Reads one JSON object on stdin, writes one on stdout. Keep it free of everything but the
standard library and dnf, and runnable by Python 3.9.
"""

from __future__ import annotations

import json
import re
import sys
from typing import Any

import dnf  # type: ignore[import-not-found]
import dnf.exceptions  # type: ignore[import-not-found]
import hawkey  # type: ignore[import-not-found]


def prepare(job: dict[str, Any]) -> Any:
    """A dnf that sees the job's repositories and nothing of this machine."""
    base = dnf.Base()
    conf = base.conf
    conf.config_file_path = "/dev/null"
    conf.reposdir, conf.varsdir, conf.pluginpath = [], [], []
    conf.installroot = job["root"] + "/root"
    conf.persistdir = job["root"] + "/persist"
    conf.logdir = job["root"]
    conf.cachedir = job["cache"]
    conf.substitutions.update(arch=job["arch"], basearch=job["arch"], releasever=job["major"])
    conf.module_platform_id = "platform:el" + job["major"]
    conf.install_weak_deps = job["weak"]
    conf.best = True
    conf.retries = 3
    if hasattr(conf, "optional_metadata_types"):
        conf.optional_metadata_types = ["filelists"]
    for wanted in job["repositories"]:
        repo = dnf.repo.Repo(wanted["id"], conf)
        repo.baseurl = [wanted["baseurl"]]
        repo.skip_if_unavailable = False
        # The copy in the cache may be as old as the mirror's last change, no older.
        repo.metadata_expire = 0
        base.repos.add(repo)
    base.fill_sack(load_system_repo=False)
    return base


def toolkit_python(base: Any, job: dict[str, Any]) -> str | None:
    """Name of the interpreter for the toolkit, or None where nothing fits."""
    for name in job["pythons"]:
        for package in base.sack.query().filter(name=name, latest=True):
            minor = re.match(r"3\.(\d+)", package.version)
            if minor and int(minor.group(1)) in job["minors"]:
                return str(name)
    return None


def mark(base: Any, wanted: list[str]) -> list[str]:
    """Mark for installation; return the names that no repository offers."""
    unknown = []
    for name in wanted:
        try:
            base.install(name)
        except dnf.exceptions.MarkingError:
            unknown.append(name)
    return unknown


def describe(package: Any, needed_by: set[str]) -> dict[str, Any]:
    """What the lock holds of a package."""
    kind, digest = package.chksum
    return {
        "name": package.name,
        "version": f"{package.epoch}:{package.version}",
        "release": package.release,
        "arch": package.arch,
        "file": package.location.rsplit("/", 1)[-1],
        "url": package.remote_location(),
        "checksum": hawkey.chksum_name(kind),
        "sha256": digest.hex(),
        "size": package.downloadsize,
        "installed_size": package.installsize,
        "required_by": sorted(needed_by),
    }


def resolve(job: dict[str, Any]) -> dict[str, Any]:
    """The whole transaction as plain data."""
    base = prepare(job)
    python = toolkit_python(base, job)
    unknown = mark(base, job["packages"] + ([python] if python else []))
    if unknown or not python:
        return {"unknown": unknown, "python": python}
    base.resolve()
    chosen = sorted(base.transaction.install_set)
    pool = base.sack.query().filterm(pkg=chosen)
    needed_by: dict[Any, set[str]] = {package: set() for package in chosen}
    for package in chosen:
        for provider in pool.filter(provides=package.requires):
            if provider != package:
                needed_by[provider].add(package.name)
    return {
        "python": python,
        "packages": [describe(package, needed_by[package]) for package in chosen],
    }


def main() -> None:
    """One job in, one answer out; dnf's own errors are answers too."""
    # dnf's C library prints to stdout at will: the answer gets a stdout of its own.
    answer, sys.stdout = sys.stdout, sys.stderr
    try:
        result = resolve(json.load(sys.stdin))
    except dnf.exceptions.RepoError as error:
        result = {"unreachable": str(error)}
    except dnf.exceptions.DepsolveError as error:
        result = {"conflict": str(error)}
    json.dump(result, answer)
    answer.flush()


main()
