"""Module landbridge_preflight on a small bundle and a node made of files."""

import hashlib
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.unit import openpgp
from tests.unit.openpgp import DAY, EARLY
from tests.unit.roles.modules import Runner, load, shared

LOCK = b"@EXPLICIT\n"
RPM = "rpm/el9-x86_64/Packages/podman-5.4.0-1.el9.x86_64.rpm"
REPOMD = "rpm/el9-x86_64/repodata/repomd.xml"
SIGNED = EARLY + 100 * DAY  # while the key that lives a year did


class Node(NamedTuple):
    """What the tests change, and the run."""

    depot: Path
    root: Path
    run: Runner
    keys: openpgp.Keys

    def content(self, **changes: Any) -> None:
        """Change content.json and describe the bundle anew."""
        path = self.depot / "content.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
        self.sign("release")

    def sign(self, owner: str, at: int = SIGNED) -> None:
        """Write the manifest and sign it and the RPMs' metadata."""
        write_manifest(self.depot)
        for name in ("manifest.json", REPOMD):
            self.keys.sign(owner, self.depot / name, at)

    def record(self, signed: int) -> None:
        """Have the node know of an earlier bundle."""
        text = json.dumps({"release": "earlier", "signed": signed})
        (self.root / "release.json").write_text(text)

    def problems(self, **arguments: Any) -> list[str]:
        """Problems of a failing run."""
        answer = self.run(depot=str(self.depot), **arguments)
        assert answer["failed"]
        assert all(item["mend"] for item in answer["problems"])
        return [item["problem"] for item in answer["problems"]]


def write_manifest(depot: Path) -> None:
    files = {
        str(path.relative_to(depot)): {
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "size": path.stat().st_size,
        }
        for path in depot.rglob("*")
        if path.is_file() and path.name != "manifest.json" and path.suffix != ".asc"
    }
    (depot / "manifest.json").write_text(json.dumps({"files": files}))


def write_bundle(depot: Path) -> None:
    content = {
        "format": 1,
        "targets": {"el9-x86_64": {"rpm": "rpm/el9-x86_64", "conda_subdir": "linux-64"}},
        "conda": {
            "environments": [{"name": "ds", "lock": {"linux-64": "conda/envs/ds.txt"}}],
        },
        "r": {"packages": [{"name": "jsonlite"}]},
        "images": [{"name": "localhost/a:1", "digest": "sha256:1"}],
        "toolkit": {"id": "0123456789ab"},
        "installed_bytes": {
            "conda": 1000,
            "toolkit": 1000,
            "rpm": {"el9-x86_64": 5000},
            "r": 1000,
            "images": 1000,
        },
    }
    (depot / "conda/envs").mkdir(parents=True)
    (depot / "conda/envs/ds.txt").write_bytes(LOCK)
    for name in (RPM, REPOMD, "conda/noarch/lib-1.conda", "images/blobs/sha256/0", "x/tool-1.whl"):
        (depot / name).parent.mkdir(parents=True, exist_ok=True)
        (depot / name).write_bytes(b"content")
    (depot / "content.json").write_text(json.dumps(content))


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[openpgp.Keys]:
    with openpgp.keys(tmp_path_factory.mktemp("k") / "h") as made:
        made.make("release")
        made.make("short", lives="1y")
        made.make("stranger")
        yield made


@pytest.fixture
def node(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    keys: openpgp.Keys,
) -> Node:
    depot, root = tmp_path / "depot", tmp_path / "node"
    for folder in (depot, root / "proc/1", root / "keys"):
        folder.mkdir(parents=True)
    write_bundle(depot)
    (root / "keys/release.asc").write_text(keys.public("release"))
    (root / "os-release").write_text('ID="rocky"\nID_LIKE="rhel fedora"\nVERSION_ID="9.4"\n')
    (root / "proc/1/comm").write_text("systemd\n")
    (root / "proc/meminfo").write_text("MemTotal:        4096000 kB\n")
    (root / "proc/mounts").write_text("none /tmp tmpfs rw,nosuid 0 0\n")
    module = load("preflight", "landbridge_preflight")
    monkeypatch.setattr(module, "OS_RELEASE", root / "os-release")
    monkeypatch.setattr(module, "PROC", root / "proc")
    monkeypatch.setattr(shared("landbridge_release"), "KEYS", root / "keys")
    monkeypatch.setattr(shared("landbridge_release"), "RECORD", root / "release.json")
    monkeypatch.setattr(module, "OPT", root / "opt")
    monkeypatch.setattr(module, "CONTAINERS", root / "containers")
    monkeypatch.setattr(module.os, "geteuid", lambda: 0)
    monkeypatch.setattr(module.platform, "machine", lambda: "x86_64")
    # pytest's folders are closed to other users; check_way has a test of its own.
    monkeypatch.setattr(module, "check_way", lambda _depot: [])
    made = Node(depot, root, Runner(module, capsys), keys)
    made.sign("release")
    return made


def test_a_good_node_gets_the_content_as_facts(node: Node) -> None:
    answer = node.run(depot=str(node.depot), hash=True, memory_min_mib=1800, check=True)
    assert answer["changed"] is False
    facts = answer["ansible_facts"]["landbridge"]
    assert facts["target"] == "el9-x86_64"
    assert facts["depot"] == str(node.depot)
    assert facts["toolkit"] == {"id": "0123456789ab"}


def test_no_bundle(node: Node) -> None:
    answer = node.run(depot=str(node.root / "nowhere"))
    assert "there is no bundle at" in answer["msg"]
    assert "bootstrap.sh" in answer["msg"]


def test_every_problem_is_named_in_one_failure(node: Node) -> None:
    (node.root / "os-release").write_text('ID="debian"\nPRETTY_NAME="Debian 12"\n')
    (node.root / "proc/1/comm").write_text("bash\n")
    (node.depot / "conda/envs/ds.txt").unlink()
    found = "\n".join(node.problems(memory_min_mib=8000))
    for part in ("Debian 12", "PID 1 is bash", "missing: conda/envs/ds.txt", "4000 MiB"):
        assert part in found


@pytest.mark.parametrize("name", ["content.json", "manifest.json"])
@pytest.mark.parametrize("text", ["", "{", None])
def test_unreadable_description(node: Node, name: str, text: str | None) -> None:
    path = node.depot / name
    path.unlink()
    if text is not None:
        path.write_text(text)
    assert any(name in what and "cannot be read" in what for what in node.problems())


def test_unknown_format(node: Node) -> None:
    node.content(format=2)
    assert node.problems() == ["the bundle's format is 2, this toolkit reads 1"]


def test_a_manifest_without_files(node: Node) -> None:
    (node.depot / "manifest.json").write_text("{}")
    assert node.problems() == ["manifest.json lists no files"]


# --- signatures ------------------------------------------------------------------------------


def test_an_unsigned_bundle(node: Node) -> None:
    (node.depot / "manifest.json.asc").unlink()
    (what,) = node.problems()
    assert "manifest.json is not signed: manifest.json.asc is missing" in what
    assert "failed" not in node.run(depot=str(node.depot), signature="ignored")


def test_a_tampered_manifest(node: Node) -> None:
    file = node.depot / "manifest.json"
    file.write_bytes(file.read_bytes() + b" ")
    (what,) = node.problems()
    assert 'manifest.json is bad (gpgv: BAD signature from "release")' in what


def test_a_damaged_signature(node: Node) -> None:
    (node.depot / "manifest.json.asc").write_text("no signature\n")
    (what,) = node.problems()
    assert "manifest.json is bad (" in what


def test_a_signature_of_a_text(node: Node) -> None:
    node.keys.sign("release", node.depot / "manifest.json", SIGNED, "--textmode")
    (what,) = node.problems()
    assert "manifest.json is bad (" in what


def test_an_unknown_key(node: Node) -> None:
    node.sign("stranger")
    answer = node.run(depot=str(node.depot))
    assert "none of the 1 trusted" in answer["msg"]
    assert "landbridge_trusted_keys" in answer["msg"]
    stranger = node.keys.public("stranger")
    assert "failed" not in node.run(depot=str(node.depot), keys=[stranger.replace("\n", "\r\n")])


def test_given_keys_are_the_only_ones(node: Node) -> None:
    (what,) = node.problems(keys=[node.keys.public("stranger"), node.keys.public("short")])
    assert "none of the 2 trusted" in what


def test_a_key_that_is_none(node: Node) -> None:
    found = node.problems(keys=["no key"])
    assert found[0] == "trusted key 1 is no OpenPGP public key"
    (node.root / "keys/release.asc").write_text("no key")
    assert node.problems()[0] == f"{node.root}/keys/release.asc is no OpenPGP public key"


def test_what_a_key_signed_before_it_expired_is_good(node: Node) -> None:
    node.sign("short")
    answer = node.run(depot=str(node.depot), keys=[node.keys.public("short")])
    assert "failed" not in answer


def test_rpm_metadata_signed_by_another_key(node: Node) -> None:
    node.keys.sign("stranger", node.depot / REPOMD, SIGNED)
    (what,) = node.problems()
    assert f"{REPOMD} is signed by key" in what


def test_gpgv_is_missing(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node.run.module.shutil, "which", lambda _name: None)
    assert node.problems() == ["gpgv, which checks the bundle's signature, is missing"]


def test_an_older_release(node: Node) -> None:
    node.record(SIGNED)
    assert "failed" not in node.run(depot=str(node.depot))
    node.record(SIGNED + 1)
    (what,) = node.problems()
    assert what.startswith("the bundle was signed 2020-04-10 00:00:00 UTC, before earlier")
    for allowed in ({"allow_downgrade": True}, {"signature": "ignored"}):
        assert "failed" not in node.run(depot=str(node.depot), **allowed)


def test_a_broken_record(node: Node) -> None:
    (node.root / "release.json").write_text("{}")
    (what,) = node.problems()
    assert "release.json cannot be read" in what


def test_wrong_major_names_both_sides(node: Node) -> None:
    (node.root / "os-release").write_text('ID="centos"\nVERSION_ID="10"\n')
    assert node.problems() == ["this node is el10-x86_64, the bundle is for el9-x86_64"]


def test_wrong_architecture_names_both_sides(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node.run.module.platform, "machine", lambda: "aarch64")
    assert node.problems() == ["this node is el9-aarch64, the bundle is for el9-x86_64"]


def test_truncated_file(node: Node) -> None:
    (node.depot / "conda/envs/ds.txt").write_bytes(LOCK[:-1])
    assert node.problems() == ["1 file(s) of the bundle are of another size: conda/envs/ds.txt"]


@pytest.mark.parametrize(
    ("name", "word"),
    [("conda/envs/ds.txt", b"EXPLICIT"), (REPOMD, b"content"), ("content.json", b"jsonlite")],
)
def test_what_no_client_checks_is_always_read(node: Node, name: str, word: bytes) -> None:
    file = node.depot / name
    file.write_bytes(file.read_bytes().replace(word, word.swapcase()))
    assert f"1 file(s) of the bundle are altered: {name}" in node.problems()


@pytest.mark.parametrize(
    "name", [RPM, "conda/noarch/lib-1.conda", "images/blobs/sha256/0", "x/tool-1.whl"]
)
def test_what_its_client_checks_is_read_with_hash_only(node: Node, name: str) -> None:
    (node.depot / name).write_bytes(b"CONTENT")
    assert "failed" not in node.run(depot=str(node.depot))
    assert node.problems(hash=True) == [f"1 file(s) of the bundle are altered: {name}"]


def test_many_missing_files_are_counted(node: Node) -> None:
    for number in range(8):
        (node.depot / f"f{number}").touch()
    node.sign("release")
    for number in range(8):
        (node.depot / f"f{number}").unlink()
    assert node.problems() == [
        "8 file(s) of the bundle are missing: f0, f1, f2, f3, f4 and 3 more",
    ]


def test_files_closed_to_users(node: Node) -> None:
    (node.depot / "conda/envs/ds.txt").chmod(0o600)
    assert "not readable by users" in node.problems()[0]


def test_directories_closed_to_users(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    (closed / "depot").mkdir(parents=True)
    closed.chmod(0o700)
    module = load("preflight", "landbridge_preflight")
    found = [item["problem"] for item in module.check_way(closed / "depot")]
    assert any(f"cannot enter {closed}," in what for what in found)
    closed.chmod(0o755)
    assert not any(str(closed) + "," in i["problem"] for i in module.check_way(closed))


def full_disk(monkeypatch: pytest.MonkeyPatch, module: Any, free: int) -> None:
    status = os.statvfs_result((4096, 1, free, free, free, 0, 0, 0, 0, 255))
    monkeypatch.setattr(module.os, "statvfs", lambda _path: status)


def test_full_disk(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    full_disk(monkeypatch, node.run.module, 100)
    needed = node.problems()
    assert needed, "100 bytes are not enough"
    assert all("are needed for" in what for what in needed)
    assert {"conda", "toolkit", "R", "RPMs", "images"} == {
        word for word in ("conda", "toolkit", "R", "RPMs", "images") if word in " ".join(needed)
    }


def test_what_is_installed_needs_no_room(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    module, opt = node.run.module, node.root / "opt"
    environment = opt / "envs/ds" / hashlib.sha256(LOCK).hexdigest()[:12]
    toolkit, library = opt / "toolkits/0123456789ab", opt / "r/4.5/library/jsonlite"
    for folder in (environment, toolkit, library, node.root / "containers/storage/overlay-images"):
        folder.mkdir(parents=True)
    (environment / "file").write_bytes(b"x" * 1000)
    (library / "DESCRIPTION").write_bytes(b"x" * 1000)
    images = node.root / "containers/storage/overlay-images/images.json"
    images.write_text(json.dumps([{"names": ["localhost/a:1"]}]))
    answer = (0, "podman-5.4.0-1.el9.x86_64.rpm 5000\nother-1-1.el9.noarch.rpm 9\n", "")
    content = json.loads((node.depot / "content.json").read_text())
    needs = module.needs(node.depot, content, "el9-x86_64", lambda *_a, **_k: answer)
    assert all(size <= 0 for _path, _what, size in needs), needs
    full_disk(monkeypatch, module, 0)
    assert module.check_disks(needs, 20) == []
    (toolkit / ".incomplete").touch()
    needs = module.needs(node.depot, content, "el9-x86_64", lambda *_a, **_k: answer)
    assert (opt, "toolkit", 1000) in needs


def test_a_bundle_without_rpms(node: Node) -> None:
    targets = {"el9-x86_64": {"rpm": None, "conda_subdir": "linux-64"}}
    node.content(targets=targets)
    assert "failed" not in node.run(depot=str(node.depot))


def test_hard_links_are_counted_once(tmp_path: Path) -> None:
    module = load("preflight", "landbridge_preflight")
    (tmp_path / "a").write_bytes(b"x" * 100_000)
    alone = module.used([tmp_path])
    os.link(tmp_path / "a", tmp_path / "b")
    assert module.used([tmp_path]) == alone >= 100_000


def test_a_foreign_process_on_a_port() -> None:
    module = load("preflight", "landbridge_preflight")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        (found,) = module.check_ports([{"port": port, "unit": "landbridge-jupyterhub.service"}])
        ((_command, unit),) = module.holders(module.listening()[port])
        assert module.check_ports([{"port": port, "unit": unit}]) == []
    assert found["problem"].startswith(f"port {port} is taken by ")
    assert module.check_ports([{"port": port, "unit": ""}]) == []


def test_noexec_is_a_warning(node: Node) -> None:
    (node.root / "proc/mounts").write_text("none /tmp tmpfs rw,noexec 0 0\n")
    answer = node.run(depot=str(node.depot))
    assert "failed" not in answer
    assert "noexec" in json.dumps(answer["warnings"])
