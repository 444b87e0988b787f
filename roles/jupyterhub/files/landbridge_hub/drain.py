"""Whether the hub starts servers; `landbridge drain` closes it before maintenance."""

from pathlib import Path

SAID = "No servers are started now, because of maintenance. Try again later."


def closed(file):
    """What users are told while the hub is closed; None while it is open.

    Args:
        file: there while the hub is closed; holds what the administrator tells users.
    """
    try:
        return Path(file).read_text().strip() or SAID
    except FileNotFoundError:
        return None
