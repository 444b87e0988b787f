"""What a build shows while it runs."""

from __future__ import annotations

import io

import pytest

from landbridge.cli.progress import progress


class Terminal(io.StringIO):
    """A stream that says of itself that it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("kind", [io.StringIO, Terminal])
def test_no_line_shows_credentials(kind: type[io.StringIO]) -> None:
    stream = kind()
    with progress(stream) as (say, tell):
        say("fetch  https://me:word@mirror.example.com/x and https://token@mirror.example.com/y")
        tell(1, 2)
    shown = stream.getvalue().replace("\n", "")
    assert "word" not in shown
    assert "token" not in shown
    assert "mirror.example.com/x" in shown
