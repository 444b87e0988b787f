"""The cache: what is made once, kept by content, and never half there."""

from pathlib import Path

import pytest

from tests.lab import paths


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LANDBRIDGE_LAB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_the_key_follows_the_content_of_files_and_the_order_of_inputs(tmp_path: Path) -> None:
    file = tmp_path / "input"
    file.write_text("a")
    first = paths.key(file, "b")
    assert first == paths.key("a", "b")
    assert first != paths.key("ab")
    assert first != paths.key("b", "a")
    file.write_text("c")
    assert first != paths.key(file, "b")


def test_a_product_is_made_once_and_older_keys_go() -> None:
    made = []

    def make(to: Path) -> None:
        made.append(to)
        (to / "file").write_text(str(len(made)))

    first = paths.product("thing", "k1", make)
    assert paths.product("thing", "k1", make) == first
    assert len(made) == 1
    second = paths.product("thing", "k2", make)
    assert (second / "file").read_text() == "2"
    assert not first.exists()


def test_a_failed_product_leaves_nothing(cache: Path) -> None:
    def fail(to: Path) -> None:
        (to / "half").write_text("")
        raise RuntimeError("disk full")

    with pytest.raises(RuntimeError, match="disk full"):
        paths.product("thing", "k", fail)
    assert list((cache / "thing").iterdir()) == []
