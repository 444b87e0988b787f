"""JupyterHub on a machine where SELinux enforces and memory is limited: `make test-vm`.

The machine is EL10-like; its policy is Debian's `default`, not RHEL's `targeted`. Toolkit and
environments were there before it booted, the latter without labels; role conda labels them, role
jupyterhub brings the hub, and users start their servers. The tests are one story.
"""

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import mitogen_environment
from tests.lab import bundle, vm
from tests.lab.platforms import platform

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
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
DENIALS = "journalctl --boot --output=cat _TRANSPORT=audit | grep 'avc: *denied' || true"
DENIAL = re.compile(
    r"\{ (?P<what>.*?) \}.*scontext=\S+?:\S+?:(?P<who>\w+):.*"
    r"tcontext=\S+?:\S+?:(?P<whom>\w+):.*tclass=(?P<kind>\w+)"
)


def must(machine: vm.Machine, script: str) -> str:
    done = machine.run(script)
    assert done.returncode == 0, done.stdout[-6000:]
    return done.stdout


def denials(machine: vm.Machine) -> set[tuple[str, ...]]:
    """Kinds of denials since the boot: who, what, to what type and class."""
    matches = map(DENIAL.search, must(machine, DENIALS).splitlines())
    return {(m["who"], m["what"], m["whom"], m["kind"]) for m in matches if m}


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[vm.Machine]:
    serial = tmp_path_factory.mktemp("vm") / "serial.log"
    with vm.booted(platform("el10"), bundle.build(), serial) as booted:
        yield booted


@pytest.fixture(scope="module")
def of_boot(machine: vm.Machine) -> set[tuple[str, ...]]:
    """What Debian's policy denies to the machine itself, before there is anything of ours."""
    return denials(machine)


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
    inventory = machine.inventory(tmp_path_factory.mktemp("inventory"), VARIABLES)
    command = [BIN / "landbridge", "apply", "--inventory", inventory, "--tags", AREAS]
    # Emulated, on a machine that does other things as well, sshd takes its time.
    environment = os.environ | mitogen_environment() | {"ANSIBLE_TIMEOUT": "300"}
    environment["PATH"] = f"{BIN}:{os.environ['PATH']}"
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
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
