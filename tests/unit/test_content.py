from pathlib import Path

import pytest

from landbridge.content import content_root
from landbridge.errors import LandbridgeError


def package(root: Path) -> Path:
    folder = root / "src" / "landbridge"
    folder.mkdir(parents=True)
    return folder


def fill(root: Path) -> Path:
    (root / "roles").mkdir(parents=True)
    (root / "site.yml").touch()
    return root


def test_a_checkout_is_preferred_over_the_wheels_copy(tmp_path: Path) -> None:
    folder = package(tmp_path)
    fill(folder / "content")
    assert content_root(folder) == folder / "content"
    fill(tmp_path)
    assert content_root(folder) == tmp_path


def test_an_installation_without_content_says_where_it_looked(tmp_path: Path) -> None:
    with pytest.raises(LandbridgeError, match=r"site\.yml and roles/") as caught:
        content_root(package(tmp_path))
    assert "wheel" in caught.value.mend


def test_this_checkout_is_found() -> None:
    assert content_root() == Path(__file__).parents[2]
