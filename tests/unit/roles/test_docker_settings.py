"""daemon.json, docker.service and what becomes of each key under Podman."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.unit.roles.docker_daemon import DockerNode
from tests.unit.roles.modules import Runner

UNIT = "/usr/lib/systemd/system/docker.service"
DROP_IN = "/etc/systemd/system/docker.service.d/override.conf"


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DockerNode:
    return DockerNode(tmp_path, monkeypatch)


@pytest.fixture
def run(node: DockerNode, capsys: pytest.CaptureFixture[str]) -> Runner:
    return Runner(node.module, capsys)


def settings(run: Runner) -> dict[str, Any]:
    answer: dict[str, Any] = run()["survey"]["settings"]
    return answer


def needs(answer: dict[str, Any], key: str) -> str:
    found = [entry for entry in answer["untranslated"] if entry["key"] == key]
    assert found, f"{key} is not listed"
    return " ".join(need for entry in found for need in entry["needs"])


# What ops teams have, and what becomes of it.
DAEMON_JSON = {
    "registry-mirrors": ["https://mirror.example.org", "http://second.example.org:5000/"],
    "insecure-registries": ["reg.example.org:5000", "10.0.0.0/8"],
    "log-driver": "json-file",
    "log-opts": {"max-size": "10m", "tag": "x"},
    "data-root": "/data/docker",
    "default-address-pools": [
        {"base": "10.200.0.0/16", "size": 24},
        {"base": "fd00::/8", "size": 64},
    ],
    "live-restore": True,
    "storage-driver": "overlay2",
    "iptables": True,
    "exec-opts": ["native.cgroupdriver=systemd"],
    "features": {"buildkit": True},
    "hosts": ["fd://", "tcp://0.0.0.0:2376"],
    "bip": "172.30.0.1/16",
    "userns-remap": "default",
    "default-ulimits": {"nofile": {"Name": "nofile", "Soft": 1024, "Hard": 2048}},
    "proxies": {"https-proxy": "http://me:hunter2@proxy.example.org"},
    "runtimes": {"nvidia": {"path": "nvidia-container-runtime"}},
    "group": "ops",
    "no-such-key": 1,
}


def test_every_key_is_translated_or_the_same_or_listed(node: DockerNode, run: Runner) -> None:
    node.daemon_json(**DAEMON_JSON)
    answer = settings(run)
    assert answer["translated"] == {
        "graphroot": "/data/containers/storage",
        "registries": [
            {"prefix": "docker.io", "location": "mirror.example.org", "insecure": False},
            {
                "prefix": "reg.example.org:5000",
                "location": "reg.example.org:5000",
                "insecure": True,
            },
        ],
        "log_driver": "journald",
        "address_pools": [{"base": "10.200.0.0/16", "size": 24}],
    }
    listed = {entry["key"] for entry in answer["untranslated"]}
    translated = {"log-driver", "data-root"}
    assert listed | set(answer["harmless"]) | translated == set(DAEMON_JSON)
    assert set(answer["harmless"]) >= {"live-restore", "storage-driver", "iptables", "features"}
    assert all(entry["needs"] for entry in answer["untranslated"])
    assert "hunter2" not in str(answer)
    assert "second.example.org" in str([e for e in answer["untranslated"] if "mirrors" in e["key"]])
    assert 'default_ulimits = ["nofile=1024:2048"]' in needs(answer, "default-ulimits")
    assert "podman_docker_group: ops" in needs(answer, "group")
    assert "podman_gpu" in needs(answer, "runtimes")
    assert "SystemMaxUse" in needs(answer, "log-opts")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            '{\n  "debug": true\n  "mtu": 1400\n}',
            ["daemon.json:3: no JSON", "comma", '"mtu": 1400'],
        ),
        ('{"mtu": 1, "mtu": 2}', ["key mtu is there twice", "remove one"]),
        ("[]", ["daemon.json:1", "object"]),
        ('{"hosts": "fd://"}', ["hosts must be a list", "fd://"]),
        ('{"proxies": {"http-proxy": "http://u:hunter2@p"},}', ["daemon.json:1", "mend"]),
    ],
)
def test_a_broken_file_fails_with_its_line(
    node: DockerNode, run: Runner, text: str, words: list[str]
) -> None:
    node.write("/etc/docker/daemon.json", text)
    answer = run()
    assert answer["failed"]
    assert all(word in answer["msg"] for word in words), answer["msg"]
    assert "hunter2" not in answer["msg"]


def test_no_file_and_an_empty_one_say_nothing(node: DockerNode, run: Runner) -> None:
    assert settings(run)["translated"] == {}
    node.write("/etc/docker/daemon.json", "\n")
    assert settings(run)["untranslated"] == []


def test_options_of_the_unit_count_as_keys(node: DockerNode, run: Runner) -> None:
    node.write(UNIT, "[Service]\nExecStart=/usr/bin/dockerd -H fd:// --containerd=/run/c.sock\n")
    node.write("/etc/sysconfig/docker", "# o\nOPTIONS='--log-driver=none --mtu 1400 --icc=false'\n")
    node.write(
        DROP_IN,
        "[Service]\nEnvironmentFile=-/etc/sysconfig/docker\n"
        'Environment="HTTPS_PROXY=http://me:hunter2@proxy" NO_PROXY=.example.org\n'
        "ExecStart=\nExecStart=/usr/bin/dockerd -H fd:// \\\n  --data-root /data/d $OPTIONS ${NONE}"
        " --registry-mirror http://m:5000 --default-address-pool base=10.1.0.0/16,size=24\n",
    )
    answer = settings(run)
    assert answer["translated"] == {
        "graphroot": "/data/containers/storage",
        "registries": [{"prefix": "docker.io", "location": "m:5000", "insecure": True}],
        "log_driver": "none",
        "address_pools": [{"base": "10.1.0.0/16", "size": 24}],
    }
    assert {entry["from"] for entry in answer["untranslated"]} == {DROP_IN}
    assert "Options=mtu=1400" in needs(answer, "mtu")
    assert "networks of their own" in needs(answer, "icc")
    assert "[engine] env" in needs(answer, "HTTPS_PROXY")
    assert "hunter2" not in str(answer)


def test_what_the_role_would_refuse_is_put_right(node: DockerNode, run: Runner) -> None:
    """Docker takes ranges by any address in them, and registries twice."""
    node.daemon_json(
        **{
            "default-address-pools": [{"base": "172.17.0.0/12", "size": 24}],
            "insecure-registries": ["docker.io", "reg:5000", "http://reg:5000/"],
            "registry-mirrors": ["https://mirror.example.org"],
        }
    )
    node.write(DROP_IN, "[Service]\nEnvironment=WHO=it's\n")
    answer = settings(run)["translated"]
    assert answer["address_pools"] == [{"base": "172.16.0.0/12", "size": 24}]
    assert [(each["prefix"], each["location"]) for each in answer["registries"]] == [
        ("docker.io", "mirror.example.org"),
        ("reg:5000", "reg:5000"),
    ]


def test_the_translation_outlives_the_packages(node: DockerNode, run: Runner) -> None:
    node.daemon_json(**DAEMON_JSON)
    node.write(UNIT, "[Service]\nExecStart=/usr/bin/dockerd --containerd=/run/c.sock\n")
    before = settings(run)["translated"]
    (node.root / UNIT.lstrip("/")).unlink()
    assert run()["survey"]["daemon"] == "absent"
    assert settings(run)["translated"] == before


@pytest.mark.parametrize(
    ("driver", "taken"),
    [("local", "journald"), ("journald", "journald"), ("none", "none"), ("splunk", None)],
)
def test_log_drivers(node: DockerNode, run: Runner, driver: str, taken: str | None) -> None:
    node.daemon_json(**{"log-driver": driver, "log-opts": {"splunk-token": "hunter2"}})
    answer = settings(run)
    assert answer["translated"].get("log_driver") == taken
    assert "hunter2" not in str(answer)
    if taken is None:
        assert "no log driver splunk" in needs(answer, "log-driver")


def test_a_data_root_that_is_a_link_without_a_key_is_pointed_out(
    node: DockerNode, run: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = node.folder("/mnt/big")
    link = node.root / "lib-docker"
    link.symlink_to(elsewhere)
    translate = run.module.translate.__globals__
    monkeypatch.setitem(translate, "DATA_ROOT", str(link))
    answer = settings(run)
    assert answer["translated"] == {}
    assert "podman_graphroot" in needs(answer, "data-root")
