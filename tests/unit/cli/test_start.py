"""A verb starts with what it needs: nothing else is imported, and help is listed all the same."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from landbridge.cli.main import app

# Each is slow to import, and of no use to a bundle that is only read.
HEAVY = {"ansible_runner", "httpx", "landbridge.lock", "landbridge.stack", "pytest", "yaml"}
LIGHT = ["landbridge.cli." + name for name in ("main", "bundle", "depot", "delta", "sign")]


def imported(code: str, *arguments: str | Path) -> set[str]:
    """All modules that a Python of its own has imported once it has run `code`."""
    code = f"import sys\nsys.argv = ['landbridge', *sys.argv[1:]]\n{code}\nprint(*sys.modules)"
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


def test_verbs_of_finished_bundles_import_nothing_heavy() -> None:
    found = imported(f"import {', '.join(LIGHT)}")
    assert set(LIGHT) <= found
    # Typer may import pydantic itself, once it makes a command of a function.
    assert not found & {*HEAVY, "pydantic"}


RUN = """
from landbridge.cli.main import main
try:
    main()
except SystemExit:
    pass
"""


@pytest.mark.parametrize(
    ("verb", "module"),
    [
        (("bundle", "verify"), "landbridge.bundle.verify"),
        (("bundle", "split", "--volume-size=1M", "--output=v"), "landbridge.bundle.volumes"),
        (("depot", "list", "--depot"), "landbridge.depot.releases"),
    ],
)
def test_a_run_imports_its_verb_alone(tmp_path: Path, verb: tuple[str, ...], module: str) -> None:
    found = imported(RUN, *verb, tmp_path / "none")
    assert module in found
    assert not found & HEAVY
    assert "landbridge.cli.apply" not in found


def test_a_lock_is_checked_without_what_resolves(tmp_path: Path) -> None:
    found = imported(RUN, "lock", tmp_path / "stack.yml", "--check")
    assert "landbridge.lock_file" in found
    assert not found & {"httpx", "landbridge.ecosystems", "pytest"}


def every(group: Any) -> Iterator[tuple[Any, Any]]:
    """Each verb as its group lists it, and the verb itself."""
    context = typer.Context(group)
    for name, listed in group.commands.items():
        _, verb, _ = group.resolve_command(context, [name])
        yield listed, verb
        if hasattr(verb, "commands"):
            yield from every(verb)


def test_verbs_are_listed_with_the_first_line_of_their_own_help() -> None:
    verbs = list(every(typer.main.get_command(app)))
    assert {"apply", "build", "verify", "receive"} <= {verb.name for _, verb in verbs}
    for listed, verb in verbs:
        assert listed.name == verb.name
        assert listed.help.split("\n\n")[0] == verb.help.split("\n\n")[0]
