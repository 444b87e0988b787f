"""Ansible that does less anew in each of its forks (tests/lab/strategy)."""

from __future__ import annotations

from pathlib import Path

from tests.lab import paths

STRATEGIES = Path(__file__).parent / "strategy"


def environment(strategy: str) -> dict[str, str]:
    """Variables that make Ansible use a strategy of the lab's, `linear_lab` or `mitogen_lab`."""
    return {
        "ANSIBLE_STRATEGY": strategy,
        "ANSIBLE_STRATEGY_PLUGINS": str(STRATEGIES),
        "LANDBRIDGE_LAB_TEMPLATES": str(paths.cache() / "templates"),
    }
