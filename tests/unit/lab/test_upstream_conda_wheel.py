"""Wheels become conda packages: names, match specifications, extras, files."""

from __future__ import annotations

from pathlib import Path

import pytest
import rattler
from packaging.requirements import Requirement
from rattler.package import BuildString

from landbridge.errors import SourceError
from tests.lab import upstream_conda_wheel as wheels
from tests.lab.upstream_conda_package import PLACEHOLDER, Package
from tests.unit.lab.wheels import make_wheel


def convert(folder: Path, name: str) -> Package:
    known = wheels.catalogue(folder)
    return wheels.package(known[name], known)


@pytest.mark.parametrize(
    ("requirement", "yes", "no"),
    [
        ("x~=1.4", ["1.4", "1.9"], ["1.3", "2.0"]),
        ("x~=1.4.2", ["1.4.2", "1.4.9"], ["1.4.1", "1.5"]),
        ("x!=1.5,>=1", ["1.4", "1.6"], ["1.5", "0.9"]),
        ("x!=1.5.*,>=1", ["1.4", "1.6"], ["1.5.3"]),
        ("x==1.2.*", ["1.2.7"], ["1.3"]),
        ("x==1.2", ["1.2", "1.2.0"], ["1.2.1"]),
        ("x===1.2", ["1.2"], ["1.2.1"]),
        ("x>=1.0rc1,<2", ["1.0", "1.9"], ["0.9", "2.0"]),
        ("x", ["0.1", "9"], []),
    ],
)
def test_a_match_specification_means_what_the_requirement_means(
    requirement: str, yes: list[str], no: list[str]
) -> None:
    spec = rattler.MatchSpec(wheels.match_spec(Requirement(requirement)))

    def matches(version: str) -> bool:
        return spec.matches(
            rattler.PackageRecord(
                name="x", version=version, build=BuildString("0"), build_number=0, subdir="noarch"
            )
        )

    assert [v for v in [*yes, *no] if matches(v)] == yes


def test_names_are_those_of_conda_forge() -> None:
    given = Requirement("Jupyter-Server>=2")
    assert wheels.match_spec(given) == "jupyter_server >=2"
    assert wheels.conda_name("tzdata") == "python-tzdata"


def test_markers_of_other_platforms_and_extras_that_nobody_asked_for_are_left_out(
    tmp_path: Path,
) -> None:
    requires = (
        'win; sys_platform == "win32"',
        'old; python_version < "3.9"',
        'tests; extra == "test"',
        'here; python_version >= "3.11" and sys_platform == "linux"',
    )
    make_wheel(tmp_path, "top", requires=requires)
    make_wheel(tmp_path, "here")
    assert convert(tmp_path, "top").depends == ["python 3.11.*", "here"]


def test_an_extra_is_replaced_by_what_it_requires_through_further_extras(tmp_path: Path) -> None:
    make_wheel(tmp_path, "top", requires=("schema[format]>=4",))
    make_wheel(
        tmp_path,
        "schema",
        "4.2",
        requires=(
            "always",
            'colours>=1; extra == "format"',
            'schema[more]; extra == "format"',
            'deep; extra == "more"',
            'unwanted; extra == "other"',
        ),
    )
    for name in ("always", "colours", "deep"):
        make_wheel(tmp_path, name)
    found = convert(tmp_path, "top").depends
    assert found == ["python 3.11.*", "colours >=1", "deep", "schema >=4"]


def test_a_requirement_without_a_wheel_is_named(tmp_path: Path) -> None:
    make_wheel(tmp_path, "top", requires=("nowhere>=3",))
    with pytest.raises(SourceError, match=r"top-1\.0.*nowhere>=3"):
        convert(tmp_path, "top")


def test_binary_wheels_state_the_glibc_they_need(tmp_path: Path) -> None:
    tag = "cp311-cp311-manylinux2014_x86_64.manylinux_2_28_x86_64"
    make_wheel(tmp_path, "fast", tag=tag)
    package = convert(tmp_path, "fast")
    assert package.depends == ["python 3.11.*", "__glibc >=2.17"]
    assert (package.subdir, package.noarch) == ("linux-64", None)
    assert "lib/python3.11/site-packages/fast/__init__.py" in package.files


def test_a_wheel_for_a_newer_glibc_than_el9_has_is_refused(tmp_path: Path) -> None:
    make_wheel(tmp_path, "new", tag="cp311-cp311-manylinux_2_39_x86_64")
    with pytest.raises(SourceError, match=r"glibc 2\.39"):
        convert(tmp_path, "new")


def test_files_go_where_conda_wants_them(tmp_path: Path) -> None:
    files = {
        "tool-1.0.data/data/share/jupyter/kernel.json": "{}",
        "tool-1.0.data/scripts/tool-sh": "#!python\nprint(1)\n",
        "tool-1.0.dist-info/entry_points.txt": "[console_scripts]\ntool = tool.cli:main [x]\n",
    }
    make_wheel(tmp_path, "tool", files=files)
    package = convert(tmp_path, "tool")
    assert package.noarch == "python"
    assert package.entry_points == ["tool = tool.cli:main"]
    assert package.license == "MIT"
    assert package.licenses == {"licenses/LICENSE": b"MIT\n"}
    assert "share/jupyter/kernel.json" in package.files
    script = package.files["python-scripts/tool-sh"]
    assert script.data.startswith(f"#!{PLACEHOLDER}/bin/python\n".encode())
    assert script.mode == 0o755
    record = package.files["site-packages/tool-1.0.dist-info/RECORD"].data.decode()
    assert "\ntool-1.0.dist-info/INSTALLER,sha256=" in record


def test_a_binary_wheel_carries_its_commands_as_files(tmp_path: Path) -> None:
    points = "[console_scripts]\nrun-it = fast.cli:app.main\n"
    files = {"fast-1.0.dist-info/entry_points.txt": points}
    make_wheel(tmp_path, "fast", files=files, tag="cp311-cp311-manylinux_2_28_x86_64")
    command = convert(tmp_path, "fast").files["bin/run-it"]
    assert command.mode == 0o755
    assert b"from fast.cli import app\n" in command.data
    assert b"sys.exit(app.main())" in command.data
