"""`python -m tests.lab COMMAND`: the lab's commands, each in a module of its own.

A command is a module of this package with `register(subparsers)`, which adds its parser and sets
`run` on it: `parser.set_defaults(run=function)`, where `function(arguments)` returns the exit code.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path

from landbridge.errors import LandbridgeError

# Modules with `register`; one that does not exist (yet) is not offered.
COMMANDS = ("build", "nodes_cli", "upstreams", "bundle", "demo")


def parser() -> argparse.ArgumentParser:
    """The parser with every command that is present."""
    top = argparse.ArgumentParser(prog="python -m tests.lab", description=__doc__.split("\n")[0])
    subparsers = top.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for name in COMMANDS:
        if Path(__file__).with_name(f"{name}.py").exists():
            importlib.import_module(f"{__package__}.{name}").register(subparsers)
    return top


def main() -> int:
    """Run one command; errors of the toolkit's family become one message and their exit code."""
    arguments = parser().parse_args()
    try:
        return int(arguments.run(arguments) or 0)
    except LandbridgeError as error:
        print(error, file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
