"""Role pull: what is handed on to a node, and what is refused."""

import importlib.util
from pathlib import Path
from typing import Any

import yaml

from tests.unit.roles.modules import ROLES
from tests.unit.roles.validation import Validation

ON = {
    "pull_enabled": True,
    "landbridge_depot_url": "https://depot/landbridge",
    "pull_report_url": "",
}


def handed_on(variables: dict[str, Any], roles: Path) -> dict[str, Any]:
    file = ROLES / "pull/filter_plugins/landbridge_handed_on.py"
    spec = importlib.util.spec_from_file_location("landbridge_handed_on", file)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: dict[str, Any] = module.FilterModule().filters()["landbridge_handed_on"](
        variables, str(roles)
    )
    return found


def test_a_node_gets_what_roles_document_and_no_permission_for_one_run(tmp_path: Path) -> None:
    spec = {"argument_specs": {"main": {"options": {"a_port": {}}}, "other": {}}}
    (tmp_path / "a/meta").mkdir(parents=True)
    (tmp_path / "a/meta/argument_specs.yml").write_text(yaml.safe_dump(spec))
    variables = {
        "a_port": 1,
        "a_registered": {},
        "ansible_host": "x",
        "landbridge_depot": "/d",
        "landbridge_allow_downgrade": True,
    }
    assert handed_on(variables, tmp_path) == {"a_port": 1, "landbridge_depot": "/d"}


def test_bad_variables_are_named(tmp_path: Path) -> None:
    validation = Validation("pull", {})
    bad = [
        ("pull_source", {"pull_enabled": True}),
        ("pull_depot", {**ON, "pull_depot": "/srv/bundle"}),
        ("pull_report_url", {"pull_report_url": "http://depot/reports"}),
        ("pull_report_user", {"pull_report_user": "n1", "pull_report_password": ""}),
    ]
    good, *said = validation.judge([ON], bad, tmp_path)
    assert good == ""
    for (name, _), text in zip(bad, said, strict=True):
        assert text.startswith(name)
