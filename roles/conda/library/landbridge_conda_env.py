#!/usr/bin/python
"""One conda environment from an explicit lock, installed offline and switched in one rename."""

from __future__ import annotations

DOCUMENTATION = r"""
module: landbridge_conda_env
short_description: Install a conda environment from a lock, beside the old one
description:
  - Installs the packages of an explicit lock into I(root)/I(name)/<lock hash>, then switches the
    link C(current) by rename. A process of the old environment keeps its files.
  - An interrupted installation is removed and built again by the next run.
options:
  name:
    description: Name of the environment.
    type: str
    required: true
  lock:
    description:
      - Lock on the node, C(@EXPLICIT) and lines of C(<subdir>/<file>#<sha256>) relative to
        I(channel). Required when I(state=present).
    type: path
  channel:
    description: Directory of the conda channel. Required when I(state=present).
    type: path
  root:
    description: Directory of all environments.
    type: path
    default: /opt/landbridge/envs
  cache:
    description: Package cache; on the filesystem of I(root), files are hard links.
    type: path
    default: /opt/landbridge/cache/conda
  kernels:
    description: Directory of the kernelspecs; the environment's is I(kernels)/I(name).
    type: path
    default: /opt/landbridge/share/jupyter/kernels
  kernel:
    description: Display name of the environment's Jupyter kernel; without it there is none.
    type: str
  toolkit_python:
    description: A Python that has py-rattler.
    type: path
    default: /opt/landbridge/toolkit/bin/python
  keep:
    description:
      - How many complete older installations of the environment stay on disk.
      - Whatever a process runs from stays as well, until it has ended.
    type: int
    default: 1
  state:
    description:
      - C(absent) removes the environment with all its installations and its kernelspec; what a
        process runs from goes with a later run.
    type: str
    choices: [present, absent]
    default: present
author: Landbridge (@landbridge)
"""

EXAMPLES = r"""
- name: Install an environment with a kernel
  landbridge_conda_env:
    name: datascience
    lock: /var/lib/landbridge/depot/current/conda/envs/datascience.linux-64.txt
    channel: /var/lib/landbridge/depot/current/conda
    kernel: Python 3.11 (datascience)
"""

RETURN = r"""
prefix:
  description: Where this lock's environment is (in check mode, would be).
  type: str
  returned: state is present
packages:
  description: Names of the packages added, removed and changed against the current environment.
  type: dict
  returned: always
removed:
  description: Directories that were removed, old installations and interrupted ones.
  type: list
  returned: always
uncompiled:
  description: Sources that are not valid for this Python and so have no bytecode.
  type: list
  returned: an installation was made
"""

import fcntl
import hashlib
import json
import os
import re
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

# Copy of the lock, written last: an installation without it was interrupted.
MARKER = "landbridge.lock"
# Arguments reach the command as they are: no $VAR and no ~ in a path is replaced.
VERBATIM = {"expand_user_and_vars": False}
HASH = re.compile(r"^[0-9a-f]{12}$")
ENTRY = re.compile(
    r"^(?P<path>(?P<subdir>[a-z0-9-]+)/"
    r"(?P<file>(?P<name>[^/#\s]+)-(?P<version>[^/#\s-]+)-(?P<build>[^/#\s-]+?)"
    r"\.(?:conda|tar\.bz2)))#(?P<sha256>[0-9a-f]{64})$"
)

# Runs on the toolkit's Python, which has py-rattler. That library sometimes aborts while the
# interpreter ends, its work done: hence a process of its own that leaves without that end.
INSTALLER = """
import asyncio, json, os, sys, traceback
from pathlib import Path
from rattler import Channel, Client, RepoData, install

async def main(prefix, cache, channel, files):
    records = []
    for subdir in sorted({file.split("/")[0] for file in files}):
        data = RepoData.from_path(Path(channel) / subdir / "repodata.json")
        source = Channel(Path(channel).as_uri())
        known = {f"{subdir}/{r.file_name}": r for r in data.into_repo_data(source)}
        records += [(file, known.get(file)) for file in files if file.startswith(subdir + "/")]
    unknown = [file for file, record in records if record is None]
    if unknown:
        raise SystemExit("not in the channel's repodata: " + ", ".join(unknown))
    wrong = [f for f, r in records if r.sha256 is not None and r.sha256.hex() != files[f]]
    if wrong:
        raise SystemExit("repodata and lock differ in the sha256 of: " + ", ".join(wrong))
    await install([record for _, record in records], prefix, cache_dir=cache,
                  show_progress=False, client=Client())

code = 0
try:
    asyncio.run(main(**json.load(sys.stdin)))
except SystemExit as end:
    code = 1
    print(end, file=sys.stderr)
except BaseException:
    code = 1
    traceback.print_exc()
sys.stdout.flush()
sys.stderr.flush()
os._exit(code)
"""


class Problem(Exception):
    """What is wrong, in words for the reader of Ansible's output."""


def parse_lock(text):
    """Entries of an explicit lock, each a dict of path, subdir, file, name, version, build, sha256.

    Raises:
        Problem: the text is no explicit lock, or a line is malformed.
    """
    lines = [line.strip() for line in text.splitlines()]
    if "@EXPLICIT" not in lines:
        raise Problem("the lock has no line @EXPLICIT")
    entries = []
    for number, line in enumerate(lines, 1):
        if not line or line.startswith("#") or line == "@EXPLICIT":
            continue
        match = ENTRY.match(line)
        if match is None:
            raise Problem(f"line {number} of the lock is not <subdir>/<file>#<sha256>: {line}")
        entries.append(match.groupdict())
    if not entries:
        raise Problem("the lock names no package")
    return entries


def lock_hash(data):
    """The name of a lock's installation: 12 hex digits of the sha256 of its bytes."""
    return hashlib.sha256(data).hexdigest()[:12]


def installed(prefix):
    """Packages of an environment as {name: "version build"}; empty where there is none."""
    packages = {}
    for record in Path(prefix).glob("conda-meta/*.json"):
        name, version, build = record.name[: -len(".json")].rsplit("-", 2)
        packages[name] = version + " " + build
    return packages


def compare(before, after):
    """Names added, removed and changed between two {name: "version build"}."""
    return {
        "added": sorted(after.keys() - before.keys()),
        "removed": sorted(before.keys() - after.keys()),
        "changed": sorted(n for n in before.keys() & after.keys() if before[n] != after[n]),
    }


def listing(packages):
    """One line a package, for diffs."""
    return "".join("{} {}\n".format(*item) for item in sorted(packages.items()))


def verify_archives(channel, entries):
    """Compare every archive in the channel with the lock.

    Raises:
        Problem: archives are missing, or their sha256 is not the lock's; all are named.
    """
    faults = []
    for entry in entries:
        try:
            digest = hashlib.sha256()
            with Path(channel, entry["path"]).open("rb") as archive:
                for block in iter(lambda: archive.read(1 << 20), b""):
                    digest.update(block)
        except OSError as error:
            faults.append("{}: {}".format(entry["path"], error.strerror))
            continue
        if digest.hexdigest() != entry["sha256"]:
            faults.append("{}: sha256 is not the lock's".format(entry["path"]))
    if faults:
        raise Problem("the depot does not hold what the lock names:\n  " + "\n  ".join(faults))


def is_complete(prefix, data):
    """Whether `prefix` holds a finished installation of the lock `data`."""
    try:
        return (Path(prefix) / MARKER).read_bytes() == data
    except OSError:
        return False


def superfluous(home, wanted, keep):
    """Installations in `home` to remove: interrupted ones, and old ones beyond `keep`."""
    if not home.is_dir():
        return []
    others = [p for p in home.iterdir() if HASH.match(p.name) and p.name != wanted]
    finished = [p for p in others if (p / MARKER).is_file()]
    finished.sort(key=lambda p: (p / MARKER).stat().st_mtime, reverse=True)
    going = set(others) - set(finished[:keep])
    return sorted(going - in_use(going))


def in_use(prefixes):
    """Those of some installations that a process runs from, such as a kernel."""
    used = set()
    for maps in Path("/proc").glob("[0-9]*/maps") if prefixes else ():
        try:
            mapped = maps.read_text(errors="replace")
        except OSError:  # it has ended, or is a thread of the kernel
            continue
        used |= {prefix for prefix in prefixes if f"{prefix}/" in mapped}
    return used


def write_file(path, data):
    """Write `data` by temporary name, fsync and rename; readable by all."""
    handle, temporary = tempfile.mkstemp(dir=str(path.parent), prefix="." + path.name)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            os.fchmod(stream.fileno(), 0o644)
            stream.flush()
            os.fsync(stream.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink()
        raise


def switch(link, target):
    """Point `link` at `target` in one rename."""
    temporary = link.with_name(f".{link.name}.{os.getpid()}")
    temporary.symlink_to(target)
    temporary.replace(link)


def link_target(link):
    """Where a link points, or None."""
    return str(link.readlink()) if link.is_symlink() else None


def mend_modes(prefix):
    """Mend modes that py-rattler sets whatever the umask: all may read, root alone may write."""
    for record in prefix.glob("conda-meta/*.json"):  # 0600, but `conda list` runs as a user
        record.chmod(0o644)
    for program in prefix.glob("bin/*"):  # 0775
        if program.is_file() and not program.is_symlink():
            program.chmod(program.stat().st_mode & 0o7755)


def kernelspec(display_name, prefix):
    """A kernelspec that names the installation itself, so that a running kernel stays on it."""
    spec = {
        "argv": [
            prefix + "/bin/python",
            "-m",
            "ipykernel_launcher",
            "-f",
            "{connection_file}",
        ],
        "display_name": display_name,
        "language": "python",
        "metadata": {"debugger": True},
        # `!pip` and subprocesses of a notebook mean its own environment, not the server's.
        "env": {"PATH": prefix + "/bin:${PATH}", "CONDA_PREFIX": prefix},
    }
    return (json.dumps(spec, indent=1) + "\n").encode()


class Environment:
    """An environment on the node: what is there, what has to be done, and the doing."""

    def __init__(self, module):
        self.module = module
        self.params = module.params
        self.home = Path(self.params["root"]) / self.params["name"]
        self.current = self.home / "current"
        self.spec_file = Path(self.params["kernels"]) / self.params["name"] / "kernel.json"
        self.before = installed(self.current)
        self.old_spec = self.spec_file.read_bytes() if self.spec_file.is_file() else b""
        self.result = {"changed": False, "removed": []}

    def report(self, after, new_spec, after_header):
        """Fill in result and diff; `after` are the packages and `new_spec` the kernelspec to be."""
        self.result["packages"] = compare(self.before, after)
        diffs = []
        if self.before != after:
            header = {"before_header": str(self.current), "after_header": after_header}
            diffs.append(dict(before=listing(self.before), after=listing(after), **header))
        if self.old_spec != new_spec:
            both = {"before": self.old_spec.decode(), "after": new_spec.decode()}
            diffs.append(
                dict(both, before_header=str(self.spec_file), after_header=str(self.spec_file))
            )
        if self.module._diff:
            self.result["diff"] = diffs

    @contextmanager
    def alone(self):
        """Hold the environment's lock; an installer left by a broken connection is waited for."""
        self.home.parent.mkdir(parents=True, exist_ok=True)
        with (self.home.parent / f".{self.home.name}.lock").open("w") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            yield stream.fileno()

    def absent(self):
        """Remove environment and kernelspec; what a process runs from stays until it ends."""
        self.report({}, b"", "(absent)")
        inside = set(self.home.iterdir()) if self.home.is_dir() else set()
        used = in_use({path for path in inside if HASH.match(path.name)})
        going = sorted(inside - used) if used else [self.home]
        there = [p for p in (*going, self.spec_file.parent) if p.exists() or p.is_symlink()]
        self.result.update(changed=bool(there), removed=[str(p) for p in there])
        if self.module.check_mode or not there:
            return
        with self.alone():
            for path in reversed(there):
                path.unlink() if path.is_symlink() else shutil.rmtree(path)

    def present(self):
        """Install what is missing, switch to it, then bring kernelspec and old ones in order."""
        data, entries = self.read_lock()
        prefix = self.home / lock_hash(data)
        self.result["prefix"] = str(prefix)
        after = {e["name"]: e["version"] + " " + e["build"] for e in entries}
        name = self.params["kernel"]
        if name and "ipykernel" not in after:
            raise Problem("the environment declares a kernel, but its lock has no ipykernel")
        new_spec = kernelspec(name, str(prefix)) if name else b""
        self.report(after, new_spec, str(prefix))
        if self.module.check_mode:
            self.plan(prefix, data, new_spec)
            return
        with self.alone() as lock_fd:
            # Asked again under the lock: another run may have done it meanwhile.
            self.plan(prefix, data, new_spec)
            if not is_complete(prefix, data):
                self.install(prefix, data, entries, lock_fd)
            if link_target(self.current) != prefix.name:
                switch(self.current, prefix.name)
            self.write_kernelspec(new_spec)
            for path in self.result["removed"]:
                if path != str(prefix):
                    shutil.rmtree(path)

    def plan(self, prefix, data, new_spec):
        """State whether anything has to be done, and which directories go."""
        complete = is_complete(prefix, data)
        removed = superfluous(self.home, prefix.name, self.params["keep"])
        if prefix.exists() and not complete:
            removed.append(prefix)
        self.result["removed"] = [str(path) for path in removed]
        self.result["changed"] = bool(
            not complete
            or removed
            or link_target(self.current) != prefix.name
            or self.old_spec != new_spec
        )

    def read_lock(self):
        """Bytes and entries of the lock."""
        try:
            data = Path(self.params["lock"]).read_bytes()
            return data, parse_lock(data.decode())
        except (OSError, UnicodeDecodeError) as error:
            raise Problem(f"the lock cannot be read: {error}") from error
        except Problem as problem:
            raise Problem("{}: {}".format(self.params["lock"], problem)) from problem

    def install(self, prefix, data, entries, lock_fd):
        """Build the installation in place (paths are written into its files), marker last."""
        python = self.params["toolkit_python"]
        if not os.access(python, os.X_OK):
            raise Problem(f"{python} is missing: run the role toolkit (bootstrap.sh) first")
        verify_archives(self.params["channel"], entries)
        if prefix.exists():
            shutil.rmtree(prefix)
        prefix.mkdir(parents=True)
        Path(self.params["cache"]).mkdir(parents=True, exist_ok=True)
        job = {
            "prefix": str(prefix),
            "cache": self.params["cache"],
            "channel": self.params["channel"],
            "files": {entry["path"]: entry["sha256"] for entry in entries},
        }
        # The child holds the lock as well: it may outlive this process.
        rc, _out, err = self.module.run_command(
            [python, "-I", "-c", INSTALLER], data=json.dumps(job), pass_fds=[lock_fd], **VERBATIM
        )
        if rc != 0:
            raise Problem(f"py-rattler could not install {prefix}:\n{err.strip()}")
        mend_modes(prefix)
        self.result["uncompiled"] = self.compile(prefix)
        os.sync()
        write_file(prefix / MARKER, data)

    def compile(self, prefix):
        """Write the bytecode: users cannot, and would compile on every start.

        Returns:
            The sources that are not valid for this Python; packages carry a few as templates.
        """
        python = prefix / "bin" / "python"
        if not python.exists():
            return []
        # Packages bring their own tests along, a third of the files; nobody imports them.
        command = [str(python), "-I", "-m", "compileall", "-q", "-j", "0", "-x", r"/tests?/"]
        libraries = [str(path) for path in prefix.glob("lib/python3.*") if path.is_dir()]
        _rc, out, _err = self.module.run_command(command + libraries, **VERBATIM)
        return re.findall(r"^\*\*\* (?:Error compiling )?'(.*?)'\.\.\.", out, re.M)

    def write_kernelspec(self, new_spec):
        """Write or remove the kernelspec."""
        if self.old_spec == new_spec:
            return
        if not new_spec:
            shutil.rmtree(self.spec_file.parent)
            return
        self.spec_file.parent.mkdir(parents=True, exist_ok=True)
        write_file(self.spec_file, new_spec)


def main():
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "lock": {"type": "path"},
            "channel": {"type": "path"},
            "root": {"type": "path", "default": "/opt/landbridge/envs"},
            "cache": {"type": "path", "default": "/opt/landbridge/cache/conda"},
            "kernels": {"type": "path", "default": "/opt/landbridge/share/jupyter/kernels"},
            "kernel": {"type": "str"},
            "toolkit_python": {"type": "path", "default": "/opt/landbridge/toolkit/bin/python"},
            "keep": {"type": "int", "default": 1},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        },
        required_if=[("state", "present", ["lock", "channel"])],
        supports_check_mode=True,
    )
    # Hardened hosts run with 077: users must be able to read what is installed for them.
    os.umask(0o022)
    environment = Environment(module)
    try:
        if module.params["state"] == "present":
            environment.present()
        else:
            environment.absent()
    except Problem as problem:
        module.fail_json(msg="{}: {}".format(module.params["name"], problem))
    module.exit_json(**environment.result)


if __name__ == "__main__":
    main()
