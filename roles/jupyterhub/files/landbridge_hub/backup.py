"""Backups of what the hub knows and, where that is asked for, of what teams have in their folders.

A backup is a directory, complete as soon as it has its name:
    hub.json           the database's rows, the teams, which release and why
    folders.tar.gz     the teams' folders       } with owners by name, modes and ACLs
    homes.tar.gz       their accounts' homes    }
    SHA256SUMS         of all these
"""

import fcntl
import hashlib
import json
import os
import pwd
import shutil
import subprocess
import time
import urllib.request
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import jupyterhub

from landbridge_hub import database

FORMAT = 1
ARCHIVES = ("folders", "homes")
CHANGED_WHILE_READ = 1
# What has no name yet, or none any more, begins so.
LEFT = ".[0-9]"
# Team folders take less when they are compressed; how much less is not known before.
SPARE = 2**28
START_SECONDS = 120


class BackupError(Exception):
    """A backup cannot be made or restored."""


def make(values, teams, reason, *, files):
    """Make a backup.

    Args:
        values: the node's.
        teams: the node's, as in teams.json.
        reason: why: `asked`, `schedule` or `migration`.
        files: also what the teams have in their folders.

    Returns:
        The backup's directory.

    Raises:
        BackupError: there is no room for it, or a file cannot be read.
    """
    root = Path(values["backups"])
    with alone(root):
        roots = trees(values, teams) if files and teams["accounts"] else {}
        room(root, roots)
        return complete(root, reason, rows(values), teams, roots)


def before_migration(values, teams):
    """Make a backup of what another release is about to change.

    A migration that fails is tried again and again: what has been kept already is not kept anew.
    """
    root = Path(values["backups"])
    with alone(root):
        known = rows(values)
        last = max(root.glob("[!.]*-migration/hub.json"), default=None)
        if last and known.items() <= json.loads(last.read_bytes()).items():
            return
        room(root, {})
        complete(root, "migration", known, teams, {})


def rows(values):
    """The database's schema and its rows."""
    with database.engine_of(values) as engine:
        return {"revision": database.revision_of(engine), "tables": database.dump(engine)}


def complete(root, reason, known, teams, roots):
    """Write a backup, which gets its name when it is whole."""
    now = datetime.now(UTC)
    content = {
        "format": FORMAT,
        "jupyterhub": jupyterhub.__version__,
        "made": now.isoformat(timespec="seconds"),
        "reason": reason,
        "teams": teams["accounts"],
        "files": bool(roots),
        **known,
    }
    final = root / f"{now:%Y-%m-%dT%H%M%S.%fZ}-{reason}"
    work = root / f".{final.name}"
    work.mkdir(mode=0o700)
    try:
        write(work / "hub.json", json.dumps(content).encode())
        for name, places in roots.items():
            pack(work / f"{name}.tar.gz", places)
        sums = "".join(f"{digest(each)}  {each.name}\n" for each in sorted(work.iterdir()))
        write(work / "SHA256SUMS", sums.encode())
        sync(work)
        work.replace(final)
    except BaseException:
        shutil.rmtree(work)
        raise
    sync(root)
    return final


@contextmanager
def alone(root):
    """One process at a time works in a directory; what a killed one has left there is removed."""
    descriptor = os.open(root, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        for left in root.glob(f"{LEFT}*"):
            shutil.rmtree(left)
        yield
    finally:
        os.close(descriptor)


def prune(values, keep):
    """Remove scheduled backups but for the newest `keep`."""
    root = Path(values["backups"])
    with alone(root):
        for old in sorted(root.glob("[!.]*-schedule"))[:-keep]:
            # Without its name first: half a backup must not look like one.
            shutil.rmtree(old.rename(old.with_name(f".{old.name}")))


def trees(values, teams):
    """By archive, the directories that it holds."""
    accounts = teams["accounts"]
    folders = [Path(team["folder"]) for team in accounts.values()]
    homes = [Path(values["team_homes"], account) for account in accounts]
    return {"folders": present(folders), "homes": present(homes)}


def present(places):
    """Those that are there; a server makes its home at its first start."""
    return [place for place in places if place.is_dir()]


def room(root, roots):
    """Be sure that a backup fits where it is to be."""
    needed = SPARE + sum(size(place) for places in roots.values() for place in places)
    free = shutil.disk_usage(root).free
    if free < needed:
        raise BackupError(
            f"{root} has {free // 2**20} MB free, and the backup may take {needed // 2**20} MB: "
            "make room, or name another jupyterhub_backup_folder"
        )


def size(place):
    """Bytes of the files below a directory."""
    done = subprocess.run(
        ["du", "--summarize", "--block-size=1", "--", place], stdout=subprocess.PIPE, check=True
    )
    return int(done.stdout.split()[0])


def pack(archive, places):
    """Write directories, each under its own name, into an archive."""
    arguments = [word for place in places for word in ("-C", str(place.parent), place.name)]
    if not arguments:
        arguments = ["--files-from", "/dev/null"]
    command = ["tar", "--create", "--gzip", "--acls", f"--file={archive}", *arguments]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
    # A file that somebody works on is as it was at one moment or the next.
    if done.returncode not in (0, CHANGED_WHILE_READ):
        raise BackupError(f"tar: {done.stderr.strip()}")
    sync(archive)


def read(backup):
    """What a backup holds, checked.

    Raises:
        BackupError: it is not one, it is not whole, or of a release with another schema.
    """
    try:
        for line in (backup / "SHA256SUMS").read_text().splitlines():
            known, name = line.split("  ", 1)
            if digest(backup / name) != known:
                raise BackupError(f"{backup / name} is not as it was written: take another backup")
        content = json.loads((backup / "hub.json").read_bytes())
    except (OSError, ValueError) as error:
        raise BackupError(f"{backup} is no backup of a hub: {error}") from error
    if content["format"] != FORMAT:
        raise BackupError(f"{backup} has format {content['format']}; this release reads {FORMAT}")
    if content["revision"] != database.head():
        raise BackupError(
            f"{backup} has the schema of JupyterHub {content['jupyterhub']}, and this is "
            f"{jupyterhub.__version__}: make that release current, restore, and upgrade then"
        )
    return content


def restore(values, teams, backup):
    """Put back what a backup holds; the hub is stopped meanwhile.

    Args:
        values: the node's.
        teams: the node's, as in teams.json.
        backup: the directory.

    Returns:
        Where the teams' folders of before are now.

    Raises:
        BackupError: it is not whole, servers run, or a team is not on this node.
    """
    content = check(teams, backup)
    idle()
    with unpacked(values, backup, content) as trees_of_backup:
        systemctl("stop", "landbridge-hub.service")
        try:
            # Somebody may have started one while files were unpacked.
            idle()
            database.load(values, content["tables"])
            kept = [old for root, tree in trees_of_backup for old in exchange(tree, root)]
        finally:
            systemctl("start", "landbridge-hub.service")
    answers(values["hub_port"])
    return kept


def idle():
    """Be sure that nobody's server runs."""
    if running := servers():
        raise BackupError(
            f"servers run ({', '.join(running)}): stop them first with landbridge drain --now"
        )


def answers(port):
    """Wait until the hub is well."""
    # It is on this node: a proxy of the environment has no part in it.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            opener.open(f"http://127.0.0.1:{port}/hub/health", timeout=5).close()
            return
        except OSError as error:
            if time.monotonic() > deadline:
                raise BackupError(
                    f"everything is restored, and the hub does not answer after {START_SECONDS} s "
                    f"({error}): see journalctl -u landbridge-hub"
                ) from error
        time.sleep(1)


def check(teams, backup):
    """What a backup holds, where it can be restored on this node."""
    content = read(backup)
    missing = [
        team["name"]
        for account, team in content["teams"].items()
        if content["files"] and (account not in teams["accounts"] or not exists(account))
    ]
    if missing:
        raise BackupError(
            f"the backup has files of teams that are not on this node: {', '.join(missing)}; "
            "add them to jupyterhub_teams, and converge first"
        )
    return content


@contextmanager
def unpacked(values, backup, content):
    """The teams' files, unpacked beside those that they are to replace.

    Gives:
        Pairs of the directory where a tree belongs, and the tree.
    """
    roots = {"folders": Path(values["team_folders"]), "homes": Path(values["team_homes"])}
    places = {name: root / ".restored" for name, root in roots.items()}
    found = []
    try:
        for name in ARCHIVES if content["files"] else ():
            # One that was killed has left its own.
            shutil.rmtree(places[name], ignore_errors=True)
            places[name].mkdir(mode=0o700)
            command = ["tar", "--extract", "--acls", "--same-owner", "--preserve-permissions"]
            command += [f"--file={backup / f'{name}.tar.gz'}", f"--directory={places[name]}"]
            subprocess.run(command, check=True)
            found += [(roots[name], tree) for tree in sorted(places[name].iterdir())]
        yield found
    finally:
        for place in places.values():
            shutil.rmtree(place, ignore_errors=True)


def exchange(tree, root):
    """Put a tree in its place; what was there keeps a name of its own, which is returned."""
    place = root / tree.name
    kept = []
    if place.exists():
        old = place.with_name(f"{tree.name}.before-{datetime.now(UTC):%Y-%m-%dT%H%M%SZ}")
        place.rename(old)
        kept.append(str(old))
    tree.rename(place)
    relabel(place)
    return kept


def relabel(tree):
    """Give files the SELinux labels of their place, on a node that has them."""
    if Path("/sys/fs/selinux/enforce").exists():
        subprocess.run(["restorecon", "-R", tree], check=True)


def servers():
    """The units of servers that run."""
    command = ["systemctl", "list-units", "--plain", "--no-legend", "--state=active,activating"]
    done = subprocess.run(
        [*command, "jupyter-*-singleuser*.service"], stdout=subprocess.PIPE, text=True, check=True
    )
    return [line.split()[0] for line in done.stdout.splitlines()]


def systemctl(verb, unit):
    """Stop or start a unit."""
    subprocess.run(["systemctl", verb, unit], check=True)


def exists(account):
    """Whether the node knows an account."""
    try:
        return bool(pwd.getpwnam(account))
    except KeyError:
        return False


def digest(path):
    """A file's SHA-256."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write(path, data):
    """A file that is on the disk when this returns."""
    path.write_bytes(data)
    sync(path)


def sync(path):
    """Have a file or a directory on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
