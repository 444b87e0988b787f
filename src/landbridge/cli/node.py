"""`landbridge node`: machines proven before an inventory names them."""

from __future__ import annotations

import json
import tempfile
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from landbridge.cli.lazy import group
from landbridge.cli.options import AsJson, Limit
from landbridge.content import content_root
from landbridge.errors import InputError, NodeError
from landbridge.fleet import inventory as inventories
from landbridge.fleet.probe import MODULE, Seen, seen
from landbridge.run.asked import ask
from landbridge.run.command import Playbook

app = group(
    "Add nodes to an inventory once they are proven; remove them.",
    {
        "add": ("node:add", "Prove a machine, then add it to an inventory."),
        "check": ("node:check", "Prove the nodes of an inventory; nothing is changed."),
        "remove": ("node:remove", "Take a node out of an inventory; the node is left as it is."),
    },
)

Hosts = Annotated[
    Path,
    typer.Option(
        "--inventory", "-i", metavar="PATH", help="The file that lists hosts, or its folder."
    ),
]
Name = Annotated[str, typer.Argument(metavar="NAME", help="What the inventory calls it.")]


def add(
    name: Name,
    *,
    inventory: Hosts,
    groups: Annotated[
        list[str] | None, typer.Option("--group", metavar="GROUP", help="May be repeated.")
    ] = None,
    address: Annotated[
        str | None, typer.Option(help="Where SSH finds it, if not by its name.")
    ] = None,
    variables: Annotated[
        list[str] | None, typer.Option("--var", metavar="KEY=VALUE", help="Of this host.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Prove a machine, then add it to an inventory.

    Proven are SSH, Python, root by sudo, the release, systemd, the clock and free space.
    """
    file = inventories.file_of(inventory)
    values = {**({"ansible_host": address} if address else {}), **_values(variables or [])}
    change = partial(inventories.add, name=name, groups=groups or [], variables=values)
    inventories.edited(file, change)
    with tempfile.TemporaryDirectory(prefix="landbridge-node-") as folder:
        # A second source, so that the groups' variables are those that the node will have.
        more = Path(folder, "node.yml")
        more.write_text(inventories.add("", name, groups or [], values), encoding="utf-8")
        (machine,) = _look("node-add", [inventory, more], name, silent=as_json).values()
    if machine.ok:
        # Read again: somebody may have changed it meanwhile.
        inventories.write(file, inventories.edited(file, change))
    _print({name: machine}, as_json=as_json)
    if not machine.ok:
        raise NodeError(f"{name} is not good: {file} is unchanged", "mend it, and add it again")
    if not as_json:
        typer.echo(f"{file}: {name} is added; converge it, and nothing else, with")
        typer.echo(f"  landbridge apply --inventory {inventory} --limit {name}")
        typer.echo(f"  (ansible-playbook -i {inventory} site.yml --limit {name})")


def check(*, inventory: Hosts, limit: Limit = None, as_json: AsJson = False) -> None:
    """Prove the nodes of an inventory; nothing is changed."""
    machines = _look("node-check", [inventory], limit, silent=as_json)
    _print(machines, as_json=as_json)
    wrong = [name for name, machine in machines.items() if not machine.ok]
    if wrong:
        raise NodeError(f"not good: {', '.join(wrong)}", "see above")


def remove(name: Name, *, inventory: Hosts) -> None:
    """Take a node out of an inventory; the node is left as it is."""
    file = inventories.file_of(inventory)
    inventories.write(file, inventories.edited(file, partial(inventories.remove, name=name)))
    typer.echo(f"{file}: {name} is removed; the node keeps what it has")
    for kept in sorted(file.parent.glob(f"host_vars/{name}*")):
        typer.echo(f"{kept}: nobody reads it any more; remove it by hand")


def _look(verb: str, sources: list[Path], limit: str | None, *, silent: bool) -> dict[str, Seen]:
    first, *more = [source.absolute() for source in sources]
    playbook = Playbook(
        path=content_root() / "playbooks" / "node.yml",
        inventory=first,
        more_inventories=tuple(more),
        limit=limit,
    )
    return seen(*ask(playbook, verb, MODULE, silent=silent))


def _values(texts: list[str]) -> dict[str, Any]:
    """Variables, their values read as YAML: `ansible_port=2222` is a number."""
    found = {}
    for text in texts:
        key, given, value = text.partition("=")
        if not given or not key.isidentifier():
            raise InputError(f"--var {text}: not KEY=VALUE", "name a variable and its value")
        try:
            found[key] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise InputError(f"--var {key}: not YAML: {error}", "quote the value") from error
    return found


def _print(machines: dict[str, Seen], *, as_json: bool) -> None:
    if as_json:
        nodes = {name: {"ok": m.ok, **m.model_dump()} for name, m in machines.items()}
        typer.echo(
            json.dumps({"ok": all(m.ok for m in machines.values()), "nodes": nodes}, indent=2)
        )
    else:
        typer.echo("\n".join(machine.report(name) for name, machine in machines.items()))
