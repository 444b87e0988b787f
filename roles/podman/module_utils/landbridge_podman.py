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


def run(argv, account, stdin="", variables=None):
    """Standard output of a command run as the user, with more environment `variables`.

    What is given to `stdin` shows up in no message. Hardened hosts have umask 077, under which
    users in a container could not read the image.
    """
    identity = {}
    if account.pw_uid != os.geteuid():
        groups = os.getgrouplist(account.pw_name, account.pw_gid)
        identity = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": groups}
    environment = dict(os.environ) if account.pw_uid == 0 else user_environment(account)
    done = subprocess.run(
        argv,
        cwd="/",
        env={**environment, **(variables or {})},
        input=stdin,
        capture_output=True,
        encoding="utf-8",
        check=False,
        umask=0o022,
        **identity,
    )
    if done.returncode != 0:
        raise CommandError(f"{' '.join(argv)}: {done.stderr.strip()}", done.returncode)
    return done.stdout


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
