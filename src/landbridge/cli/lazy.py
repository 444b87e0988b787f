"""Verbs that are imported when they are asked for, so that each starts with what it needs."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup


def group(help: str, verbs: Mapping[str, tuple[str, str]], **settings: Any) -> typer.Typer:
    """A group of verbs, which lists them without importing them.

    Args:
        help: of the group.
        verbs: for each name where it is, and its line in the group's help, the first one of its
            own. A place is `module:attribute` in this package; the attribute is a command's
            function or, for a verb with sub-verbs, a Typer.
        settings: further ones of `typer.Typer`.
    """

    class Lazy(TyperGroup):
        def resolve_command(self, ctx: Any, args: list[str]) -> Any:
            name, _, rest = super().resolve_command(ctx, args)
            return name, _load(name, verbs[name][0]) if name else None, rest

    app = typer.Typer(help=help, cls=Lazy, no_args_is_help=True, **settings)
    for name, (_, line) in verbs.items():
        app.add_typer(typer.Typer(), name=name, help=line)
    return app


def _load(name: str, place: str) -> Any:
    """The command itself, made as if it had been in the group from the start."""
    module, _, attribute = place.partition(":")
    found = getattr(import_module(f"landbridge.cli.{module}"), attribute)
    alone = typer.Typer()
    if isinstance(found, typer.Typer):
        alone.add_typer(found, name=name)
    else:
        alone.command(name)(found)
    return typer.main.get_group(alone).commands[name]
