import json
import subprocess
import sys
from pathlib import Path

import pytest

from landbridge.facts import snapshot

SHA = "ab" * 32


def depot(root: Path) -> Path:
    lock = root / "conda" / "envs" / "ds.linux-64.txt"
    lock.parent.mkdir(parents=True)
    lock.write_text(f"@EXPLICIT\nlinux-64/numpy-1.26.4-py311_0.conda#{SHA}\n# a comment # here\n")
    environments = [{"name": "ds", "lock": {"linux-64": "conda/envs/ds.linux-64.txt"}}]
    (root / "content.json").write_text(json.dumps({"conda": {"environments": environments}}))
    (root / "stack.yml").write_text("name: minimal\n")
    wheels = ("tabulate-1-py3-none-any.whl", "numpy-1-cp311-cp311-linux_x86_64.whl")
    files = {f"pypi/simple/{wheel.split('-')[0]}/{wheel}": {} for wheel in wheels}
    (root / "manifest.json").write_text(json.dumps({"files": files}))
    return root


def test_the_depots_promises(tmp_path: Path) -> None:
    facts = snapshot.depot_facts(depot(tmp_path))
    assert facts["locks"] == {"ds": {"linux-64": {"numpy-1.26.4-py311_0": SHA}}}
    assert facts["pure_wheels"] == ["tabulate"]
    assert facts["stack"] == "name: minimal\n"


def test_a_node_without_depot_says_how_to_name_one(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="landbridge_depot"):
        snapshot.depot_facts(tmp_path)


def test_conda_packages_are_file_name_and_sum(tmp_path: Path) -> None:
    (tmp_path / "numpy-1.26.4-py311_0.json").write_text(json.dumps({"sha256": SHA}))
    (tmp_path / "by-hand-1-0.json").write_text("{}")
    (tmp_path / "history").write_text("")
    assert snapshot.conda_packages(tmp_path) == {"numpy-1.26.4-py311_0": SHA, "by-hand-1-0": ""}


def test_r_versions_come_from_descriptions(tmp_path: Path) -> None:
    package = tmp_path / "4.5/libraries/0123456789ab/jsonlite"
    package.mkdir(parents=True)
    (package / "DESCRIPTION").write_text("Package: jsonlite\nVersion: 2.0.0\n")
    (tmp_path / "4.5/library").symlink_to("libraries/0123456789ab")
    assert snapshot.r_libraries(tmp_path) == {"4.5": {"jsonlite": "2.0.0"}}


def test_repositories_are_read_from_every_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot, "REPOSITORY_FOLDERS", (tmp_path, tmp_path / "missing"))
    (tmp_path / "a.repo").write_text("[a]\nbaseurl=file:///depot/100%\ngpgcheck=1\n")
    found = snapshot.repositories()[str(tmp_path / "a.repo")]
    assert found == {"a": {"baseurl": "file:///depot/100%", "gpgcheck": "1"}}


TABLES = '{"nftables": [{"metainfo": {}}, {"table": {"family": "inet", "name": "%s"}}]}'
COUNTER = '{"nftables": [{"metainfo": {}}, {"counter": {"name": "outside", "packets": 3}}]}'


@pytest.mark.parametrize(("table", "packets"), [("landbridge_egress", 3), ("firewalld", None)])
def test_packets_are_counted_where_the_table_is(
    monkeypatch: pytest.MonkeyPatch, table: str, packets: int | None
) -> None:
    def nft(*command: str) -> str:
        return TABLES % table if command[-1] == "tables" else COUNTER

    monkeypatch.setattr(snapshot, "output", nft)
    monkeypatch.setattr(snapshot.shutil, "which", lambda _name: "/usr/sbin/nft")
    assert snapshot.egress_packets() == packets


def test_the_script_needs_nothing_of_this_package(tmp_path: Path) -> None:
    script = Path(snapshot.__file__)
    command = [sys.executable, "-I", str(script), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("snapshot: ")
