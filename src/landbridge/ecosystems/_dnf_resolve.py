"""Resolve RPMs with dnf's own solver; runs under the Python that has dnf, not under ours.

Reads one JSON object on stdin, writes one on stdout. Keep it free of everything but the
standard library and dnf, and runnable by Python 3.9.
"""

from __future__ import annotations

import io
import json
import logging
import os
import re
import sys
from typing import Any

import dnf  # type: ignore[import-not-found]
import dnf.exceptions  # type: ignore[import-not-found]
import hawkey  # type: ignore[import-not-found]

# What is carried along of a repository's metadata, beside the packages.
CARRIED = ("modules", "updateinfo")
# Stands for all packages whose names an older lock does not have.
NEWCOMERS = "*"


def prepare(job: dict[str, Any]) -> Any:
    """A dnf that sees the job's repositories and nothing of this machine."""
    # libcurl reads the proxy from the environment where a repository has none, and no setting
    # of dnf forbids it: the job names the proxy of each repository.
    for variable in [v for v in os.environ if v.lower().endswith("_proxy")]:
        del os.environ[variable]
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
        conf.optional_metadata_types = ["filelists", "updateinfo"]
    for options in job["repositories"]:
        repo = dnf.repo.Repo(options.pop("id"), conf)
        for name, value in options.items():
            setattr(repo, name, value)
        repo.skip_if_unavailable = False
        base.repos.add(repo)
        # What `--refresh` does: the copy in the cache is used if the mirror still has the same.
        repo._repo.expire()
    base.fill_sack(load_system_repo=False)
    return base


def toolkit_python(base: Any, job: dict[str, Any]) -> str | None:
    """Name of the interpreter for the toolkit, or None where nothing fits; a locked one stays."""
    locked = {package["name"] for package in job["kept"]}
    for name in sorted(job["pythons"], key=lambda name: name not in locked):
        for package in base.sack.query().filter(name=name, latest=True):
            minor = re.match(r"3\.(\d+)", package.version)
            if minor and int(minor.group(1)) in job["minors"]:
                return str(name)
    return None


def requirers(
    base: Any, chosen: list[Any], needed: dict[str, list[str]] | None = None
) -> dict[Any, set[str]]:
    """For each package the names of the others that need it.

    `needed` holds names that are wanted, each with who needs it from outside.
    """
    pool = base.sack.query().filterm(pkg=chosen)
    needed_by: dict[Any, set[str]] = {package: set() for package in chosen}
    for package in chosen:
        for provider in pool.filter(provides=package.requires):
            if provider != package:
                needed_by[provider].add(package.name)
    for name, reasons in (needed or {}).items():
        # A name may be one that a package only provides (zlib-devel of zlib-ng-compat-devel).
        for package in pool.filter(name=name) or pool.filter(provides=name):
            needed_by[package].update(reasons)
    return needed_by


def identity(package: Any) -> tuple[str, str, str, str]:
    """What tells one package from all others, as the lock writes it."""
    version = f"{package.epoch}:{package.version}"
    return package.name, version, package.release, package.arch


class Solver:
    """Solves for the same wishes again and again, each time with other packages out of sight.

    Args:
        base: dnf with its repositories loaded.
        wanted: what to install.
        kept: packages of an older lock (`name`, `version`, `release`, `arch`). One that is
            still offered hides the other versions of its name until that name is freed.
    """

    def __init__(self, base: Any, wanted: list[str], kept: list[dict[str, str]]) -> None:
        self.base = base
        self.wanted = wanted
        fields = ("name", "version", "release", "arch")
        locked = {tuple(package[field] for field in fields) for package in kept}
        names = {name for name, *_ in locked}
        everything = base.sack.query().apply()
        familiar = everything.filter(name=list(names))
        self.hidden: dict[str, set[Any]] = {
            NEWCOMERS: set(everything.difference(familiar)) if locked else set()
        }
        offered = {package for package in familiar if identity(package) in locked}
        for package in familiar.filter(name=[p.name for p in offered]):
            if package not in offered:
                self.hidden.setdefault(package.name, set()).add(package)

    def solve(self, free: set[str]) -> list[Any]:
        """The packages to install, sorted, where of these names every version is in sight.

        Raises:
            dnf.exceptions.MarkingErrors: some of the wanted names are not in sight.
            dnf.exceptions.DepsolveError: the packages contradict each other.
        """
        self.base.reset(goal=True)
        self.base.sack.reset_excludes()
        hidden = [p for name, packages in self.hidden.items() if name not in free for p in packages]
        self.base.sack.set_excludes(self.base.sack.query().filterm(pkg=hidden))
        unknown = []
        for name in self.wanted:
            try:
                self.base.install(name)
            except dnf.exceptions.MarkingError:
                unknown.append(name)
        if unknown:
            raise dnf.exceptions.MarkingErrors(no_match_pkg_specs=unknown)
        self.base.resolve()
        return sorted(self.base.transaction.install_set)

    def newest(self) -> list[Any]:
        """The solution with everything in sight; raises as `solve` does."""
        return self.solve(set(self.hidden))

    def nearest(self, update: set[str]) -> list[Any]:
        """The solution that leaves the older lock alone but for `update` and what that forces.

        The names to be freed are a smallest set in the sense that none of them can be left out:
        over and over, the shortest row of candidates that suffices is found by halving, and its
        last name is one that must be free.
        """
        newest = self.newest()
        # Else a name that is free must come to its newest version, and freeing more could fail.
        self.base.conf.best = False
        aims = {p.name + "." + p.arch: p.evr for p in newest if p.name in update}
        candidates = self._in_the_way(newest, update)
        free = set(update)
        while (found := self._reach(free, aims)) is None:
            if not candidates:
                return newest
            low, high = 1, len(candidates)
            while low < high:
                middle = (low + high) // 2
                if self._reach(free.union(candidates[:middle]), aims) is None:
                    low = middle + 1
                else:
                    high = middle
            free.add(candidates[high - 1])
            del candidates[high - 1 :]
        return found

    def _reach(self, free: set[str], aims: dict[str, str]) -> list[Any] | None:
        """The solution, if there is one and it has the aims' versions where it has their names."""
        try:
            found = self.solve(free)
        except (dnf.exceptions.MarkingErrors, dnf.exceptions.DepsolveError):
            return None
        fits = all(aims.get(p.name + "." + p.arch, p.evr) == p.evr for p in found)
        return found if fits else None

    def _in_the_way(self, newest: list[Any], update: set[str]) -> list[str]:
        """Names that hide a package of the newest solution, those to be freed first in front.

        First what the lock does not have, then what comes from an updated package's source RPM,
        then what updated packages require, directly and then further on, then the rest.
        """
        requires: dict[str, set[str]] = {}
        for package, names in requirers(self.base, newest).items():
            for name in names:
                requires.setdefault(name, set()).add(package.name)
        sources = {p.sourcerpm for p in newest if p.name in update}
        order = {NEWCOMERS: 0, **{p.name: 1 for p in newest if p.sourcerpm in sources}}
        reached, distance = update, 1
        while reached:
            distance += 1
            reached = {n for name in reached for n in requires.get(name, ())} - set(order) - update
            order.update(dict.fromkeys(reached, distance))
        there = set(newest)
        names = {name for name, hidden in self.hidden.items() if hidden & there} - update
        return sorted(names, key=lambda name: (order.get(name, distance + 1), name))


def describe(package: Any, needed_by: set[str]) -> dict[str, Any]:
    """What the lock holds of a package."""
    kind, digest = package.chksum
    name, version, release, arch = identity(package)
    return {
        "name": name,
        "version": version,
        "release": release,
        "arch": arch,
        "file": package.location.rsplit("/", 1)[-1],
        "url": package.remote_location(),
        "checksum": hawkey.chksum_name(kind),
        "sha256": digest.hex(),
        "size": package.downloadsize,
        "installed_size": package.installsize,
        "license": package.license or "",
        "built": package.buildtime,
        "required_by": sorted(needed_by),
    }


def carry(base: Any, folder: str) -> dict[str, list[str]]:
    """Unpack the repositories' further metadata into files, by kind, in the repositories' order."""
    files: dict[str, list[str]] = {kind: [] for kind in CARRIED}
    for repo in base.repos.iter_enabled():
        for kind in CARRIED:
            if not repo.get_metadata_path(kind):
                continue
            file = os.path.join(folder, f"{repo.id}.{kind}")  # noqa: PTH118
            with open(file, "w", encoding="utf-8") as unpacked:  # noqa: PTH123
                unpacked.write(repo.get_metadata_content(kind))
            files[kind].append(file)
    return files


def resolve(job: dict[str, Any]) -> dict[str, Any]:
    """The whole transaction as plain data."""
    base = prepare(job)
    python = toolkit_python(base, job)
    if not python:
        return {"python": None}
    solver = Solver(base, [*job["packages"], python], job["kept"])
    chosen = solver.nearest(set(job["update"])) if job["kept"] else solver.newest()
    needed_by = requirers(base, chosen, job["needed"])
    return {
        "python": python,
        "packages": [describe(package, needed_by[package]) for package in chosen],
        **carry(base, job["root"]),
    }


def main() -> None:
    """One job in, one answer out; dnf's own errors are answers too."""
    # dnf's C library prints to stdout at will: the answer gets a stdout of its own.
    answer, sys.stdout = sys.stdout, sys.stderr
    # What failed at which URL is in no exception.
    warnings = io.StringIO()
    logging.getLogger("dnf").addHandler(logging.StreamHandler(warnings))
    try:
        result = resolve(json.load(sys.stdin))
    except dnf.exceptions.RepoError as error:
        result = {"unreachable": f"{error}\n{warnings.getvalue()}".strip()}
    except dnf.exceptions.MarkingErrors as error:
        result = {"unknown": error.no_match_pkg_specs}
    except dnf.exceptions.DepsolveError as error:
        result = {"conflict": str(error)}
    json.dump(result, answer)
    answer.flush()


main()
