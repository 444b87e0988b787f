"""Module landbridge_quadlets, with a systemd and a Podman that only remember."""

import json
import os
import pwd
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.unit.roles.modules import Runner, load, shared

IMAGE = "localhost/tools/web:1"
PAUSE = "localhost/podman-pause:5.4.2-0"
WEB = {"name": "web", "sections": {"Container": {"Image": IMAGE}}}
START = "start web.service of root: new"
CHANGED = "its file, or a secret that it uses, has changed"


class Node:
    """Answers what modules ask for; `calls` holds what changes something."""

    def __init__(self) -> None:
        self.active: dict[str, str] = {}
        self.images = {IMAGE: "id-1"}
        self.containers: dict[str, str] = {}  # id of the image by service
        self.pauses: list[str] = []  # ids of the images of what holds pods together
        self.secrets: dict[str, str] = {}
        self.networks = ["podman"]
        self.busy: set[str] = set()  # networks with containers of others
        self.calls: list[str] = []
        self.broken: set[str] = set()

    def run(self, argv: list[str], account: Any, **_options: Any) -> str:
        words = [word for word in argv if word not in ("--user", "--")]
        if words[0] == "systemctl":
            return self.systemctl(account, words[1], words[2:])
        if words[0] == "journalctl":
            return "2026-01-01 00:00:00.1 +0000 UTC m=+0.1 container init\nit says swordfish-1\n"
        answers = {
            "podman image ls": json.dumps(
                [{"Id": i, "Names": [n]} for n, i in self.images.items()]
            ),
            "podman ps --format": json.dumps(
                [
                    {"Image": IMAGE, "ImageID": i, "Labels": {"PODMAN_SYSTEMD_UNIT": s}}
                    for s, i in self.containers.items()
                ]
                + [
                    {"Image": PAUSE, "ImageID": i, "Labels": {"PODMAN_SYSTEMD_UNIT": "web.service"}}
                    for i in self.pauses
                ]
            ),
            "podman secret ls": "".join(f"{n} {i}\n" for n, i in self.secrets.items()),
            "podman network ls": "\n".join(self.networks),
        }
        if (question := " ".join(words[:3])) in answers:
            return answers[question]
        self.calls.append(" ".join(words))
        if words[:3] == ["podman", "network", "rm"] and words[3] in self.busy:
            raise shared("landbridge_podman").CommandError(f"{words[3]} is being used")
        return ""

    def systemctl(self, account: Any, verb: str, names: list[str]) -> str:
        if verb == "show":
            return "\n".join(self.shown(f"{account.pw_name}/{n}", n) for n in names[1:])
        self.calls.append(f"{account.pw_name}: {' '.join([verb, *names])}")
        for name in names if verb in ("start", "restart", "stop") else []:
            state = "inactive" if verb == "stop" else "active"
            self.active[f"{account.pw_name}/{name}"] = "failed" if name in self.broken else state
        return ""

    def shown(self, key: str, name: str) -> str:
        state = self.active.get(key, "inactive")
        kind = "oneshot" if "-" in name else "notify"
        lines = [f"Id={name}", f"ActiveState={state}", "Result=success", f"Type={kind}"]
        return "\n".join([*lines, "NeedDaemonReload=no", ""])


@pytest.fixture
def node() -> Node:
    return Node()


@pytest.fixture
def run(
    node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Runner:
    module = load("podman", "landbridge_quadlets")
    services = shared("landbridge_services")
    monkeypatch.setattr(module, "run", node.run)
    monkeypatch.setattr(services, "run", node.run)
    for each in (module, services):
        monkeypatch.setattr(each, "can_ask", lambda _account: True)
        monkeypatch.setattr(each, "account_of", account)
    monkeypatch.setattr(module, "FOLDER", tmp_path / "systemd")
    monkeypatch.setattr(module, "RECORD", tmp_path / "state" / "quadlets.json")
    monkeypatch.setattr(module, "ROOT_UNITS", (str(tmp_path / "units"),))
    monkeypatch.setattr(module, "SETTLE_SECONDS", 0)
    monkeypatch.setattr(module, "installed_version", lambda: (5, 4, 2))
    monkeypatch.setattr(module, "judge_units", lambda _plan: [])
    return Runner(module, capsys)


def account(name: str) -> Any:
    uid = {"root": 0, "alice": 1001}[name]
    return SimpleNamespace(pw_name=name, pw_uid=uid, pw_gid=os.getgid(), pw_dir="/")


def test_writes_starts_and_rests(run: Runner, node: Node, tmp_path: Path) -> None:
    answer = run(quadlets=[WEB])
    assert answer["changed"]
    assert answer["actions"] == [START]
    assert node.calls == ["root: daemon-reload", "root: start web.service"]
    file = tmp_path / "systemd/web.container"
    assert f"Image={IMAGE}" in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o644
    assert run(quadlets=[WEB])["changed"] is False
    assert len(node.calls) == 2


def test_check_mode_changes_nothing(run: Runner, node: Node, tmp_path: Path) -> None:
    answer = run(quadlets=[WEB], check=True)
    assert answer["actions"] == [START]
    assert [part["before_header"] for part in answer["diff"]] == [
        str(tmp_path / "systemd/web.container"),
        "units",
    ]
    assert not list(tmp_path.iterdir())
    assert node.calls == []


def test_a_fresh_node_is_predicted(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run.module, "can_ask", lambda _account: False)
    monkeypatch.setattr(run.module, "installed_version", lambda: run.module.NO_VERSION)
    assert run(quadlets=[WEB], check=True)["actions"] == [START]
    answer = run(quadlets=[WEB])
    assert "not installed" in answer["msg"]


def test_what_two_pods_made_at_once_is_no_newer_image(run: Runner, node: Node) -> None:
    node.images[PAUSE] = "id-2"
    node.pauses = ["id-1", "id-2"]
    run(quadlets=[WEB])
    assert run(quadlets=[WEB])["changed"] is False


def test_a_users_files_have_a_folder_of_their_own(run: Runner, node: Node, tmp_path: Path) -> None:
    entry = {**WEB, "user": "alice"}
    run(quadlets=[entry], users=["alice"])
    folder = tmp_path / "systemd/users/1001"
    assert [path.name for path in folder.iterdir()] == ["web.container"]
    assert node.calls[-1] == "alice: start web.service"
    run(quadlets=[])
    assert not folder.exists()
    assert node.active == {"alice/web.service": "inactive"}


def test_a_change_restarts(run: Runner, node: Node) -> None:
    run(quadlets=[WEB])
    other = {"name": "web", "sections": {"Container": {"Image": IMAGE, "Exec": "x"}}}
    answer = run(quadlets=[other])
    assert answer["actions"] == [f"restart web.service of root: {CHANGED}"]
    assert node.calls[-1] == "root: restart web.service"


def test_a_containers_pod_is_restarted_in_its_place(run: Runner, node: Node) -> None:
    pod = {"name": "p", "type": "pod", "sections": {"Pod": {}}}
    run(
        quadlets=[{"name": "web", "sections": {"Container": {"Image": IMAGE, "Pod": "p.pod"}}}, pod]
    )
    changed = {"Image": IMAGE, "Pod": "p.pod", "Exec": "x"}
    run(quadlets=[{"name": "web", "sections": {"Container": changed}}, pod])
    assert node.calls[-1] == "root: restart p-pod.service"


def test_an_interrupted_run_is_resumed(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    run(quadlets=[WEB])
    other = {"name": "web", "sections": {"Container": {"Image": IMAGE, "Exec": "x"}}}
    start = run.module.start
    monkeypatch.setattr(run.module, "start", lambda _plan: (_ for _ in ()).throw(OSError("gone")))
    assert "gone" in run(quadlets=[other])["msg"]
    monkeypatch.setattr(run.module, "start", start)
    assert run(quadlets=[other])["actions"] == [f"restart web.service of root: {CHANGED}"]
    assert run(quadlets=[other])["changed"] is False


def test_what_stopped_is_started(run: Runner, node: Node) -> None:
    run(quadlets=[WEB])
    node.active["root/web.service"] = "failed"
    assert run(quadlets=[WEB])["actions"] == ["start web.service of root: it was failed"]


def test_a_unit_for_others_to_start_is_left_alone(run: Runner, node: Node) -> None:
    entry = {"name": "web", "sections": {"Container": {"Image": IMAGE}, "Install": {}}}
    assert run(quadlets=[entry])["actions"] == []
    assert node.calls == ["root: daemon-reload"]
    assert run(quadlets=[entry])["changed"] is False


def test_a_new_secret_restarts_what_uses_it(run: Runner, node: Node) -> None:
    entry = {"name": "web", "sections": {"Container": {"Image": IMAGE, "Secret": "token"}}}
    node.secrets = {"token": "1"}
    run(quadlets=[entry, {**WEB, "name": "other"}], secrets=["root/token"])
    node.secrets = {"token": "2"}
    expected = [f"restart web.service of root: {CHANGED}"]
    both = {"quadlets": [entry, {**WEB, "name": "other"}], "secrets": ["root/token"]}
    assert run(**both)["actions"] == expected
    assert run(**both, renewed=["root/token"])["changed"] is False
    assert run(**both, renewed=["root/token"], check=True)["actions"] == expected


def test_a_new_image_restarts_unless_auto_update_does(run: Runner, node: Node) -> None:
    keys = {"Image": IMAGE, "AutoUpdate": "local"}
    entries = [WEB, {"name": "auto", "sections": {"Container": keys}}]
    assert run(quadlets=entries)["updating"] == ["root"]
    node.containers = {"web.service": "id-0", "auto.service": "id-0"}
    expected = "restart web.service of root: its image's name means a newer image"
    assert run(quadlets=entries)["actions"] == [expected]


def test_a_missing_image_is_named_before_anything_changes(run: Runner, node: Node) -> None:
    node.images = {}
    answer = run(quadlets=[WEB])
    assert f"web.container of root: image {IMAGE} is not in the store of root" in answer["msg"]
    assert node.calls == []
    assert run(quadlets=[WEB], images=[IMAGE], check=True)["actions"] == [START]


def test_dropped_entries_go_and_data_stays(run: Runner, node: Node, tmp_path: Path) -> None:
    network = {"name": "app", "type": "network", "sections": {"Network": {}}}
    volume = {"name": "data", "type": "volume", "sections": {"Volume": {}}}
    run(quadlets=[WEB, network, volume])
    node.networks.append("systemd-app")
    node.calls.clear()
    answer = run(quadlets=[])
    assert answer["actions"][0] == "stop app-network.service of root: no entry wants it"
    assert node.calls == [
        "root: stop app-network.service data-volume.service web.service",
        "root: reset-failed app-network.service data-volume.service web.service",
        "podman network rm systemd-app",
        "root: daemon-reload",
    ]
    assert not list((tmp_path / "systemd").iterdir())
    assert json.loads((tmp_path / "state/quadlets.json").read_text()) == {}
    assert "keeps its data" in str(answer["warnings"])
    assert run(quadlets=[])["changed"] is False


def test_a_changed_network_is_made_anew(run: Runner, node: Node) -> None:
    network = {"name": "app", "type": "network", "sections": {"Network": {}}}
    run(quadlets=[network])
    node.networks.append("systemd-app")
    node.calls.clear()
    run(quadlets=[{**network, "sections": {"Network": {"Internal": True}}}])
    assert "podman network rm systemd-app" in node.calls
    assert node.calls[0] == "root: stop app-network.service"
    assert node.calls[-1] == "root: restart app-network.service"


def test_what_is_in_a_network_that_cannot_be_made_anew_runs_on(run: Runner, node: Node) -> None:
    network = {"name": "app", "type": "network", "sections": {"Network": {}}}
    other = {**network, "sections": {"Network": {"Internal": True}}}
    run(quadlets=[network, WEB])
    node.networks.append("systemd-app")
    node.busy = {"systemd-app"}
    node.calls.clear()
    message = run(quadlets=[other, WEB])["msg"]
    assert "network systemd-app of root cannot be made anew: systemd-app is being used" in message
    assert node.calls == [
        "root: stop app-network.service",
        "root: reset-failed app-network.service",
        "podman network rm systemd-app",
        "root: start app-network.service web.service",
    ]
    node.busy = set()
    assert run(quadlets=[other, WEB])["actions"] == [
        f"restart app-network.service of root: {CHANGED}"
    ]


def test_a_gone_users_files_go(
    run: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(quadlets=[{**WEB, "user": "alice"}], users=["alice"])
    monkeypatch.setattr(run.module, "account_of", shared("landbridge_podman").account_of)
    monkeypatch.setattr(pwd, "getpwnam", {}.__getitem__)
    assert run(quadlets=[])["changed"]
    assert not (tmp_path / "systemd/users/1001").exists()
    assert run(quadlets=[])["changed"] is False


def test_a_broken_unit_fails_with_its_log_and_without_secrets(run: Runner, node: Node) -> None:
    node.broken = {"web.service"}
    answer = run(quadlets=[WEB], redact=["first\nswordfish-1"])
    assert answer["failed"]
    assert answer["msg"].endswith("units of root do not run\nweb.service:\nit says ********")
    node.broken = set()
    assert run(quadlets=[WEB])["actions"] == [f"restart web.service of root: {CHANGED}"]


def test_others_files_and_units_are_respected(run: Runner, tmp_path: Path) -> None:
    (tmp_path / "systemd").mkdir()
    (tmp_path / "systemd/web.container").write_text("[Container]\n")
    (tmp_path / "units").mkdir()
    (tmp_path / "units/web.service").symlink_to("/dev/null")
    message = run(quadlets=[WEB])["msg"]
    assert "web.container is somebody else's" in message
    assert "units/web.service already: rename the entry" in message


POD = {"name": "p", "type": "pod", "sections": {"Pod": {}}}


@pytest.mark.parametrize(
    ("version", "entry", "words"),
    [
        ((4, 3, 1), WEB, "Podman 4.3.1 is installed and knows no quadlets, Podman 4.4 and later"),
        ((4, 5, 0), {**WEB, "user": "alice"}, "Podman 4.6 and later do"),
        ((4, 9, 4), POD, "no quadlets of type pod"),
    ],
)
def test_an_old_podman_is_named(
    run: Runner, monkeypatch: pytest.MonkeyPatch, version: Any, entry: Any, words: str
) -> None:
    monkeypatch.setattr(run.module, "installed_version", lambda: version)
    assert words in run(quadlets=[entry], users=["alice"], only_judge="node")["msg"]
    assert run(quadlets=[entry], users=["alice"], only_judge="entries")["changed"] is False
    assert run(quadlets=[])["changed"] is False


def test_bad_entries_are_refused(run: Runner) -> None:
    answer = run(quadlets=[{**WEB, "user": "alice"}], only_judge="entries")
    assert answer["msg"].startswith("podman_quadlets: web.container of alice: user alice")
