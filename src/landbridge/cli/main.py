"""Entry point: the verbs, and how an error leaves the program."""

from __future__ import annotations

import sys

from landbridge.cli.lazy import group
from landbridge.errors import LandbridgeError

INTERRUPTED = 130

app = group(
    "A machine-learning stack for RHEL nodes without internet.",
    {
        "apply": (
            "apply:apply",
            "Converge this machine, or the hosts of an inventory: `ansible-playbook site.yml`.",
        ),
        "verify": (
            "verify:verify",
            "Run the host checks on this machine, or on the hosts of an inventory.",
        ),
        "backup": (
            "hub_backup:backup",
            "Make a backup of hubs: their database and, with --files, the teams' folders.",
        ),
        "bundle": ("bundle:app", "Build a bundle where there is internet, check it anywhere."),
        "docker": ("docker:app", "Look at Docker on nodes, before Podman takes its place."),
        "depot": ("depot:app", "Keep releases on this machine, one of them current."),
        "drain": (
            "hub:drain",
            "Close hubs before maintenance: no server starts, idle ones are stopped, busy ones "
            "may end.",
        ),
        "lock": (
            "lock:app",
            "Lock what a stack wants: `landbridge lock STACK` "
            "(see `landbridge lock stack --help`).",
        ),
        "node": (
            "node:app",
            "Add nodes to an inventory once they are proven; remove them.",
        ),
        "nodes": ("pull:nodes", "List what nodes that pull have reported to this depot."),
        "pull": ("pull:pull", "Bring this node to the newest release of its depot, and report."),
        "r": ("r:app", "Hand a lock's R packages to R's own tools."),
        "restore": (
            "hub_backup:restore",
            "Put back what a backup holds, into SQLite or PostgreSQL, whichever the hub has now.",
        ),
        "users": (
            "hub:users",
            "List the users of hubs, their servers and what these use; nothing is changed.",
        ),
        "stack": ("stack:app", "Look at what is wanted."),
    },
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """Run the command line; an error becomes one message on stderr and its exit code."""
    try:
        app()
    except LandbridgeError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(error.exit_code) from error
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(LandbridgeError.exit_code) from error
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        raise SystemExit(INTERRUPTED) from None
