"""What only running containers show of a host: firewall, GPUs, and what is cleared up.

One story of an EL9-like and an EL10-like node, which ask each other for what containers publish.
Before role podman came, both had firewalld, what stands in for NVIDIA's driver and toolkit, and a
journal in memory only, as it is on EL.
"""

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import BIN, Ended, LabNode, run
from tests.lab import inventory, nodes

pytestmark = pytest.mark.usefixtures("mitogen")

IMAGE = "localhost/tools/busybox:1"
# The age at which leftovers go.
AGE = 20
VARIABLES = {
    "podman_address_pools": [{"base": "10.200.0.0/16", "size": 24}],
    "podman_gpu": "nvidia",
    "podman_memory_max": "1G",
    "podman_prune_age": f"{AGE}s",
    "podman_rootless_users": [{"name": "alice"}],
}
# A store that somebody else has filled, for everybody to read, with an image that root has not.
OTHERS = "/home/others"
FILL = f"""
set -e
printf 'FROM {IMAGE}\\nENV OF=others\\n' | podman build -q -t localhost/made:1 -
skopeo copy -q containers-storage:localhost/made:1 \
    containers-storage:[overlay@{OTHERS}+/run/others]localhost/others/tool:1
podman rmi localhost/made:1
chmod -R a+rX {OTHERS}
"""
LATER = {
    "podman_additional_image_stores": [OTHERS],
    "podman_gpu": "",
    "podman_prune_calendar": "",
    "podman_memory_max": "",
}

# The device is that of /dev/null; nvidia-ctk writes what the real one would.
PREPARE = f"""
set -e
dnf -q -y --disablerepo=\\* --repofrompath=lab,file://$(echo {nodes.BUNDLE_MOUNT}/rpm/PLATFORM-*) \
    --enablerepo=lab --setopt=lab.gpgcheck=0 install firewalld
systemctl enable --now firewalld
useradd alice
umount -l /var/log/journal
rmdir /var/log/journal
systemctl restart systemd-journald
mknod -m 666 /dev/nvidiactl c 1 3
cat > /usr/bin/nvidia-ctk <<'SCRIPT'
#!/bin/sh
test "$1 $2" = "cdi generate" || exit 1
cat > "${{3#--output=}}" <<'SPEC'
cdiVersion: 0.5.0
kind: nvidia.com/gpu
devices:
  - name: all
    containerEdits:
      env: [LANDBRIDGE_GPU=all]
      deviceNodes: [{{path: /dev/nvidiactl}}]
SPEC
SCRIPT
chmod 755 /usr/bin/nvidia-ctk
"""
ALICE = "runuser -l alice -c 'export XDG_RUNTIME_DIR=/run/user/$(id -u); {}'"
WEB = (
    f"podman run -d --name web -p 8080:8080 {IMAGE} sh -c 'while :; do echo hi | nc -lp 8080; done'"
)
USE_GPU = (
    "podman run --rm --network none --device nvidia.com/gpu=all "
    f'{IMAGE} sh -c "test -c /dev/nvidiactl && env"'
)
USE_OTHERS = "podman run --rm --network none localhost/others/tool:1 env"
# Leftovers, what only looks like some, and what Compose and a person have made.
LITTER = f"""
set -e
podman run --name old {IMAGE} true
podman create --name made {IMAGE} true
podman run --name policy --restart=on-failure {IMAGE} true
podman run --name unit --label PODMAN_SYSTEMD_UNIT=some.service {IMAGE} true
podman run -d --name late {IMAGE} sleep 1000
podman network create --label com.docker.compose.project=shop composed
podman network create declared
podman volume create data
for word in first second; do
    printf 'FROM {IMAGE}\\nENV WORD=%s\\n' $word | podman build -q -t localhost/built:1 -
done
{ALICE.format(f"podman run --network none --name old {IMAGE} true")}
"""


def must(node: LabNode, script: str) -> str:
    """Output of a script that has to go well."""
    ended = node.run(script)
    assert ended.code == 0, ended.output
    return ended.output


def on_each(hosts: list[LabNode], script: str) -> list[str]:
    """Output of a script that has to go well, on all nodes at once."""
    with ThreadPoolExecutor() as pool:
        return list(pool.map(lambda node: must(node, script), hosts))


def over_ssh(hosts: list[LabNode], verb: str, *options: str) -> Ended:
    """`landbridge VERB` for all nodes at once."""
    file = inventory.write(hosts[0].folder / "hosts.yml", [node.name for node in hosts])
    return run(BIN / "landbridge", verb, "--inventory", file, *options)


def apply(hosts: list[LabNode], tags: str, variables: dict[str, Any]) -> Ended:
    """Converge the nodes."""
    file = hosts[0].folder / "variables.json"
    file.write_text(json.dumps(variables))
    return over_ssh(hosts, "apply", "--tags", tags, "--extra-vars", f"@{file}")


def becomes(condition: Callable[[], bool]) -> bool:
    """Whether a condition comes true within half a minute."""
    deadline = time.monotonic() + 30
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True


@pytest.fixture(scope="module")
def hosts(boot: Callable[..., LabNode], bundle: Path) -> list[LabNode]:
    """Both nodes, converged."""
    made = [boot(f"host-{platform}", platform, bundle) for platform in ("el9", "el10")]
    with ThreadPoolExecutor() as pool:
        scripts = [PREPARE.replace("PLATFORM", node.name.removeprefix("host-")) for node in made]
        list(pool.map(must, made, scripts))
    ended = apply(made, "repositories,podman", VARIABLES)
    assert ended.code == 0, ended.output
    return made


@pytest.fixture(scope="module")
def littered(hosts: list[LabNode]) -> float:
    """When the last of the leftovers was made."""
    on_each(hosts, LITTER)
    return time.monotonic()


@pytest.mark.usefixtures("littered")
def test_hosts_are_as_promised(hosts: list[LabNode]) -> None:
    ended = over_ssh(hosts, "verify", "--only", "containers", "--json")
    assert ended.code == 0, ended.output
    for check in ("reload_of_firewalld", "described_to_podman", "what_a_container_said"):
        assert check.replace("_", " ") in ended.output


def test_networks_survive_a_reload_and_a_restart_of_firewalld(hosts: list[LabNode]) -> None:
    on_each(hosts, WEB)
    for node, other in (hosts, hosts[::-1]):
        address, peer = nodes.find(node.name).host, nodes.find(other.name).host
        ask = f"timeout 3 bash -c 'read word < /dev/tcp/{address}/8080; test $word = hi'"
        ways = [(other, ask), (node, f"podman exec web nc -w 3 {peer} 8080 < /dev/null | grep hi")]
        for event in ("true", "firewall-cmd --reload", "systemctl restart firewalld"):
            must(node, event)
            for asker, way in ways:
                assert becomes(lambda asker=asker, way=way: asker.run(way).code == 0), (event, way)


def test_gpus_reach_containers(hosts: list[LabNode]) -> None:
    for script in (USE_GPU, ALICE.format(USE_GPU)):
        for said in on_each(hosts, script):
            assert "LANDBRIDGE_GPU=all" in said


def test_leftovers_go_and_nothing_else(hosts: list[LabNode], littered: float) -> None:
    time.sleep(max(0, littered + AGE + 1 - time.monotonic()))
    on_each(hosts, "podman stop -t 0 late && systemctl start landbridge-podman-prune")
    lists = "podman ps -a --format {{.Names}}; podman network ls -q; podman volume ls -q"
    for said in on_each(hosts, f"{lists}; podman images --format '{{{{.Repository}}}}'"):
        containers = {"policy", "unit", "late", "web"}
        networks = {"podman", "declared"}
        images = {"localhost/built", IMAGE.removesuffix(":1")}
        assert set(said.split()) == containers | networks | {"data"} | images
    on_each(hosts, ALICE.format("systemctl --user start landbridge-podman-prune"))
    assert on_each(hosts, ALICE.format("podman ps -aq")) == ["", ""]


def test_what_is_not_wanted_any_more_goes_and_a_store_of_others_comes(
    hosts: list[LabNode],
) -> None:
    on_each(hosts, FILL)
    ended = apply(hosts, "storage,engine,gpu,images,prune,promise", VARIABLES | LATER)
    assert ended.code == 0, ended.output
    left = "ls -d /etc/systemd/*/landbridge-podman-[cp]* /run/cdi/nvidia.yaml 2>/dev/null | cat"
    assert on_each(hosts, left) == ["", ""]
    for script in (USE_OTHERS, ALICE.format(USE_OTHERS)):
        for said in on_each(hosts, script):
            assert "OF=others" in said
    ended = over_ssh(hosts, "verify", "--only", "containers,images")
    assert ended.code == 0, ended.output


def test_without_a_driver_nothing_is_changed(hosts: list[LabNode]) -> None:
    on_each(hosts, "rm /dev/nvidiactl")
    ended = apply(hosts, "podman", VARIABLES)
    assert ended.code != 0
    assert "install nvidia-driver" in " ".join(ended.output.split())
    assert on_each(hosts, "ls /etc/systemd/system | grep -c landbridge-podman-cdi || true") == [
        "0\n",
        "0\n",
    ]
