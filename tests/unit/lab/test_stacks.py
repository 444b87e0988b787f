"""The stacks that the lab builds bundles from."""

from __future__ import annotations

from pathlib import Path

import pytest

from landbridge.stack import Stack, load_stack
from tests.lab import bundle

SOURCES = bundle.ROOT / "stacks" / "sources.example.yml"
STACKS = bundle.STACKS | {"minimal": bundle.STACK}


def loaded(path: Path) -> Stack:
    return load_stack(path, SOURCES)


@pytest.mark.parametrize("name", sorted(STACKS))
def test_a_stack_is_called_after_its_file(name: str) -> None:
    assert loaded(STACKS[name]).name == name == STACKS[name].stem


def test_standard_has_what_minimal_has() -> None:
    standard, minimal = loaded(STACKS["standard"]), loaded(STACKS["minimal"])
    # Found for pbdZMQ by the lock, where R packages are more than IRkernel.
    assert set(minimal.rpm.packages) - {"zeromq-devel"} <= set(standard.rpm.packages)
    assert minimal.rpm.packages_for == standard.rpm.packages_for
    assert set(minimal.r.packages) < set(standard.r.packages)
    for name, environment in minimal.conda.environments.items():
        wanted = standard.conda.environments[name]
        assert set(environment.packages) <= set(wanted.packages)
        assert environment.kernel == wanted.kernel
    assert set(minimal.pypi.packages) <= set(standard.pypi.packages)
    assert minimal.images == standard.images
