"""Module landbridge_registry_login, on homes of its own."""

import base64
import json
import os
import pwd
import stat
from pathlib import Path
from typing import Any

import pytest

from tests.unit.roles.modules import Runner, load

REGISTRY, OTHER = "registry.example.org:5000", "other.example.org"
PASSWORD = "hunter-2-of-the-tests"
OWN: dict[str, Any] = {
    "auths": {OTHER: {"auth": "b3duOnBhc3N3b3Jk"}},
    "credHelpers": {"x.example.org": "pass"},
}


def auth(username: str, password: str) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{username}:{password}".encode()).decode()}


def login(registry: str = REGISTRY, **more: Any) -> dict[str, Any]:
    given = {"registry": registry, "username": "puller", "password": PASSWORD, "users": ["alice"]}
    return given | more


def file_of(home: Path) -> Path:
    return home / ".config/containers/auth.json"


def put(home: Path, content: object) -> Path:
    """A file of the user's own."""
    file = file_of(home)
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(content))
    file.chmod(0o600)
    return file


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The home of alice, who is whoever runs the tests."""
    path = tmp_path / "alice"
    path.mkdir()
    return path


@pytest.fixture
def run(
    home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Runner:
    module = load("podman", "landbridge_registry_login")
    me = pwd.getpwuid(os.geteuid())

    def account(name: str) -> pwd.struct_passwd:
        if name != "alice":
            raise module.CommandError(f"user {name} does not exist; create it first")
        return pwd.struct_passwd((name, "x", me.pw_uid, me.pw_gid, "", str(home), "/bin/sh"))

    monkeypatch.setattr(module, "account_of", account)
    monkeypatch.setattr(module, "RECORD", tmp_path / "state/logins.json")
    return Runner(module, capsys)


def test_login_is_merged_beside_the_users_own(run: Runner, home: Path) -> None:
    file = put(home, OWN)
    assert run(logins=[login()])["changed"]
    content = json.loads(file.read_text())
    assert content["auths"] == OWN["auths"] | {REGISTRY: auth("puller", PASSWORD)}
    assert content["credHelpers"] == OWN["credHelpers"]
    assert not run(logins=[login()])["changed"]


def test_new_file_and_folders_are_the_users_alone(run: Runner, home: Path) -> None:
    old = os.umask(0)
    try:
        run(logins=[login()])
    finally:
        os.umask(old)
    file = file_of(home)
    modes = [stat.S_IMODE(p.stat().st_mode) for p in (file, file.parent, file.parent.parent)]
    assert modes == [0o600, 0o700, 0o700]


def test_readable_file_is_closed_again(run: Runner, home: Path) -> None:
    run(logins=[login()])
    file_of(home).chmod(0o644)
    assert run(logins=[login()])["changed"]
    assert stat.S_IMODE(file_of(home).stat().st_mode) == 0o600


def test_only_what_was_made_here_goes(run: Runner, home: Path, tmp_path: Path) -> None:
    file = put(home, OWN)
    run(logins=[login(), login("dropped.example.org")])
    answer = run(logins=[login()])
    assert json.loads(file.read_text())["auths"].keys() == {OTHER, REGISTRY}
    assert "dropped.example.org" in answer["diff"][0]["before"]
    assert run(logins=[])["changed"]
    assert json.loads(file.read_text()) == OWN
    assert json.loads((tmp_path / "state/logins.json").read_text()) == {}


def test_file_that_was_made_here_goes_whole(run: Runner, home: Path) -> None:
    run(logins=[login()])
    run(logins=[])
    assert not file_of(home).exists()


def test_run_that_broke_off_leaves_nothing_behind(
    run: Runner, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = put(home, OWN)
    write = run.module.write_record
    written: list[Path] = []

    def once(path: Path, content: object) -> None:
        if written:
            raise OSError(28, "No space left on device", str(path))
        write(path, content)
        written.append(path)

    with monkeypatch.context() as patched:
        patched.setattr(run.module, "write_record", once)
        assert run(logins=[login()])["failed"]
    assert REGISTRY in json.loads(file.read_text())["auths"]
    run(logins=[])
    assert json.loads(file.read_text()) == OWN


def test_check_mode_changes_nothing(run: Runner, home: Path, tmp_path: Path) -> None:
    assert run(check=True, logins=[login()])["changed"]
    assert list(home.iterdir()) == []
    assert not (tmp_path / "state").exists()


def test_answer_and_record_have_no_secret(run: Runner, home: Path, tmp_path: Path) -> None:
    put(home, {"auths": {REGISTRY: auth("old", "old-password"), **OWN["auths"]}})
    answers = [run(logins=[login()]), run(logins=[login(password="new-password")])]
    record = (tmp_path / "state/logins.json").read_text()
    said = json.dumps(answers) + record
    for secret in (PASSWORD, "old-password", "new-password"):
        assert secret not in said
        for entry in (auth("puller", secret), auth("old", secret), OWN["auths"][OTHER]):
            assert entry["auth"] not in said
    assert answers[0]["diff"][0]["before"] == f"{REGISTRY}: old, a password\n"
    assert answers[1]["diff"][0]["after"] == f"{REGISTRY}: puller, another password\n"
    assert answers[1]["registries"] == {"alice": [REGISTRY]}


def test_file_that_cannot_be_read_is_left_alone(run: Runner, home: Path) -> None:
    file = put(home, ["secret"])
    answer = run(logins=[login()])
    assert f"{file} is no auth.json" in answer["msg"]
    assert json.loads(file.read_text()) == ["secret"]
    file.unlink()
    os.mkfifo(file)
    assert f"{file} is no file" in run(logins=[login()])["msg"]


def test_link_stays_a_link(run: Runner, home: Path) -> None:
    put(home, {}).unlink()
    real = home / "auth.json"
    file_of(home).symlink_to(real)
    run(logins=[login()])
    assert file_of(home).is_symlink()
    assert REGISTRY in json.loads(real.read_text())["auths"]


def test_user_who_does_not_exist_is_named(run: Runner) -> None:
    assert "user bob does not exist" in run(logins=[login(users=["bob"])])["msg"]


def test_login_of_a_user_who_has_gone_is_forgotten(run: Runner, tmp_path: Path) -> None:
    record = tmp_path / "state/logins.json"
    run.module.write_record(record, {"bob": [REGISTRY]})
    assert not run(logins=[])["changed"]
    assert json.loads(record.read_text()) == {}


def test_missing_home_is_named(run: Runner, home: Path) -> None:
    home.rmdir()
    assert f"home {home} of alice does not exist" in run(logins=[login()])["msg"]


def test_another_users_file_is_touched_with_that_users_rights(run: Runner, home: Path) -> None:
    file, nobody, me = home / "file", pwd.getpwnam("nobody"), os.geteuid()
    file.touch(mode=0o600)
    with run.module.acting_as(nobody):
        assert (os.geteuid(), os.getegid()) == (nobody.pw_uid, nobody.pw_gid)
        with pytest.raises(PermissionError):
            file.read_bytes()
    assert os.geteuid() == me
