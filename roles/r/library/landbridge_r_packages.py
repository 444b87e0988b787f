#!/usr/bin/python
"""An R site library that holds exactly what the bundle says, built beside the one in use."""

from __future__ import annotations

DOCUMENTATION = r"""
module: landbridge_r_packages
short_description: Bring an R site library to the versions of the bundle, beside the old one
description:
  - Builds F(<root>/<R x.y>/libraries/<hash of what is in it>/) and points the link
    F(<root>/<R x.y>/library) at it by rename when it is whole. R resolves the link when it starts,
    so a running session keeps its packages.
  - What did not change is a hard link to the library before. What has a built package in
    I(binaries) is unpacked; the rest is compiled in one call of R.
  - A package that lacks a file, or has another version than the library's hash stands for, is
    mended; what else is in the library goes. An interrupted run is continued by the next one.
options:
  packages:
    description: The packages wanted, their dependencies included.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the package.
        type: str
        required: true
      version:
        description: Its version, as in its DESCRIPTION.
        type: str
        required: true
      requires:
        description: Names of packages that it needs.
        type: list
        elements: str
        default: []
  root:
    description: Directory of the libraries of all versions of R.
    type: path
    default: /opt/landbridge/r
  repository:
    description: Directory that holds C(src/contrib).
    type: path
    required: true
  binaries:
    description: Directory whose C(src/contrib) holds built packages; without it all is compiled.
    type: path
  target:
    description: What compiled packages are built for; those of another target are not taken over.
    type: str
    default: ''
  r:
    description: R's front end.
    type: path
    default: /usr/bin/R
  version:
    description: R's version as far as R itself cannot be asked, in check mode on a fresh node.
    type: str
    default: ''
  build:
    description: Directory for compiling; F(/tmp) may be mounted noexec.
    type: path
    default: /opt/landbridge/cache/r
  jobs:
    description: How many packages are done at a time; 0 means one for each processor.
    type: int
    default: 0
  keep:
    description: How many whole older libraries stay.
    type: int
    default: 1
author: Landbridge (@landbridge)
"""

EXAMPLES = r"""
- name: Install the bundle's R packages
  landbridge_r_packages:
    repository: /var/lib/landbridge/depot/current/cran
    binaries: /var/lib/landbridge/depot/current/cran/binaries/el9-x86_64/4.5
    target: el9-x86_64
    packages:
      - name: jsonlite
        version: 1.8.4
"""

RETURN = r"""
installed:
  description: Packages that the library in use lacks (or has otherwise), with the reason.
  type: dict
  returned: always
removed:
  description: Packages of the library in use that are no longer in it.
  type: list
  returned: always
sources:
  description: Where each package of a new or mended library comes from, C(kept), C(binary) or
    C(source).
  type: dict
  returned: always
pruned:
  description: Older libraries that were removed.
  type: list
  returned: always
library:
  description: The library that the link leads to (in check mode, would lead to).
  type: str
  returned: always
r_version:
  description: R's version; what I(version) says where R is not installed.
  type: str
  returned: always
"""

import fcntl
import hashlib
import json
import os
import re
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.landbridge_r_library import (
    MARKER,
    PASSING,
    Problem,
    R,
    extent,
    fields,
    link,
    locks,
    marked,
    minor,
    packages_in,
    reason,
    superfluous,
    switch,
    unpack,
    write_marker,
)

VERBATIM = {"expand_user_and_vars": False}

# One call for all: R orders by dependency, and compiles independent ones side by side.
# The arguments come in files: a command line has a limit, and quoting.
INSTALL = """
job <- Sys.getenv("LANDBRIDGE_R_JOB")
packages <- readLines(file.path(job, "packages"))
options(warn = 1, install.packages.check.source = "no")
install.packages(packages, lib = Sys.getenv("LANDBRIDGE_R_LIBRARY"),
                 repos = readLines(file.path(job, "repository")), type = "source",
                 dependencies = FALSE, keep_outputs = file.path(job, "logs"),
                 Ncpus = as.integer(Sys.getenv("LANDBRIDGE_R_JOBS")))
"""

# What R CMD INSTALL does at the end of compiling, for packages that were compiled elsewhere: one
# whose system library is missing must not come into use.
LOAD = """
job <- Sys.getenv("LANDBRIDGE_R_JOB")
for (package in readLines(file.path(job, "packages"))) {
    cat("landbridge: loading", package, "\\n")
    tryCatch(suppressMessages(loadNamespace(package)), error = function(e)
        cat("landbridge: failed", package, gsub("\\n", " ", conditionMessage(e)), "\\n"))
}
cat("landbridge: loaded\\n")
"""


def library_hash(r_minor, target, versions):
    """Name of the library that holds these packages: 12 hex digits.

    Args:
        r_minor: R's major and minor version.
        target: what its compiled packages are built for.
        versions: version by package.
    """
    text = json.dumps([r_minor, target, sorted(versions.items())])
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def error_lines(log):
    """R's own words for a failure: its ERROR lines, and the compiler's; at most ten."""
    lines = [x for x in log.splitlines() if re.search(r"\berror\b|^ERROR|cannot find", x, re.I)]
    return lines[:10] or log.splitlines()[-5:]


class Rrun:
    """R's front end, called for one job."""

    def __init__(self, module, library, lock_fd):
        self.module = module
        self.params = module.params
        self.library = library
        self.lock_fd = lock_fd

    @contextmanager
    def job(self, names):
        """A directory for a job on packages, on a filesystem where programs can run."""
        Path(self.params["build"]).mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=self.params["build"]))
        try:
            (folder / "packages").write_text("\n".join(names) + "\n")
            yield folder
        finally:
            shutil.rmtree(folder)

    def run(self, job, script, jobs):
        """Call R on a script; all that it printed."""
        (job / "script.R").write_text(script)
        environment = {
            "LANDBRIDGE_R_JOB": str(job),
            "LANDBRIDGE_R_LIBRARY": str(self.library),
            "LANDBRIDGE_R_JOBS": str(jobs),
            "TMPDIR": str(job),
            # Packages find each other here, before those of the library in use.
            "R_LIBS": str(self.library),
            "R_ENVIRON_USER": "/nonexistent",
            "LC_ALL": "C.UTF-8",
        }
        # Without the user's files, with the site's. R holds the lock as well: it may outlive us.
        _rc, out, err = self.module.run_command(
            [self.params["r"], "--no-echo", "--no-restore", "--no-init-file", "-f", "script.R"],
            cwd=str(job),
            environ_update=environment,
            pass_fds=[self.lock_fd],
            **VERBATIM,
        )
        return out + err


class Site:
    """The site library of an R: what is there, what has to be done, and the doing."""

    def __init__(self, module):
        self.module = module
        self.params = module.params
        self.wanted = {p["name"]: p["version"] for p in self.params["packages"]}
        self.requires = {p["name"]: p["requires"] for p in self.params["packages"]}
        self.r = self.ask_r()
        if not self.r.version:
            raise Problem("{} is missing: install R first".format(self.params["r"]))
        self.home = Path(self.params["root"]) / minor(self.r.version)
        self.libraries = self.home / "libraries"
        name = library_hash(minor(self.r.version), self.params["target"], self.wanted)
        self.library = self.libraries / name
        self.link = self.home / "library"
        self.jobs = self.params["jobs"] or len(os.sched_getaffinity(0))

    def ask_r(self):
        """The R that is installed; in check mode, the one that would be."""
        if not os.access(self.params["r"], os.X_OK):
            return R(self.params["version"] if self.module.check_mode else "", "")
        _rc, out, err = self.module.run_command([self.params["r"], "--version"], **VERBATIM)
        version = re.search(r"^R version ([0-9.]+)", out, re.M)
        platform = re.search(r"^Platform: (\S+)", out, re.M)
        if version is None or platform is None:
            raise Problem("{} does not say its version: {}{}".format(self.params["r"], out, err))
        return R(version.group(1), platform.group(1))

    def why(self, library, name):
        """Why the package of a library is not the wanted one; empty when it is, and is whole."""
        folder = library / name
        why = reason(folder, self.wanted[name], self.r)
        known = (marked(library) or {}).get("packages", {}).get(name)
        if not why and known:
            now = extent(folder)
            why = "" if now == {k: known[k] for k in now} else "damaged"
        return why

    def lacks(self, library):
        """Packages that a library lacks or has otherwise: {name: reason}."""
        found = {name: self.why(library, name) for name in sorted(self.wanted)}
        half = set().union(*locks(library).values())
        found.update(dict.fromkeys(half & set(found), "half-installed"))
        return {name: why for name, why in found.items() if why}

    def surplus(self, library):
        """Packages that a library has beyond those wanted."""
        return sorted(packages_in(library) - set(self.wanted))

    def bring(self):
        """Bring the library in order; in check mode only say what would be done."""
        current = self.link.resolve() if self.link.is_dir() else self.link
        install, remove = self.lacks(current), self.surplus(current)
        result = {
            "changed": self.has_work(),
            "installed": install,
            "removed": remove,
            "pruned": [str(path) for path in self.prunable()],
            "sources": {},
            "library": str(self.library),
            "r_version": self.r.version,
        }
        if self.module._diff and (install or remove):
            result["diff"] = self.diff(current, install, remove)
        if result["changed"] and self.module.check_mode:
            result["sources"] = self.sources(self.lacks(self.library))
        elif result["changed"]:
            self.libraries.mkdir(parents=True, exist_ok=True)
            with self.alone() as lock_fd:
                result["sources"] = self.apply(lock_fd)
        return result

    def has_work(self):
        """Whether anything is to be done."""
        return bool(
            not self.in_use()
            or self.lacks(self.library)
            or self.surplus(self.library)
            or locks(self.library)
            or self.prunable()
        )

    def in_use(self):
        """Whether the library is whole, and the link leads to it."""
        leads_here = self.link.is_symlink() and self.link.resolve() == self.library.resolve()
        whole = (marked(self.library) or {}).get("packages")
        return leads_here and whole is not None and set(whole) == set(self.wanted)

    def prunable(self):
        """Older libraries that go once this one is in use; never the one before."""
        return superfluous(self.libraries, {self.library.name}, self.params["keep"])

    def diff(self, current, install, remove):
        """Lines of the packages that differ, before and after."""
        before, after = [], []
        for name in sorted({*install, *remove}):
            has = fields(current / name / "DESCRIPTION")
            if has:
                built = has.get("Built", "").split(";")[0]
                broken = ", damaged" if install.get(name) in ("damaged", "half-installed") else ""
                before.append(f"{name} {has.get('Version')} ({built}{broken})")
            if name in self.wanted:
                after.append(f"{name} {self.wanted[name]} (R {minor(self.r.version)})")
        return {
            "before_header": str(current),
            "after_header": str(self.library),
            "before": "".join(line + "\n" for line in before),
            "after": "".join(line + "\n" for line in after),
        }

    @contextmanager
    def alone(self):
        """Hold the lock of this R's libraries; an R left by a broken connection is waited for."""
        with (self.home / ".lock").open("w") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            yield stream.fileno()

    def apply(self, lock_fd):
        """Fill the library, then switch to it. Planned again: another run may have worked."""
        self.library.mkdir(exist_ok=True)
        lacking = self.lacks(self.library)
        if lacking and marked(self.library):
            self.mark(set(self.wanted) - set(lacking))
        self.clear()
        sources = self.sources(lacking)
        self.fill(sources, Rrun(self.module, self.library, lock_fd))
        if lacking or not self.in_use():
            os.sync()
            self.mark(self.wanted)
        if not self.in_use():
            before = self.link.resolve() / MARKER
            if before.is_file():
                os.utime(before)  # the last one used is the last one to go
            switch(self.link, "libraries/" + self.library.name)
        for path in self.prunable():
            shutil.rmtree(path)
        return sources

    def mark(self, names):
        """Write down which packages are whole."""
        versions = {name: self.wanted[name] for name in names}
        write_marker(self.library, self.params["target"], versions)

    def clear(self):
        """Remove what an interrupted run left, and what does not belong into the library."""
        left = [*locks(self.library), *self.library.glob(PASSING + "*")]
        half = set().union(*locks(self.library).values()) & packages_in(self.library)
        for path in [*left, *(self.library / name for name in half)]:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        for name in self.surplus(self.library):
            shutil.rmtree(self.library / name)

    def sources(self, names):
        """Where each package is to come from: kept, binary, source."""
        current = self.link.resolve() if self.link.is_dir() else None
        mark = (marked(current) or {}) if current else {}
        usable = mark.get("target") == self.params["target"] and current != self.library.resolve()
        sources = {}
        for name in names:
            if usable and not self.why(current, name):
                sources[name] = "kept"
            else:
                sources[name] = "binary" if self.binary(name).is_file() else "source"
        return sources

    def binary(self, name):
        """File of a package's built form; it need not be there."""
        folder = self.params["binaries"] or "/nonexistent"
        return Path(folder) / "src/contrib" / f"{name}_{self.wanted[name]}.tar.gz"

    def fill(self, sources, r):
        """Put the packages into the library, each from its source."""
        by = {how: [n for n, s in sources.items() if s == how] for how in set(sources.values())}
        current = self.link.resolve()
        with ThreadPoolExecutor(self.jobs) as pool:
            done = [pool.submit(link, current / name, self.library) for name in by.get("kept", [])]
            done += [pool.submit(self.unpack, name) for name in by.get("binary", [])]
            failed = [str(e) for e in (task.exception() for task in done) if e is not None]
        if failed:
            raise Problem("\n".join(failed))
        if by.get("source"):
            self.compile(by["source"], r)
        if by.get("binary"):
            self.try_loading(by["binary"], r)

    def unpack(self, name):
        """Unpack a built package."""
        unpack(self.binary(name), name, self.wanted[name], self.library, self.r)

    def compile(self, names, r):
        """Compile in one call of R, then look whether all of it is there."""
        # R runs packages side by side by way of make, which comes with the compilers.
        jobs = self.jobs if shutil.which("make") else 1
        with r.job(names) as job:
            (job / "logs").mkdir()
            repository = Path(self.params["repository"]).resolve().as_uri()
            (job / "repository").write_text(repository + "\n")
            out = r.run(job, INSTALL, jobs)
            failed = {n: why for n, why in self.lacks(self.library).items() if n in names}
            if failed:
                raise Problem(self.explain(failed, job / "logs", out))

    def explain(self, failed, logs, out):
        """Which packages failed and what R said of each."""
        lines = ["R did not install: " + ", ".join(sorted(failed))]
        for name, why in sorted(failed.items()):
            log = logs / (name + ".out")
            blamed = sorted(set(self.requires[name]) & set(failed))
            if blamed:
                lines.append(f"{name}: not tried, it needs {', '.join(blamed)}")
            elif log.is_file():
                said = error_lines(log.read_text(encoding="utf-8", errors="replace"))
                lines += [f"{name}: {line.strip()}" for line in said]
            else:
                said = [x for x in out.splitlines() if name in x] or out.splitlines()[-5:]
                lines += [f"{name} ({why}): {line.strip()}" for line in said]
        if not shutil.which("make"):
            lines.append("This node has no compilers: set r_build_tools to true.")
        return "\n".join(lines)

    def try_loading(self, names, r):
        """Load what was compiled elsewhere once; what cannot be loaded is taken out again.

        Raises:
            Problem: a package cannot be loaded; the message has R's words.
        """
        compiled = [name for name in names if (self.library / name / "libs").is_dir()]
        if not compiled:
            return
        with r.job(sorted(compiled)) as job:
            out = r.run(job, LOAD, 1)
        failed = dict(re.findall(r"^landbridge: failed (\S+) (.*?) ?$", out, re.M))
        if "landbridge: loaded" not in out:  # R itself ended
            last = re.findall(r"^landbridge: loading (\S+)", out, re.M)[-1:] or ["R"]
            failed[last[0]] = " ".join(out.splitlines()[-5:])
        if failed:
            for name in set(failed) & set(compiled):
                shutil.rmtree(self.library / name)
            lines = [f"{name}: {said}" for name, said in sorted(failed.items())]
            advice = "Where a library is missing, r.system_requirements of the stack names its RPM."
            raise Problem("\n".join(["Built packages do not load:", *lines, advice]))


def main():
    package = {
        "name": {"type": "str", "required": True},
        "version": {"type": "str", "required": True},
        "requires": {"type": "list", "elements": "str", "default": []},
    }
    module = AnsibleModule(
        argument_spec={
            "packages": {"type": "list", "elements": "dict", "required": True, "options": package},
            "root": {"type": "path", "default": "/opt/landbridge/r"},
            "repository": {"type": "path", "required": True},
            "binaries": {"type": "path"},
            "target": {"type": "str", "default": ""},
            "r": {"type": "path", "default": "/usr/bin/R"},
            "version": {"type": "str", "default": ""},
            "build": {"type": "path", "default": "/opt/landbridge/cache/r"},
            "jobs": {"type": "int", "default": 0},
            "keep": {"type": "int", "default": 1},
        },
        supports_check_mode=True,
    )
    # Hardened hosts run with 077: users must be able to read what is installed for them.
    os.umask(0o022)
    try:
        module.exit_json(**Site(module).bring())
    except Problem as problem:
        module.fail_json(msg=str(problem))


if __name__ == "__main__":
    main()
