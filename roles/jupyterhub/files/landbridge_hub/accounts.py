"""Accounts of the node for users whom a directory or a provider knows; homes for everybody."""

import asyncio
import pwd
from pathlib import Path

import pamela

from landbridge_hub.account_rules import COMMENT, NAME, RefusedError, instance, judge

# No password, so none that ages; a group of its own, whose name nobody else has.
USERADD = ("/usr/sbin/useradd", "--no-create-home", "--user-group", "--key", "PASS_MAX_DAYS=-1")
USERADD += ("--comment", COMMENT, "--shell", "/bin/bash", "--")
one_at_a_time = asyncio.Lock()


async def ensure(name, make):
    """See to it that a user has an account that is theirs.

    Args:
        name: as the directory or the provider says.
        make: whether one that lacks is made; others' accounts are then left alone.

    Raises:
        RefusedError: there is none, it is not for users, or the node's rules refuse it.
    """
    if not NAME.fullmatch(name):
        raise RefusedError("that is no name for an account")
    if not account(name):
        if not make:
            raise RefusedError("the node knows no account of that name")
        async with one_at_a_time:
            failed = None if account(name) else await run(*USERADD, name)
        if failed:
            raise RefusedError(failed)
    judge(account(name), make)
    try:
        # Closed, expired, not for this service: what the site has PAM say of accounts holds.
        await asyncio.to_thread(pamela.check_account, name, service="jupyterhub")
    except pamela.PAMError as error:
        raise RefusedError(str(error)) from error


async def make_home(name):
    """Make an account's home where it lacks; what a user is told if that fails, else None.

    Another unit does it: the hub itself must not write where homes are.
    """
    if not (found := account(name)):
        return f"This node has no account '{name}'."
    if Path(found.pw_dir).is_dir():
        return None
    if await run("systemctl", "start", f"landbridge-home@{instance(name)}.service"):
        return f"Your home directory {found.pw_dir} could not be made."
    return None


def account(name):
    """The account of a name; None where there is none."""
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None


async def run(*command):
    """Run a command; what it said, or that it failed, or None if it did not fail."""
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await process.communicate()
    if process.returncode == 0:
        return None
    return said.decode(errors="replace").strip() or f"{command[0]} failed"
