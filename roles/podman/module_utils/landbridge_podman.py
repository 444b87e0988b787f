# SPDX-License-Identifier: Apache-2.0
"""What the modules of role podman share: commands run as a user, and records of what is ours."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path

# What was made for whom, so that what nobody wants any more can go; root's alone.
STATE = Path("/var/lib/landbridge/podman")


# Seconds between two calls of what is to be done while a command runs.
INTERVAL = 0.1

# Which images a bundle has brought, per store.
IMAGES = STATE / "images.json"


class CommandError(Exception):
    """A command failed; the text says which and why, `code` is its exit code."""

    def __init__(self, text, code=None):
        super().__init__(text)
        self.code = code


def account_of(name):
    """The user's entry, of whichever directory; CommandError names a user who does not exist."""
    try:
        return pwd.getpwnam(name)
    except KeyError:
        raise CommandError(f"user {name} does not exist; create it first") from None


def runtime_directory(account):
    """Where the user's session keeps its sockets."""
    return Path("/run/user") / str(account.pw_uid)


def user_environment(account):
    """What a login would set and Podman needs."""
    runtime = str(runtime_directory(account))
    return {
        "HOME": account.pw_dir,
        "USER": account.pw_name,
        "LOGNAME": account.pw_name,
        "PATH": "/usr/local/bin:/usr/bin:/usr/sbin:/bin:/sbin",
        "LC_ALL": "C.UTF-8",
        "XDG_RUNTIME_DIR": runtime,
        "DBUS_SESSION_BUS_ADDRESS": f"unix:path={runtime}/bus",
    }


def run(argv, account, stdin="", variables=None, meanwhile=None):
    """Standard output of a command run as the user, with more environment `variables`.

    What is given to `stdin` shows up in no message. Hardened hosts have umask 077, under which
    users in a container could not read the image. `meanwhile` is called while the command runs.
    """
    identity = {}
    if account.pw_uid != os.geteuid():
        groups = os.getgrouplist(account.pw_name, account.pw_gid)
        identity = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": groups}
    environment = dict(os.environ) if account.pw_uid == 0 else user_environment(account)
    with subprocess.Popen(
        argv,
        cwd="/",
        env={**environment, **(variables or {})},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        umask=0o022,
        **identity,
    ) as process:
        said, complained = converse(process, stdin, meanwhile)
    if process.returncode != 0:
        raise CommandError(f"{' '.join(argv)}: {complained.strip()}", process.returncode)
    return said


def converse(process, stdin, meanwhile):
    """Standard output and error of a process that has ended."""
    while True:
        try:
            return process.communicate(stdin, timeout=INTERVAL if meanwhile else None)
        except subprocess.TimeoutExpired:
            stdin = None  # has been taken
            meanwhile()


def can_ask(account):
    """Whether Podman can say what is there: it is installed and the user has a session."""
    session = account.pw_uid == 0 or runtime_directory(account).is_dir()
    return session and shutil.which("podman") is not None


def read_record(path):
    """A record as it was written; empty where there is none."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}


def write_record(path, content):
    """Replace a record whole, so that a crash leaves the old one or the new one."""
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            json.dump(content, stream, indent=1, sort_keys=True)
            stream.write("\n")
            stream.flush()
            os.fsync(stream.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink()
        raise


def entries(path):
    """A list that containers/storage keeps as JSON; empty where there is none."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []


def layers_of(store):
    """The layers of an overlay store by id: what they are built on, or None."""
    folder = Path(store) / "overlay-layers"
    lists = [entries(folder / name) for name in ("layers.json", "volatile-layers.json")]
    return {layer["id"]: layer.get("parent") for each in lists for layer in each}


def layers_needed(account):
    """Layers of other stores on which the user's containers and images are built."""
    store = Path(run(["podman", "info", "--format", "{{.Store.GraphRoot}}"], account).strip())
    own = layers_of(store)
    images = entries(store / "overlay-images" / "images.json")
    built_on = {*own.values(), *(image.get("layer") for image in images)}
    return built_on - {None, "", *own}
