"""Every RPM name in roles, variables and shipped stacks is a real Enterprise Linux name."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DATA = Path(__file__).parent / "data"
PACKAGE_MODULES = {"ansible.builtin.dnf", "ansible.builtin.package", "ansible.builtin.dnf5"}
# A name that only Debian has: proof that the test can fail.
DEBIAN_NAME = "libzmq3-dev"


def real_names() -> set[str]:
    names = set()
    for file in DATA.glob("el*-packages*.txt"):
        lines = file.read_text().splitlines()
        names |= {line.split("|")[0].strip() for line in lines if not line.startswith("#")}
    return names


def package_tasks(tasks: Any) -> Iterator[dict[str, Any]]:
    """Every task with a package module, inside blocks as well."""
    for task in tasks or []:
        for key in ("block", "rescue", "always"):
            yield from package_tasks(task.get(key))
        for module in PACKAGE_MODULES & task.keys():
            yield task[module]


def role_variables(role: Path) -> dict[str, list[Any]]:
    """Each variable of the role with every value that defaults or vars give it."""
    values: dict[str, list[Any]] = {}
    for file in [*role.glob("defaults/*.yml"), *role.glob("vars/*.yml")]:
        for name, value in (yaml.safe_load(file.read_text()) or {}).items():
            values.setdefault(name, []).append(value)
    return values


def names_in(value: Any, variables: dict[str, list[Any]], seen: frozenset[str]) -> Iterator[str]:
    """Package names that a value can come to; the role's own variables are followed.

    Their paths and patterns are no names.
    """
    if isinstance(value, list):
        for item in value:
            yield from names_in(item, variables, seen)
    elif isinstance(value, str) and "{{" in value:
        for name in set(re.findall(r"\b[a-z_][a-z0-9_]*\b", value)) & variables.keys() - seen:
            for each in variables[name]:
                yield from names_in(each, variables, seen | {name})
    elif isinstance(value, str) and value and not value.startswith(("/", "^")):
        yield value


def names_of_roles() -> Iterator[tuple[str, str]]:
    for role in sorted(p for p in (ROOT / "roles").iterdir() if p.is_dir()):
        variables = role_variables(role)
        for file in sorted([*role.glob("tasks/**/*.yml"), *role.glob("handlers/*.yml")]):
            for arguments in package_tasks(yaml.safe_load(file.read_text())):
                for name in names_in(arguments.get("name"), variables, frozenset()):
                    yield str(file.relative_to(ROOT)), name


def names_of_stacks() -> Iterator[tuple[str, str]]:
    for file in sorted((ROOT / "stacks").glob("*.yml")):
        rpm = yaml.safe_load(file.read_text()).get("rpm", {})
        wanted = [*rpm.get("packages", [])] if isinstance(rpm, dict) else []
        for extra in rpm.get("packages_for", {}).values():
            wanted += extra
        for name in wanted:
            yield str(file.relative_to(ROOT)), name


def test_the_lists_know_el_names_and_no_debian_name() -> None:
    assert {"podman", "R-core", "python3-libselinux"} <= real_names()
    assert DEBIAN_NAME not in real_names()


@pytest.mark.parametrize("origin", [names_of_roles, names_of_stacks])
def test_every_rpm_name_is_real(origin: Any) -> None:
    found = list(origin())
    assert found, "no package name was found: the reader of roles or stacks is broken"
    wrong = [f"{file}: {name}" for file, name in found if name not in real_names()]
    assert not wrong, "not Enterprise Linux names (add a sourced line to data/ if they are): " + (
        ", ".join(wrong)
    )


def test_a_debian_name_in_a_variable_is_found() -> None:
    task = {"name": "{{ r_packages_rpm }}"}
    names = list(names_in(task["name"], {"r_packages_rpm": [["R-core", DEBIAN_NAME]]}, frozenset()))
    assert DEBIAN_NAME in names
