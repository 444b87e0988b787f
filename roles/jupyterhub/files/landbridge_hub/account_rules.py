"""Which accounts of the node are whose, and how units are called after them."""

import re

NAME = re.compile(r"[a-z_][a-z0-9_.-]{0,31}")
# Below are the node's own accounts; above, what systemd makes up and `nobody`.
FIRST, RESERVED = 1000, range(61184, 65536)
# By this the accounts that the hub has made are told from others.
COMMENT = "Landbridge user"


class RefusedError(Exception):
    """A name that no server may run as."""


def judge(account, made):
    """Refuse an account that is no user's, or not the hub's own where it makes them.

    Args:
        account: as the node's name services have it.
        made: whether the hub makes its users' accounts.

    Raises:
        RefusedError: it is refused.
    """
    if account.pw_uid < FIRST or account.pw_uid in RESERVED:
        raise RefusedError("the account of that name is the system's")
    if made and account.pw_gecos.split(",")[0] != COMMENT:
        raise RefusedError("the account of that name is somebody's whom the hub does not know")


def instance(name):
    """A name as systemd escapes it in the names of units."""
    return "".join(
        letter
        if re.fullmatch(r"[A-Za-z0-9:_.]", letter) and (place or letter != ".")
        else "".join(f"\\x{byte:02x}" for byte in letter.encode())
        for place, letter in enumerate(name)
    )
