from __future__ import annotations

import json
from pathlib import Path

import pytest

from landbridge.errors import BundleError
from landbridge.lock import Artifact, Part, load_lock, merge


def wheel(name: str, python: str, by: str, entry: str = "") -> Artifact:
    return Artifact(
        ecosystem="pypi",
        name=name,
        version="1",
        targets=[python],
        path=f"pypi/simple/{name}/{name}.whl",
        url=f"file:///{name}.whl",
        sha256="0" * 64,
        size=1,
        required_by=[by],
        index_entry=entry,
    )


def test_one_file_for_two_pythons_is_one_artifact() -> None:
    lock = merge("s", ["el9-x86_64"], [Part([wheel("a", "3.12", "x"), wheel("a", "3.11", "y")])])
    (artifact,) = lock.of("pypi")
    assert artifact.targets == ["3.11", "3.12"]
    assert artifact.required_by == ["x", "y"]


def test_order_of_the_parts_does_not_matter() -> None:
    one, two = Part([wheel("a", "3.11", "x")]), Part([wheel("b", "3.11", "x")])
    assert merge("s", [], [one, two]).dump() == merge("s", [], [two, one]).dump()


def test_a_lock_is_read_back_as_it_was(tmp_path: Path) -> None:
    part = Part([wheel("a", "3.11", "x", "Package: a\nImports: b,\n    c")], {"e": ["a", "b"]})
    lock = merge("s", ["el9-x86_64"], [part])
    (tmp_path / "stack.lock").write_text(lock.dump())
    assert load_lock(tmp_path / "stack.lock") == lock
    assert "index_entry: |" in lock.dump(), "people read it line by line"


@pytest.mark.parametrize("text", ["", "format: 1\nstack: s\ntargets: []\nartifacts: []\n", "a: ["])
def test_a_file_that_is_no_lock_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "stack.lock").write_text(text)
    with pytest.raises(BundleError, match=r"stack\.lock: not a readable lock"):
        load_lock(tmp_path / "stack.lock")


@pytest.mark.parametrize("path", ["../x", "/etc/x", "a/../../x", "", "a\0b"])
def test_a_path_that_leads_out_of_the_bundle_is_refused(tmp_path: Path, path: str) -> None:
    text = merge("s", [], [Part([wheel("a", "3.11", "x")], {}, {"m.xml": "m"})]).dump()
    for inside in ("pypi/simple/a/a.whl", "m.xml"):
        assert inside in text
        (tmp_path / "stack.lock").write_text(text.replace(inside, json.dumps(path)))
        with pytest.raises(BundleError, match="leads out of the bundle"):
            load_lock(tmp_path / "stack.lock")


def test_equal_values_are_written_out_and_not_referred_to() -> None:
    """An alias (`*id001`) would make a line of a diff depend on another one."""
    shared = ["a", "b"]
    text = merge("s", [], [], {"one": shared, "two": shared}).dump()
    assert "*id" not in text
    assert text.count("- a\n") == 2
