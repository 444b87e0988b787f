"""`python -m tests.lab COMMAND`: the lab's commands, each in a module of its own.

A command is a module of this package with `register(subparsers)`, which adds its parser and sets
`run` on it: `parser.set_defaults(run=function)`, where `function(arguments)` returns the exit code.
"""

from __future__ import annotations

import argparse
import importlib
import sys

from landbridge.errors import LandbridgeError

# Command: the module that registers it.
COMMANDS = {
    "build": "build",
    "upstreams": "upstreams",
    "node": "nodes_cli",
    "down": "nodes_cli",
    "clean": "nodes_cli",
    "bundle": "bundle",
    "authority": "authority",
    "demo": "demo",
}


def parser(command: str = "") -> argparse.ArgumentParser:
    """The parser with `command`, so that only its module is loaded; with all if it names none."""
    top = argparse.ArgumentParser(prog="python -m tests.lab", description=__doc__.split("\n")[0])
    subparsers = top.add_subparsers(title="commands", required=True, metavar="COMMAND")
    modules = [COMMANDS[command]] if command in COMMANDS else COMMANDS.values()
    for name in dict.fromkeys(modules):
        importlib.import_module(f"{__package__}.{name}").register(subparsers)
    return top


def main() -> int:
    """Run one command; errors of the toolkit's family become one message and their exit code."""
    arguments = parser(sys.argv[1] if len(sys.argv) > 1 else "").parse_args()
    try:
        return int(arguments.run(arguments) or 0)
    except LandbridgeError as error:
        print(error, file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
