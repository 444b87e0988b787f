"""Licence statements: which licences they name, and which choices they leave."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

# Takes all names of one licence.
Test = Callable[[Iterable[str]], bool]


def passes(statement: str, test: Test) -> bool:
    """Whether a statement leaves a choice of which every licence passes.

    SPDX expressions part choices with OR, R's own notation with `|` (Writing R Extensions,
    1.1.2). What is neither counts as one licence of that name.

    Args:
        statement: as the source states it, not empty.
        test: is given a licence's id, older ids of the same, and the id with its exception.
    """
    choices = (words.strip() for words in statement.split("|"))
    return any(_choice_passes(words, test) for words in choices if words)


def _choice_passes(words: str, test: Test) -> bool:
    licensing = _licensing()

    def holds(node: Any) -> bool:
        if isinstance(node, licensing.OR):
            return any(holds(one) for one in node.args)
        if isinstance(node, licensing.AND):
            return all(holds(one) for one in node.args)
        return test(_names(node))

    words = re.sub(r"\s*\+\s*file LICEN[CS]E$", "", words)
    try:
        parsed = licensing.parse(words)
    # Free text makes the parser stumble in many ways, not only in the one it documents.
    except Exception:
        return test([words])
    return test([words]) if parsed is None else holds(parsed)


@cache
def _licensing() -> Any:
    """The parser with SPDX's ids; not installed on nodes, which judge no licences."""
    from license_expression import get_spdx_licensing  # type: ignore[import-untyped]  # noqa: PLC0415

    return get_spdx_licensing()


def _names(node: Any) -> list[str]:
    base = getattr(node, "license_symbol", node)
    older = (alias for alias in base.aliases if not alias.startswith("LicenseRef-"))
    return [base.key, *older, node.render()]
