"""Users' servers in rootless containers: what is in them, whose it is, and what becomes of them.

alice and bob may have containers, carol may not. The tests are one story on an EL10-like node.
"""

import asyncio
import json
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.conftest import BIN, LabNode, must, run
from tests.lab import bundle as lab_bundle
from tests.lab import nodes
from tests.lab.hub_users import HubUser

pytestmark = pytest.mark.usefixtures("mitogen")

AREAS = "preflight,toolkit,repositories,podman,conda,jupyterhub"
SESSION = Path(__file__).parents[1] / "host/on_node/hub_session.py"
CELLS = Path(__file__).with_name("hub_cells.py")
SETTINGS = "/etc/landbridge/jupyterhub/values.json"
UNIT = "jupyter-alice-singleuser.service"
VARIABLES: dict[str, Any] = {
    "podman_rootless_users": [{"name": "alice", "images": True}, {"name": "bob", "images": True}],
    "jupyterhub_spawner": "podman",
    "jupyterhub_image": "localhost/tools/userland:1",
    "jupyterhub_memory_limit": "2G",
    "jupyterhub_cpu_limit": 1.5,
}
MAKE_USERS = """
groupadd landbridge-users
for user in alice bob carol; do
  useradd -m -G landbridge-users $user && echo "$user:$user's own" | chpasswd
done
echo kept > /home/bob/private
"""
LOOK = """
import os, pathlib
pathlib.Path.home().joinpath('from-inside').write_text('alice')
seen = [path for path in ('/home/bob', '/etc/landbridge/jupyterhub/secrets', '/var/lib/landbridge',
        '/etc/redhat-release', '/run/landbridge-hub') if os.path.exists(path)]
print(os.getuid(), os.getgid(), pathlib.Path.home(), seen, sorted(os.listdir('/home')))
"""
PODMAN = "cd /; runuser -u alice -- env XDG_RUNTIME_DIR=/run/user/$(id -u alice) podman"


def run_cells(node: LabNode, user: str, *cells: str) -> Any:
    """Outputs of cells in the user's kernel."""
    settings = must(node.run(f"cat {SETTINGS}"))
    for script in (SESSION, CELLS):
        must(node.run(f"cat > /root/{script.name} <<'SCRIPT'\n{script.read_text()}\nSCRIPT"))
    python = f"{json.loads(settings)['prefix']}/bin/python"
    return json.loads(
        must(node.run(shlex.join([python, f"/root/{CELLS.name}", settings, user, *cells])))
    )


@pytest.fixture(scope="module")
def node(boot: Callable[..., LabNode]) -> LabNode:
    """A hub whose servers are containers, and its users."""
    made = boot("podman-spawner", "el10", lab_bundle.build("containers"))
    must(made.run(MAKE_USERS))
    (made.folder / "group_vars").mkdir()
    (made.folder / "group_vars/all.yml").write_text(yaml.safe_dump(VARIABLES))
    must(made.apply("--tags", AREAS))
    return made


@pytest.fixture(scope="module")
def url(node: LabNode) -> Iterator[str]:
    """The hub, through a tunnel."""
    with nodes.forwarded(node.name, 8000) as port:
        yield f"http://127.0.0.1:{port}"


def test_a_kernel_is_the_users_and_sees_her_home_alone(node: LabNode) -> None:
    (look,) = run_cells(node, "alice", LOOK)
    uid, gid = must(node.run("id -u alice; id -g alice")).split()
    assert look == {"text": f"{uid} {gid} /home/alice [] ['alice']\n", "status": "ok"}
    owner = must(node.run("stat -c '%U %G' /home/alice/from-inside; cat /home/alice/from-inside"))
    assert owner == "alice alice\nalice"


def test_the_unit_holds_the_container(node: LabNode) -> None:
    names = must(node.run(f"{PODMAN} ps --format '{{{{.Names}}}} {{{{.Image}}}}'")).strip()
    assert names == f"jupyter-alice-singleuser {VARIABLES['jupyterhub_image']}"
    shown = must(node.run(f"systemctl show -p MemoryMax,CPUQuotaPerSecUSec,User {UNIT}"))
    assert {"MemoryMax=2147483648", "CPUQuotaPerSecUSec=1.500000s"} <= set(shown.split())
    kernel = "$(pgrep -u alice -f ipykernel_launcher)"
    assert must(node.run(f"cat /proc/{kernel}/cgroup")).strip().endswith(f"/{UNIT}")


def test_no_argument_tells_a_secret(node: LabNode) -> None:
    (token,) = run_cells(node, "alice", "import os; print(os.environ['JUPYTERHUB_API_TOKEN'])")
    arguments = must(node.run("cat /proc/[0-9]*/cmdline | tr '\\0' ' '"))
    assert "JUPYTERHUB_API_TOKEN" in arguments
    assert token["text"].strip() not in arguments


def test_a_new_hub_finds_it_running(node: LabNode) -> None:
    run_cells(node, "alice", "word = 'kept'")
    process = must(node.run(f"systemctl show --value -p MainPID {UNIT}"))
    must(node.run("systemctl restart landbridge-hub"))
    health = "curl -fsS http://127.0.0.1:8000/hub/health"
    must(node.run(f"for _ in $(seq 120); do {health} && exit; sleep 1; done; exit 1"))
    assert run_cells(node, "alice", "print(word)") == [{"text": "kept\n", "status": "ok"}]
    assert must(node.run(f"systemctl show --value -p MainPID {UNIT}")) == process


def test_who_may_have_no_containers_is_told(node: LabNode) -> None:
    told = run_cells(node, "carol", "1")
    assert "podman_rootless_users" in told["error"]


def test_the_neighbours_server_is_closed_to_her(url: str) -> None:
    async def story() -> list[bool]:
        alice, bob = (HubUser(url, name, f"{name}'s own") for name in ("alice", "bob"))
        for user in (alice, bob):
            await user.log_in()
        await bob.start()
        return [await bob.opens("bob"), await alice.opens("alice"), await alice.opens("bob")]

    assert asyncio.run(story()) == [True, True, False]


def test_a_stop_leaves_no_container(node: LabNode) -> None:
    must(node.run("systemctl stop 'jupyter-*'"))
    assert must(node.run(f"{PODMAN} ps --all --quiet")) == ""
    assert node.run("pgrep -u alice -f 'singleuser|conmon|ipykernel'").code == 1


def test_host_checks_pass(node: LabNode) -> None:
    command = [
        BIN / "landbridge",
        "verify",
        "--inventory",
        node.inventory(),
        "--only",
        "jupyterhub",
    ]
    must(run(*command))


def test_no_packet_was_meant_for_outside(node: LabNode) -> None:
    assert nodes.packets(node.name) == 0
