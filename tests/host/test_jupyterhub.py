"""JupyterHub as a user meets it: one session per node, from the login form to cells' output."""

import json
import re
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

import pytest

from landbridge.facts.node import Node

SETTINGS = "/etc/landbridge/jupyterhub/values.json"
SESSION = Path(__file__).parent / "on_node" / "hub_session.py"
# Packages of the hub's environment: the extension of JupyterLab, and where its server answers.
COMFORTS = {
    "jupyterlab-git": ("@jupyterlab/git", "git/settings"),
    "jupyterlab-lsp": ("@jupyter-lsp/jupyterlab-lsp", "lsp/status"),
    "jupyter-resource-usage": ("@jupyter-server/resource-usage", "api/metrics/v1"),
}
UNITS = ("landbridge-hub.service", "landbridge-proxy.service")

# A directory's users have passwords that no check knows.
on_hubs = pytest.mark.usefixtures("hub_by_pam")
# What became of each node's session; one that failed is not tried for every check again.
sessions: dict[Node, dict[str, Any] | BaseException] = {}


def in_bytes(memory: str) -> int:
    """A size as JupyterHub writes it."""
    unit = memory[-1]
    factor = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}.get(unit, 1)
    return int(float(memory.rstrip("KMGT")) * factor)


def processors(printed: str) -> float:
    """Processors, from the time in each second that systemd prints."""
    units = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0}
    return sum(float(n) * units[unit] for n, unit in re.findall(r"([\d.]+)([a-z]+)", printed))


def kernel_name(node: Node, kernel: str) -> str:
    """The kernelspec of a display name."""
    for name, spec in node.facts.kernelspecs.items():
        if kernel == spec["display_name"]:
            return name
    return f"none for {kernel}"


@pytest.fixture
def session(node: Node, user_of: Callable[[Node], str]) -> dict[str, Any]:
    """What the hub answered to the node's temporary user."""
    if node not in sessions:
        try:
            sessions[node] = held(node, user_of(node))
        except (Exception, pytest.fail.Exception) as error:
            sessions[node] = error
            raise
    known = sessions[node]
    if isinstance(known, BaseException):
        raise known
    return known


def held(node: Node, user: str) -> dict[str, Any]:
    """Hold a session."""
    settings = json.loads(node.output("cat", SETTINGS))
    node.output("usermod", "--append", "--groups", settings["allowed_groups"][0], user)
    if container := settings["container"]:
        image = container["image"]
        source = f"oci:{node.facts.depot.path}/images:{image}"
        node.output("skopeo", "copy", "-q", source, f"containers-storage:{image}", user=user)
    arguments = [json.dumps(settings), user, *node.facts.kernelspecs]
    told = node.script(SESSION, arguments, python=f"{settings['prefix']}/bin/python")
    return {**told, "settings": settings, "user": user}


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize("unit", UNITS)
def test_unit_is_active(node: Node, unit: str) -> None:
    assert node.unit(unit) == "active"


@on_hubs
def test_api_refuses_strangers(session: dict[str, Any]) -> None:
    assert session["anonymous"] == 403


@on_hubs
def test_answers_are_for_no_frame_and_no_guess(session: dict[str, Any]) -> None:
    for path, headers in session["headers"].items():
        assert headers["x-content-type-options"] == "nosniff", path
        assert headers["referrer-policy"] == "same-origin", path
    policy = session["headers"]["/hub/login"]["content-security-policy"]
    assert "frame-ancestors 'none'" in policy
    assert "default-src 'self'" in policy


@on_hubs
def test_answers_hide_versions(session: dict[str, Any]) -> None:
    for path, headers in session["headers"].items():
        assert not {"server", "x-powered-by", "x-jupyterhub-version"} & set(headers), path


@on_hubs
def test_browsers_stay_with_tls(session: dict[str, Any]) -> None:
    tls, seconds = session["settings"]["tls"], session["settings"]["hsts_seconds"]
    wanted = f"max-age={seconds}" if tls and seconds else None
    for path, headers in session["headers"].items():
        assert headers.get("strict-transport-security") == wanted, path


@on_hubs
def test_cookies_are_kept_to_the_hub(session: dict[str, Any]) -> None:
    cookies = session["cookies"]
    assert "jupyterhub-hub-login" in cookies
    for name, flags in cookies.items():
        assert flags["samesite"] == "Lax", name
        assert flags["secure"] == session["settings"]["tls"], name
        # Scripts of the hub's pages send this one back.
        assert flags["httponly"] or name == "_xsrf", name


@on_hubs
def test_wrong_password_is_refused(session: dict[str, Any]) -> None:
    assert session["refused"]["status"] == 403


@on_hubs
def test_pam_password_logs_in(session: dict[str, Any]) -> None:
    assert session["login"] == {"status": 200, "path": "/hub/home"}


@on_hubs
def test_server_starts(session: dict[str, Any]) -> None:
    assert session["server"]["error"] is None


@on_hubs
def test_working_kernel_is_activity_and_an_idle_one_is_not(session: dict[str, Any]) -> None:
    before, after = session["work"]["working"]
    assert after > before
    before, after = session["work"]["idle"]
    assert after == before


@on_hubs
def test_idle_server_is_culled_with_the_rights_of_the_culler(session: dict[str, Any]) -> None:
    wanted = session["settings"]["cull_idle_seconds"]
    assert session["culled"] == ([] if wanted else None)


@on_hubs
def test_culler_runs_where_it_is_wanted(node: Node, session: dict[str, Any]) -> None:
    settings = session["settings"]
    lines = node.run("pgrep", "--list-full", "--uid", settings["culler"]).stdout.splitlines()
    wanted = settings["cull_idle_seconds"]
    assert [f"--timeout={wanted}" in line for line in lines] == ([True] if wanted else [])


@on_hubs
def test_named_server_runs_beside_the_first(session: dict[str, Any]) -> None:
    named, unit = session["named"], f"jupyter-{session['user']}-singleuser"
    if session["settings"]["named_servers"]:
        assert named["error"] is None
        assert sorted(named["units"]) == [f"{unit}-n_second_2d_one.service", f"{unit}.service"]
    else:
        assert named["status"] == 400


@on_hubs
def test_profile_of_another_group_is_refused(session: dict[str, Any]) -> None:
    for name, (status, answer) in session["forbidden"].items():
        assert status == 403, (name, answer)
        assert name not in session["offered"]
        assert session["offered"]


@on_hubs
def test_server_is_as_large_as_its_profile(session: dict[str, Any]) -> None:
    settings, unit = session["settings"], session["unit"]
    free = [profile for profile in settings["profiles"] if not profile.get("groups")]
    profile: dict[str, Any] = max(free, key=lambda p: p.get("default", False), default={})
    memory = profile.get("memory", settings["memory_limit"])
    cpu = profile.get("cpu", settings["cpu_limit"])
    assert unit["ActiveState"] == "active"
    assert unit["MemoryMax"] == (str(in_bytes(memory)) if memory else "infinity")
    quota = unit["CPUQuotaPerSecUSec"]
    assert processors(quota) == cpu if cpu else quota == "infinity"
    # A container has devices of its own.
    devices = [] if settings["container"] else profile.get("devices", [])
    for device in devices:
        assert f"{device} rw" in unit["DeviceAllow"]
    assert unit["DevicePolicy"] == ("closed" if devices else "auto")


@on_hubs
def test_server_is_a_container_where_that_is_wanted(session: dict[str, Any]) -> None:
    container, started = session["settings"]["container"], session["unit"]["ExecStart"]
    assert ("/usr/bin/podman run" in started) == bool(container)
    assert not container or container["image"] in started


@on_hubs
def test_metrics_are_for_who_has_the_token(session: dict[str, Any]) -> None:
    metrics = session["metrics"]
    assert metrics["anonymous"] == 403
    assert metrics["status"] == 200
    assert "jupyterhub_running_servers" in metrics["text"]
    assert metrics["users"] == 403


@on_hubs
def test_journal_tells_who_did_what(session: dict[str, Any]) -> None:
    events = session["events"]
    first = [event["event"] for event in events if event["event"] != "start refused"][:3]
    assert first == ["login refused", "login", "start"]
    assert events[-1]["event"] == "stop"
    for event in events:
        assert event["address"] or event["event"] == "stop", event
        assert event["by"] == session["user"] or event["event"] not in {"start", "start refused"}


@on_hubs
def test_secrets_are_roots(node: Node, session: dict[str, Any]) -> None:
    settings = session["settings"]
    found = node.output("find", settings["secrets"], "-printf", "%f %U %m\n").split("\n")
    modes = {line.split()[0]: line.split()[1:] for line in found if line}
    files = {"proxy.env", "hub.env", "metrics_token"}
    assert {name: modes[name] for name in files} == {name: ["0", "600"] for name in files}
    own = node.output("stat", "--format", "%U %a", settings["state"], settings["backups"])
    assert own.split("\n")[:2] == ["root 700", "root 700"]


def test_notebook_runs(node: Node, kernel: str, session: dict[str, Any]) -> None:
    answer = session["kernels"][kernel_name(node, kernel)]
    assert answer.get("text", "").strip() == "42042", answer
    assert answer["status"] == "ok"


@on_hubs
def test_home_page_has_banner_and_guide(node: Node, session: dict[str, Any]) -> None:
    home, settings = session["home"], session["settings"]
    assert escape(settings["banner"]) in home
    guide = home.partition('<section id="guide"')[2]
    kernels = [spec["display_name"] for spec in node.facts.kernelspecs.values()]
    for words in (*kernels, settings["depot"], settings["contact"]):
        assert escape(words) in guide


@on_hubs
def test_jupyterlab_has_the_comforts_of_its_environment(
    node: Node, session: dict[str, Any]
) -> None:
    (lock,) = node.facts.depot.locks["jupyterhub"].values()
    for package, (extension, path) in COMFORTS.items():
        if any(re.match(rf"{package}-\d", line) for line in lock):
            assert extension in session["lab"]["extensions"]
            assert not [off for off in session["lab"]["disabled"] if off.startswith(extension)]
            assert session["parts"][path][0] == 200, session["parts"][path]


@on_hubs
def test_completion_knows_the_notebooks_packages_and_not_the_servers(
    node: Node, session: dict[str, Any]
) -> None:
    known = session["completion"]
    (lock,) = node.facts.depot.locks["jupyterhub"].values()
    if any(re.match(r"jedi-language-server-\d", line) for line in lock):
        assert known["import ipykernel; ipykernel.__ver"]
        assert not known["import jupyterhub; jupyterhub.__ver"]


@on_hubs
def test_jupyterlab_asks_nobody_on_the_internet(session: dict[str, Any]) -> None:
    lab = session["lab"]
    assert (lab["manager"], lab["news"]) == (False, False)
    assert "@jupyterlab/apputils-extension:announcements" in lab["disabled"]


@on_hubs
def test_jupyterlab_is_told_banner_and_notices(session: dict[str, Any]) -> None:
    settings = session["settings"]
    status, text = session["parts"]["landbridge/notices"]
    assert status == 200, text
    told = json.loads(text)
    assert told["banner"] == settings["banner"]
    idle = any("nobody uses" in notice for notice in told["notices"])
    assert idle == bool(settings["cull_idle_seconds"])
    assert "landbridge-notices" in session["lab"]["extensions"]
