#!/usr/bin/python
"""An R site library that holds exactly what the bundle says, compiled from its sources offline."""

from __future__ import annotations

DOCUMENTATION = r"""
module: landbridge_r_packages
short_description: Bring an R site library to the versions of the bundle
description:
  - Compares the DESCRIPTION files of I(library) with I(packages) and installs what lacks, has
    another version, or was built for another R (major.minor), in one call of R.
  - Removes packages that it once installed and that I(packages) no longer names; others stay.
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
  library:
    description: The site library.
    type: path
    default: /opt/landbridge/r/library
  repository:
    description: Directory that holds C(src/contrib).
    type: path
    required: true
  r:
    description: R's front end.
    type: path
    default: /usr/bin/R
  build:
    description: Directory for compiling; F(/tmp) may be mounted noexec.
    type: path
    default: /opt/landbridge/cache/r
  jobs:
    description: How many packages are compiled at a time; 0 means one for each processor.
    type: int
    default: 0
author: Landbridge (@landbridge)
"""

EXAMPLES = r"""
- name: Install the bundle's R packages
  landbridge_r_packages:
    repository: /var/lib/landbridge/depot/current/cran
    packages:
      - name: jsonlite
        version: 1.8.4
"""

RETURN = r"""
installed:
  description: Packages that were (in check mode, would be) installed, with the reason.
  type: dict
  returned: always
removed:
  description: Packages that were removed because they are no longer wanted.
  type: list
  returned: always
r_version:
  description: R's version; empty where R is not installed.
  type: str
  returned: always
"""

import fcntl
import json
import os
import re
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

# Names of the packages that this module installed: it removes no others.
STATE = ".landbridge.json"
VERBATIM = {"expand_user_and_vars": False}

# One call for all: R orders by dependency, and compiles independent ones side by side.
# The arguments come in a file: a command line has a limit, and quoting.
SCRIPT = """
job <- Sys.getenv("LANDBRIDGE_R_JOB")
packages <- readLines(file.path(job, "packages"))
options(warn = 1, install.packages.check.source = "no")
install.packages(packages, lib = Sys.getenv("LANDBRIDGE_R_LIBRARY"),
                 repos = readLines(file.path(job, "repository")), type = "source",
                 dependencies = FALSE, keep_outputs = file.path(job, "logs"),
                 Ncpus = as.integer(Sys.getenv("LANDBRIDGE_R_JOBS")))
"""


class Problem(Exception):
    """What is wrong, in words for the reader of Ansible's output."""


def fields(description):
    """Fields Version and Built of a DESCRIPTION file; empty where it cannot be read."""
    try:
        text = Path(description).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    return dict(re.findall(r"^(Version|Built):[ \t]*(.*?)[ \t]*$", text, re.M))


def minor(version):
    """Major and minor of a version, "4.2" of "4.2.2": what compiled packages depend on."""
    return ".".join(version.split(".")[:2])


def reasons(library, wanted, r_version):
    """Why packages have to be installed, as {name: reason}; empty when all is in order.

    Args:
        library: the site library.
        wanted: {name: version}.
        r_version: R's version, or "" where it is unknown (R is not installed yet).
    """
    why = {}
    for name, version in sorted(wanted.items()):
        has = fields(Path(library) / name / "DESCRIPTION")
        built = re.match(r"R ([0-9.]+)", has.get("Built", ""))
        if "Version" not in has or built is None:
            why[name] = "missing"
        elif has["Version"] != version:
            why[name] = "has " + has["Version"]
        elif r_version and minor(built.group(1)) != minor(r_version):
            why[name] = "built for R " + built.group(1)
    return why


def leftovers(library):
    """Locks that an interrupted R left in the library."""
    return sorted(Path(library).glob("00LOCK*"))


def remembered(library):
    """Names that this module installed."""
    state = Path(library) / STATE
    return set(json.loads(state.read_text())["packages"]) if state.is_file() else set()


def error_lines(log):
    """R's own words for a failure: its ERROR lines, and the compiler's; at most ten."""
    lines = [x for x in log.splitlines() if re.search(r"\berror\b|^ERROR|cannot find", x, re.I)]
    return lines[:10] or log.splitlines()[-5:]


class Library:
    """The site library on the node: what is there, what has to be done, and the doing."""

    def __init__(self, module):
        self.module = module
        self.params = module.params
        self.path = Path(self.params["library"])
        self.wanted = {p["name"]: p["version"] for p in self.params["packages"]}
        self.requires = {p["name"]: p["requires"] for p in self.params["packages"]}
        self.r_version = self.ask_version()

    def ask_version(self):
        """R's version, or "" where there is no R."""
        if not os.access(self.params["r"], os.X_OK):
            return ""
        _rc, out, err = self.module.run_command([self.params["r"], "--version"], **VERBATIM)
        found = re.search(r"^R version ([0-9.]+)", out, re.M)
        if found is None:
            raise Problem(f"{self.params['r']} does not say its version: {out}{err}")
        return found.group(1)

    def plan(self):
        """What has to be done: {name: reason} to install, names and locks to remove."""
        return (
            reasons(self.path, self.wanted, self.r_version),
            sorted(n for n in remembered(self.path) - set(self.wanted) if (self.path / n).is_dir()),
            leftovers(self.path),
        )

    def bring(self):
        """Bring the library in order; in check mode only say what would be done."""
        install, remove, locks = self.plan()
        result = {
            "changed": bool(install or remove or locks or self.forgets()),
            "installed": install,
            "removed": remove,
            "r_version": self.r_version,
        }
        if self.module._diff and (install or remove):
            result["diff"] = self.diff(install, remove)
        if not self.module.check_mode and result["changed"]:
            self.path.mkdir(parents=True, exist_ok=True)
            with self.alone() as lock_fd:
                self.apply(lock_fd)
        return result

    def forgets(self):
        """Whether the list of what was installed here is not what is wanted."""
        return remembered(self.path) != set(self.wanted)

    def diff(self, install, remove):
        """Lines of the packages that differ, before and after."""
        before, after = [], []
        for name in sorted({*install, *remove}):
            has = fields(self.path / name / "DESCRIPTION")
            if has:
                before.append(f"{name} {has.get('Version')} ({has.get('Built', '').split(';')[0]})")
            if name in self.wanted:
                built = f" (R {self.r_version})" if self.r_version else ""
                after.append(f"{name} {self.wanted[name]}{built}")
        return {
            "before_header": str(self.path),
            "after_header": str(self.path),
            "before": "".join(line + "\n" for line in before),
            "after": "".join(line + "\n" for line in after),
        }

    @contextmanager
    def alone(self):
        """Hold the library's lock; an R left by a broken connection is waited for."""
        with (self.path / ".landbridge.lock").open("w") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            yield stream.fileno()

    def apply(self, lock_fd):
        """Remove what must go, install what lacks. Planned again: another run may have worked."""
        install, remove, locks = self.plan()
        for path in [*locks, *(self.path / name for name in remove)]:
            shutil.rmtree(path)
        # Written before: a run that breaks off still knows which packages are its own.
        self.remember(remembered(self.path) | set(self.wanted))
        if install:
            self.install(sorted(install), lock_fd)
        self.remember(set(self.wanted))

    def remember(self, names):
        """Write the list of the packages that are this module's."""
        handle, temporary = tempfile.mkstemp(dir=self.path, prefix=STATE)
        with os.fdopen(handle, "w") as stream:
            stream.write(json.dumps({"packages": sorted(names)}) + "\n")
            os.fchmod(stream.fileno(), 0o644)
            stream.flush()
            os.fsync(stream.fileno())
        Path(temporary).replace(self.path / STATE)

    def install(self, names, lock_fd):
        """Install in one call of R, then look whether all of it is there."""
        if not self.r_version:
            raise Problem(f"{self.params['r']} is missing: install R-core first")
        Path(self.params["build"]).mkdir(parents=True, exist_ok=True)
        job = Path(tempfile.mkdtemp(dir=self.params["build"]))
        try:
            out = self.run_r(job, names, lock_fd)
            failed = reasons(self.path, {n: self.wanted[n] for n in names}, self.r_version)
            if failed:
                raise Problem(self.explain(failed, job / "logs", out))
        finally:
            shutil.rmtree(job)

    def run_r(self, job, names, lock_fd):
        """Call R on the packages `names`; returns all it printed."""
        repository = Path(self.params["repository"]).resolve().as_uri()
        (job / "logs").mkdir()
        (job / "packages").write_text("\n".join(names) + "\n")
        (job / "repository").write_text(repository + "\n")
        (job / "script.R").write_text(SCRIPT)
        environment = {
            "LANDBRIDGE_R_JOB": str(job),
            "LANDBRIDGE_R_LIBRARY": str(self.path),
            "LANDBRIDGE_R_JOBS": str(self.params["jobs"] or len(os.sched_getaffinity(0))),
            "TMPDIR": str(job),
            # Packages find each other here whether or not Renviron.site names the library.
            "R_LIBS": str(self.path),
            "LC_ALL": "C.UTF-8",
        }
        # Without the user's files, with the site's. R holds the lock as well: it may outlive us.
        _rc, out, err = self.module.run_command(
            [self.params["r"], "--no-echo", "--no-restore", "--no-init-file", "-f", "script.R"],
            cwd=str(job),
            environ_update=environment,
            pass_fds=[lock_fd],
            **VERBATIM,
        )
        return out + err

    def explain(self, failed, logs, out):
        """Which packages failed and what R said of each."""
        lines = ["R did not install: " + ", ".join(sorted(failed))]
        for name, reason in sorted(failed.items()):
            log = logs / (name + ".out")
            blamed = sorted(set(self.requires[name]) & set(failed))
            if blamed:
                lines.append(f"{name}: not tried, it needs {', '.join(blamed)}")
            elif log.is_file():
                said = error_lines(log.read_text(encoding="utf-8", errors="replace"))
                lines += [f"{name}: {line.strip()}" for line in said]
            else:
                said = [x for x in out.splitlines() if name in x] or out.splitlines()[-5:]
                lines += [f"{name} ({reason}): {line.strip()}" for line in said]
        return "\n".join(lines)


def main():
    package = {
        "name": {"type": "str", "required": True},
        "version": {"type": "str", "required": True},
        "requires": {"type": "list", "elements": "str", "default": []},
    }
    module = AnsibleModule(
        argument_spec={
            "packages": {"type": "list", "elements": "dict", "required": True, "options": package},
            "library": {"type": "path", "default": "/opt/landbridge/r/library"},
            "repository": {"type": "path", "required": True},
            "r": {"type": "path", "default": "/usr/bin/R"},
            "build": {"type": "path", "default": "/opt/landbridge/cache/r"},
            "jobs": {"type": "int", "default": 0},
        },
        supports_check_mode=True,
    )
    # Hardened hosts run with 077: users must be able to read what is installed for them.
    os.umask(0o022)
    try:
        module.exit_json(**Library(module).bring())
    except Problem as problem:
        module.fail_json(msg=str(problem))


if __name__ == "__main__":
    main()
