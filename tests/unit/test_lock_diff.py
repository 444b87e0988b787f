"""Two locks compared."""

from __future__ import annotations

import json
from typing import Any

from landbridge.lock import Artifact, Lock, Part, merge
from landbridge.lock_diff import diff


def artifact(ecosystem: str, name: str, version: str, **more: Any) -> Artifact:
    fields = {
        "path": f"{ecosystem}/{name}-{version}{more.get('build', '')}{more.get('targets', '')}",
        "url": "https://mirror.example.com/x",
        "sha256": version[0] * 64,
        "size": 1,
    }
    return Artifact(ecosystem=ecosystem, name=name, version=version, **{**fields, **more})  # type: ignore[arg-type]


def lock(*artifacts: Artifact, **more: Any) -> Lock:
    part = Part(list(artifacts), more.pop("environments", {}), more.pop("metadata", {}))
    return merge("s", ["el9-x86_64"], [part], **more)


def test_equal_locks_differ_in_nothing() -> None:
    one = lock(artifact("cran", "R6", "1"))
    found = diff(one, one)
    assert found.text() == ""
    assert found.as_dict() == {"added": {}, "removed": {}, "changed": {}, "other": []}


def test_added_removed_and_changed_are_told_apart() -> None:
    before = lock(artifact("cran", "R6", "1"), artifact("rpm", "htop", "0:3", build="1.el9"))
    after = lock(artifact("pypi", "six", "1"), artifact("rpm", "htop", "0:3", build="2.el9"))
    found = diff(before, after)
    assert found.text() == "+ pypi six 1\n- cran R6 1\n~ rpm htop 0:3 1.el9 -> 0:3 2.el9\n"
    data = json.loads(json.dumps(found.as_dict()))
    assert data["added"]["pypi"][0]["after"] == [{"version": "1", "build": "", "sha256": "1" * 64}]
    assert data["removed"]["cran"][0]["name"] == "R6"
    assert data["changed"]["rpm"][0]["before"][0]["build"] == "1.el9"


def test_targets_that_change_alike_are_one_line_and_others_two() -> None:
    before = lock(
        artifact("pypi", "six", "1", targets=["3.11", "3.12"]),
        artifact("rpm", "vim", "8", targets=["el9-x86_64"]),
        artifact("rpm", "vim", "9", targets=["el10-x86_64"]),
    )
    after = lock(
        artifact("pypi", "six", "2", targets=["3.11", "3.12"]),
        artifact("rpm", "vim", "8.1", targets=["el9-x86_64"]),
        artifact("rpm", "vim", "9", targets=["el10-x86_64"]),
    )
    assert diff(before, after).text() == (
        "~ pypi six [3.11] [3.12] 1 -> 2\n~ rpm vim [el9-x86_64] 8 -> 8.1\n"
    )


def test_two_environments_may_want_two_versions() -> None:
    one, two = artifact("conda", "numpy", "1"), artifact("conda", "numpy", "2")
    assert diff(lock(one), lock(one, two)).text() == "+ conda numpy 2\n"
    three = artifact("conda", "numpy", "3")
    assert diff(lock(one, two), lock(one, three)).text() == "~ conda numpy 2 -> 3\n"


def test_other_bytes_under_the_same_version_are_a_change() -> None:
    before, after = artifact("cran", "R6", "1"), artifact("cran", "R6", "1", sha256="f" * 64)
    assert diff(lock(before), lock(after)).text() == (
        "~ cran R6 1: sha256 111111111111 -> ffffffffffff\n"
    )


def test_nothing_that_differs_goes_untold() -> None:
    before = lock(
        artifact("cran", "R6", "1"), environments={"base": ["noarch/a"]}, metadata={"m.xml": "1"}
    )
    after = lock(
        artifact("cran", "R6", "1", required_by=["x"], license="MIT"),
        environments={"base": ["noarch/b"]},
        metadata={"m.xml": "2"},
        wanted={"r": {"packages": ["x"]}},
    )
    assert diff(before, after).text() == (
        "* wanted: r.packages\n* environment: base\n* metadata: m.xml\n"
        "* cran R6: license, required_by\n"
    )
