"""JupyterHub on a machine where SELinux enforces and memory is limited: `make test-vm`.

The machine is EL10-like; its policy is Debian's `default`, not RHEL's `targeted`. Toolkit and
environments were there before it booted, the latter without labels; role conda labels them, role
jupyterhub brings the hub, and users start their servers. The tests are one story.
"""

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from tests.lab import vm
from tests.vm.conftest import DENIALS, apply, denials, must

ROOT = Path(__file__).parents[2]
AREAS = "preflight,conda,jupyterhub"
SETTINGS = "/etc/landbridge/jupyterhub/values.json"
SCRIPTS = [ROOT / "tests/host/on_node/hub_session.py", ROOT / "tests/vm/hub_neighbours.py"]
MEGABYTES, PROCESSORS = 512, 1.5
VARIABLES = {
    "jupyterhub_memory_limit": f"{MEGABYTES}M",
    "jupyterhub_cpu_limit": PROCESSORS,
    "jupyterhub_start_seconds": 900,
    "jupyterhub_server_seconds": 900,
}
GREEDY, NEIGHBOUR = "alice", "bob"
MAKE_USERS = f"""
groupadd landbridge-users
for user in {GREEDY} {NEIGHBOUR}; do
  useradd -m -G landbridge-users $user && echo "$user:$user's own" | chpasswd
done
"""
# Not the package cache: environments are links to its files, which have the labels for there.
OURS = "/opt/landbridge/envs /opt/landbridge/share /opt/landbridge/toolkits /etc/landbridge"
OURS += " /var/lib/landbridge /etc/systemd/system /etc/pam.d/jupyterhub"


@pytest.fixture(scope="module")
def hub(
    machine: vm.Machine,
    of_boot: set[tuple[str, ...]],  # noqa: ARG001
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Any]:
    """The settings of a hub that the roles have brought."""
    # RHEL's policy lets unconfined services compile to memory unless deny_execmem is on; Debian's
    # does not unless this is. The proxy is such a service: Node.js compiles JavaScript.
    must(machine, "setsebool allow_execmem on")
    must(machine, MAKE_USERS)
    apply(machine.inventory(tmp_path_factory.mktemp("inventory"), VARIABLES), AREAS)
    settings: dict[str, Any] = json.loads(must(machine, f"cat {SETTINGS}"))
    return settings


@pytest.fixture(scope="module")
def seen(machine: vm.Machine, hub: dict[str, Any]) -> dict[str, Any]:
    """What became of both users."""
    for script in SCRIPTS:
        must(machine, f"cat > /root/{script.name} <<'SCRIPT'\n{script.read_text()}\nSCRIPT")
    python = f"{hub['prefix']}/bin/python"
    size = 2 * MEGABYTES << 20
    words = [python, f"/root/{SCRIPTS[-1].name}", json.dumps(hub), GREEDY, NEIGHBOUR]
    output = must(machine, shlex.join([*words, hub["default_kernel"], str(size)]))
    print(output)
    told: dict[str, Any] = json.loads(output.splitlines()[-1])
    return told


def test_selinux_enforces(machine: vm.Machine) -> None:
    assert must(machine, "getenforce").strip() == "Enforcing"


def test_the_hub_answers_on_port_8000(machine: vm.Machine, hub: dict[str, Any]) -> None:
    assert hub["bind_url"] == "http://127.0.0.1:8000"
    assert must(
        machine, "curl -fsS http://127.0.0.1:8000/hub/health -o /dev/null -w '%{http_code}'"
    )
    (listener,) = must(machine, "ss -lntpZ | grep -F :8000").splitlines()
    assert ":init_t:" not in listener


def test_files_have_the_labels_of_the_policy(machine: vm.Machine, hub: dict[str, Any]) -> None:
    assert must(machine, f"restorecon -nvR {OURS} | tail -n 5") == ""
    assert ":bin_t:" in must(machine, f"stat -L -c %C {hub['prefix']}/bin/jupyterhub-singleuser")


def test_both_log_in_and_their_kernels_run(seen: dict[str, Any]) -> None:
    for user in (GREEDY, NEIGHBOUR):
        assert seen["logins"][user] == {"status": 200, "path": "/hub/home"}
        assert seen["before"][user] == {"text": "42042\n", "status": "ok"}


def test_the_kernel_has_the_limits(seen: dict[str, Any]) -> None:
    for user in (GREEDY, NEIGHBOUR):
        assert seen["limits"][user]["memory"] == str(MEGABYTES << 20)
        quota, period = map(int, seen["limits"][user]["cpu"].split())
        assert quota / period == PROCESSORS


def test_who_takes_too_much_is_killed_and_may_begin_anew(seen: dict[str, Any]) -> None:
    assert seen["limits"][GREEDY]["killed"] >= 1
    assert seen["greedy"] == {"text": "False\n", "status": "ok"}


def test_the_neighbour_has_felt_nothing(seen: dict[str, Any]) -> None:
    assert seen["limits"][NEIGHBOUR]["killed"] == 0
    assert seen["neighbour"] == {"text": "kept\n", "status": "ok"}


def test_servers_leave_systemds_own_domain(seen: dict[str, Any]) -> None:
    for user in (GREEDY, NEIGHBOUR):
        for context in seen["limits"][user]["contexts"]:
            assert context.split(":")[2] != "init_t", context


@pytest.mark.usefixtures("seen")
def test_nothing_of_ours_was_denied(machine: vm.Machine, of_boot: set[tuple[str, ...]]) -> None:
    ours = denials(machine) - of_boot
    print(f"denials of boot: {sorted(of_boot)}; others: {sorted(ours)}")
    assert ours == set(), must(machine, DENIALS)
