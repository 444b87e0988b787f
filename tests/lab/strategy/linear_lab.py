"""Ansible's linear strategy, with less work for a machine that runs several stories at once.

Ansible forks a process for each task of each host, and much of what that does is done anew each
time: filters are loaded, templates compiled, garbage looked for in what was there before the fork.
"""

from __future__ import annotations

import gc
import hashlib
import marshal
import os
import sys
from pathlib import Path
from types import CodeType
from typing import Any

import ansible.release
import jinja2
from ansible._internal._templating import _jinja_bits
from ansible.plugins.strategy import linear
from ansible.template import Templar, trust_as_template

_VERSIONS = (sys.version, ansible.release.__version__, jinja2.__version__)
_FOLDER = Path(os.environ["LANDBRIDGE_LAB_TEMPLATES"])
_Environment = _jinja_bits.AnsibleEnvironment
_compile, _compile_expression = _Environment.compile, _Environment.compile_expression


def _remembered(self: Any, source: Any, *words: Any, **named: Any) -> CodeType:
    """Code of a template as it was compiled once. Nothing is evaluated by compiling: Ansible has
    switched Jinja's optimizer off, so the code follows from the text and the settings alone."""
    text = source if isinstance(source, str) else getattr(self, "lab_expression", None)
    if text is None:
        return _compile(self, source, *words, **named)  # type: ignore[no-any-return]
    context = _jinja_bits._TemplateCompileContext.current(optional=True)
    settings = (
        *(self.variable_start_string, self.variable_end_string, self.block_start_string),
        *(self.block_end_string, self.comment_start_string, self.comment_end_string),
        *(self.line_statement_prefix, self.line_comment_prefix, self.newline_sequence),
        *(self.trim_blocks, self.lstrip_blocks, self.keep_trailing_newline),
        getattr(context, "escape_backslashes", None),
    )
    what = (_VERSIONS, type(source).__name__, str(text), settings, words, sorted(named.items()))
    file = _FOLDER / hashlib.blake2b(repr(what).encode(), digest_size=16).hexdigest()
    try:
        return marshal.loads(file.read_bytes())  # type: ignore[no-any-return]  # noqa: S302
    except FileNotFoundError:
        code: CodeType = _compile(self, source, *words, **named)
    new = file.with_suffix(f".{os.getpid()}")
    new.write_bytes(marshal.dumps(code))
    new.replace(file)
    return code


def _told(self: Any, source: str, *words: Any, **named: Any) -> Any:
    """What is compiled is then a tree, which does not say its text."""
    self.lab_expression = source
    try:
        return _compile_expression(self, source, *words, **named)
    finally:
        self.lab_expression = None


_FOLDER.mkdir(parents=True, exist_ok=True)
_Environment.compile, _Environment.compile_expression = _remembered, _told


class StrategyModule(linear.StrategyModule):  # type: ignore[misc]
    """The name under which Ansible looks for it."""

    def run(self, iterator: Any, play_context: Any) -> Any:
        """Do once what each fork would do."""
        words = trust_as_template("{{ ['a'] | select('match', 'a') | list }}")
        Templar(loader=self._loader).template(words)
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 50, 50)
        return super().run(iterator, play_context)
