"""`node ...`, `down` and `clean`."""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

from tests.lab import nodes, paths
from tests.lab.platforms import PLATFORMS


def register(subparsers: Any) -> None:
    """Add the commands."""
    node = subparsers.add_parser("node", help="create, use and destroy nodes")
    verbs = node.add_subparsers(required=True, metavar="VERB")
    _create_parser(verbs)
    for verb, run, summary in (
        ("destroy", _destroy, "delete nodes with everything on them"),
        ("restart", _restart, "reboot nodes, which may change their addresses"),
        ("show", _show, "print how to reach nodes as JSON, a line each"),
        ("ssh-config", _ssh_config, "print an ssh configuration"),
    ):
        parser = verbs.add_parser(verb, help=summary)
        parser.add_argument("names", nargs="+", metavar="NAME")
        parser.set_defaults(run=run)
    parser = verbs.add_parser("list", help="names of the nodes there are")
    parser.set_defaults(run=_list)
    parser = verbs.add_parser("packets", help="how many packets a node meant for outside")
    parser.add_argument("name")
    parser.set_defaults(run=_packets)
    parser = verbs.add_parser("exec", help="run a command on a node as root")
    parser.add_argument("name")
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="-- COMMAND")
    parser.set_defaults(run=_exec)
    parser = subparsers.add_parser("down", help="delete all nodes and end the holder")
    parser.set_defaults(run=_down)
    parser = subparsers.add_parser("clean", help="down, and delete the cache")
    parser.set_defaults(run=_clean)


def _create_parser(verbs: Any) -> None:
    parser = verbs.add_parser("create", help="boot a node")
    parser.add_argument("name")
    parser.add_argument("platform", choices=list(PLATFORMS))
    parser.add_argument("--bundle", type=Path, help=f"mounted read-only at {nodes.BUNDLE_MOUNT}")
    parser.add_argument("--image", help="an image other than the lab's, with systemd in it")
    parser.set_defaults(run=_create)


def _create(arguments: argparse.Namespace) -> int:
    with paths.stage(f"boot {arguments.name} ({arguments.platform})"):
        node = nodes.create(arguments.name, arguments.platform, arguments.bundle, arguments.image)
    print(f"{node.name} {node.host}")
    return 0


def _destroy(arguments: argparse.Namespace) -> int:
    nodes.destroy(*arguments.names)
    return 0


def _restart(arguments: argparse.Namespace) -> int:
    for name in arguments.names:
        node = nodes.restart(name)
        print(f"{node.name} {node.host}")
    return 0


def _show(arguments: argparse.Namespace) -> int:
    for name in arguments.names:
        print(json.dumps(nodes.find(name).as_dict()))
    return 0


def _list(_: argparse.Namespace) -> int:
    print("\n".join(nodes.listing()))
    return 0


def _packets(arguments: argparse.Namespace) -> int:
    print(nodes.packets(arguments.name))
    return 0


def _ssh_config(arguments: argparse.Namespace) -> int:
    print(nodes.ssh_config(*arguments.names))
    return 0


def _exec(arguments: argparse.Namespace) -> int:
    command = arguments.command[1:] if arguments.command[:1] == ["--"] else arguments.command
    return nodes.execute(arguments.name, command)


def _down(_: argparse.Namespace) -> int:
    nodes.down()
    return 0


def _clean(_: argparse.Namespace) -> int:
    nodes.down()
    shutil.rmtree(paths.cache())
    return 0
