"""Role r's validate.yml refuses bad variables, by name and with the mend.

A row of BAD is a variable, a value, and words that the message must have.
"""

from typing import Any

import pytest

from tests.unit.roles.validation import Validation

BUNDLE = {
    "depot": "/depot",
    "target": "el10-x86_64",
    "conda": {"environments": [{"name": "ds", "kernel": "Python"}]},
    "r": {
        "provider": "rpm",
        "environments": [],
        "packages": [{"name": "plumber", "version": "1.2.2", "requires": []}],
        "versions": {"el10-x86_64": ["4.5.0"]},
        "binaries": {},
        "system": {"el10-x86_64": {"run": [], "build": []}},
    },
}
NODE = {"landbridge": BUNDLE, "cacheable": True}
R = Validation("r", NODE)

MODEL = {"name": "credit", "port": 8100, "app": "credit"}
BAD: list[tuple[str, Any, str]] = [
    ("r_versions", [], "add R-core"),
    ("r_versions", ["4.5"], "write x.y.z"),
    ("r_versions", ["4.5.0", "4.5.1"], "each x.y once"),
    ("r_environments", [], "in the same order"),
    ("r_environments", ["no-such-environment"], "run the role conda first"),
    ("r_provider", "conda", "in the same order"),
    ("r_threads", 0, "from 1 on"),
    ("r_jobs", -1, "from 0 on"),
    ("r_keep", -1, "from 0 on"),
    ("r_library_root", "r", "absolute paths"),
    ("r_build", "/build dir", "without spaces"),
    ("r_tmp", "/var/tmp/", "a slash at the end"),
    ("r_kernels", "~/kernels", "absolute paths"),
    ("r_python", "python3", "absolute paths"),
    ("r_ca_bundle", "ca.pem", "absolute paths"),
    ("r_environment", {"A B": "1"}, "letters, digits and _"),
    ("r_environment", {"A": "it's"}, "without line ends"),
    ("r_environment", {"A": "${B}"}, "and $"),
    ("r_services", [MODEL | {"name": "Credit"}], "small letters"),
    ("r_services", [MODEL, MODEL], "each name once"),
    ("r_services", [MODEL | {"port": 80}], "from 1024"),
    ("r_services", [{"name": "credit", "port": 8100}], "none of app and path"),
    ("r_services", [MODEL | {"path": "/srv/credit"}], "both"),
    ("r_services", [{"name": "a", "port": 8100, "path": "/home/alice/a"}], "outside of /home"),
    ("r_services", [{"name": "a", "port": 8100, "path": "a.R"}], "an absolute path"),
    ("r_services", [MODEL | {"r_version": "4.4.0"}], "write one of these versions"),
    ("r_services", [MODEL | {"memory_max": "2 GB"}], "2G or 80%"),
    ("r_services", [MODEL | {"cpu_quota": "1.5"}], "150%"),
    ("r_services", [MODEL | {"tasks_max": 0}], "from 1 on"),
    ("r_services", [MODEL | {"health": "ready"}], "begins with"),
    ("r_services", [MODEL | {"address": "127.0.0.1 --x"}], "an IP address"),
    ("r_services", [MODEL | {"environment": {"a-b": "1"}}], "letters, digits and _"),
    ("r_packages", [], "add it to r.packages"),
    ("r_rstudio_rpm", "/srv/rstudio.rpm", "both files or none"),
    ("r_rstudio_key", "/srv/key.asc", "both files or none"),
    ("r_rstudio_port", 80, "from 1024"),
]
# What a bad value is bad with.
WITH: dict[str, dict[str, Any]] = {
    "r_environments": {"r_provider": "conda"},
    "r_packages": {"r_services": [MODEL]},
}
# Besides the defaults.
GOOD: dict[str, Any] = {
    "r_threads": 8,
    "r_library_root": "/shared/r/el10-x86_64",
    "r_environment": {"MY_SETTING": "a value, and more: 1"},
    "r_services": [
        MODEL | {"memory_max": "80%", "cpu_quota": "150%", "tasks_max": 64, "health": "/ready?a=1"},
        {"name": "b", "port": 8101, "path": "/srv/b", "address": "::1", "r_version": "4.5.0"},
    ],
    "r_rstudio_rpm": "/srv/rstudio.rpm",
    "r_rstudio_key": "/srv/key.asc",
}


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What is said of the defaults, of GOOD, and of each row of BAD."""
    bad = [
        (variable, {variable: value} | WITH.get(variable, {})) for variable, value, _words in BAD
    ]
    return R.judge([{}, GOOD], bad, tmp_path_factory.mktemp("validate"))


def test_defaults_and_good_values_pass(said: list[str]) -> None:
    assert said[:2] == ["", ""]


@pytest.mark.parametrize("row", range(len(BAD)), ids=[f"{v}-{i}" for i, (v, *_) in enumerate(BAD)])
def test_bad_value_is_refused_by_name_and_with_the_mend(said: list[str], row: int) -> None:
    variable, _value, words = BAD[row]
    assert variable in said[2 + row]
    assert words in said[2 + row]


def test_every_variable_that_is_judged_has_a_row() -> None:
    assert R.judged() - {variable for variable, *_ in BAD} == set()
