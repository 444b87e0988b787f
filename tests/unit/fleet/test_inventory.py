"""Inventories edited as text: what is not said to change stays byte for byte."""

from pathlib import Path

import pytest
import yaml

from landbridge.content import content_root
from landbridge.errors import InputError
from landbridge.fleet import inventory

EXAMPLE = (content_root() / "inventories/example/hosts.yml").read_text()


def lines_added(old: str, new: str) -> list[str]:
    """The lines of `new` that `old` has not; all of `old` must be there, in order."""
    rest, added = iter(old.splitlines()), []
    expected = next(rest, None)
    for line in new.splitlines():
        if line == expected:
            expected = next(rest, None)
        else:
            added.append(line)
    assert expected is None
    return added


def test_a_host_is_added_and_nothing_else_is_touched() -> None:
    new = inventory.add(EXAMPLE, "hub2", ["hub"], {"ansible_host": "10.0.0.7", "ansible_port": 22})
    assert lines_added(EXAMPLE, new) == [
        "        hub2:",
        "          ansible_host: 10.0.0.7",
        "          ansible_port: 22",
    ]
    assert inventory.remove(new, "hub2") == EXAMPLE


def test_several_groups_of_which_one_is_new() -> None:
    new = inventory.add(EXAMPLE, "n5", ["compute", "gpu"], {"a": 1})
    children = yaml.safe_load(new)["all"]["children"]
    assert children["compute"]["hosts"]["n5"] == {"a": 1}
    assert children["gpu"]["hosts"] == {"n5": None}
    assert inventory.hosts(new)[-1] == "serving2.example.org"
    without = inventory.remove(new, "n5")
    assert lines_added(EXAMPLE, without) == ["    gpu:", "      hosts:"]


@pytest.mark.parametrize(
    ("text", "groups", "wanted"),
    [
        ("", [], {"all": {"hosts": {"new": None}}}),
        ("---\n# nobody yet\n", ["hub"], {"all": {"children": {"hub": {"hosts": {"new": None}}}}}),
        ("hub:\n", ["hub"], {"hub": {"hosts": {"new": None}}}),
        ("hub:\n  vars: {a: 1}", ["hub"], {"hub": {"hosts": {"new": None}, "vars": {"a": 1}}}),
        ("all:\n  hosts:  # none\n", [], {"all": {"hosts": {"new": None}}}),
        (
            "all:\n  children:\n    hub:\n      vars: {a: 1}\n",
            ["x"],
            {"all": {"children": {"x": {"hosts": {"new": None}}, "hub": {"vars": {"a": 1}}}}},
        ),
    ],
)
def test_files_that_lack_the_place(text: str, groups: list[str], wanted: object) -> None:
    assert yaml.safe_load(inventory.add(text, "new", groups, {})) == wanted


SECRET = """\
all:
  hosts:
    # the first
    one:
      password: !vault |
        $ANSIBLE_VAULT;1.1;AES256
        6162

    # the second
    two: {port: 22}  # kept
  vars:
    list:
    - a
"""


@pytest.mark.parametrize("name", ["one", "two"])
def test_a_host_with_a_secret_goes_with_its_lines(name: str) -> None:
    left = inventory.remove(SECRET, name)
    other = {"one": "two", "two": "one"}[name]
    assert inventory.hosts(left) == [other]
    assert "# the first" in left
    assert "# the second" in left
    assert ("VAULT" in left) == (name == "two")
    assert "    list:\n    - a\n" in left


@pytest.mark.parametrize(
    ("name", "groups", "said"),
    [
        ("hub1.example.org", ["hub"], "is in group hub already"),
        ("compute3.example.org", [], "is in group compute already"),
        ("a b", [], "no name of a host"),
        ("ok", ["not-a-group"], "no name of a group"),
    ],
)
def test_what_cannot_be_added(name: str, groups: list[str], said: str) -> None:
    with pytest.raises(InputError, match=said):
        inventory.add(EXAMPLE, name, groups, {})


@pytest.mark.parametrize(
    ("name", "said"), [("compute3.example.org", r"written as compute\[1:4\]"), ("x", "not in it")]
)
def test_what_cannot_be_removed(name: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        inventory.remove(EXAMPLE, name)


@pytest.mark.parametrize(
    "text", ["all: {hosts: {a: }}\n", "all:\n  hosts: {}\n", "- a\n", "all:\n\thosts:\n"]
)
def test_what_cannot_be_edited_safely_is_refused_by_name(tmp_path: Path, text: str) -> None:
    file = tmp_path / "hosts.yml"
    file.write_text(text)
    with pytest.raises(InputError) as caught:
        inventory.edited(file, lambda old: inventory.add(old, "new", [], {}))
    assert str(file) in caught.value.message
    assert caught.value.mend


def test_the_file_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "group_vars").mkdir()
    (tmp_path / "hosts.yml").write_text("all:\n")
    assert inventory.file_of(tmp_path) == tmp_path / "hosts.yml"
    (tmp_path / "more.yaml").write_text("all:\n")
    with pytest.raises(InputError, match=r"hosts\.yml, more\.yaml"):
        inventory.file_of(tmp_path)
    with pytest.raises(InputError, match="no such inventory"):
        inventory.file_of(tmp_path / "no")


def test_the_mode_of_the_file_stays(tmp_path: Path) -> None:
    file = tmp_path / "hosts.yml"
    file.write_text("all:\n")
    file.chmod(0o640)
    inventory.write(file, "all:\n  hosts:\n")
    assert file.stat().st_mode & 0o777 == 0o640
    assert [p.name for p in tmp_path.iterdir()] == ["hosts.yml"]
