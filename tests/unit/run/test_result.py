from typing import Any

from landbridge.run.result import RunResult


def failed(host: str, task: str = "Install", **res: Any) -> dict[str, Any]:
    data = {"host": host, "task": task, "role": "podman", "task_path": "main.yml:3", "res": res}
    return {"event": "runner_on_failed", "event_data": data}


def stats(**kinds: dict[str, int]) -> dict[str, Any]:
    hosts = {host: 1 for counts in kinds.values() for host in counts}
    return {"event": "playbook_on_stats", "event_data": {"processed": hosts, **kinds}}


def test_a_failure_names_host_task_place_and_message_once() -> None:
    result = RunResult(exit_code=2)
    result.add(failed("n1", msg="no such package", stderr="dnf: nothing provides it"))
    result.add(stats(failures={"n1": 1}))
    assert result.report() == [
        "n1: podman : Install (main.yml:3): no such package\ndnf: nothing provides it"
    ]


def test_of_a_loop_only_failed_items_speak() -> None:
    result = RunResult(exit_code=2)
    items = [{"msg": "fine"}, {"failed": True, "msg": "disk full"}]
    result.add(failed("n1", msg="One or more items failed", results=items))
    assert result.failures[0].message == "disk full"


def test_a_rescued_failure_is_none() -> None:
    result = RunResult()
    result.add(failed("n1", msg="tried"))
    result.add(stats(ok={"n1": 3}, rescued={"n1": 1}))
    assert result.failures == []
    assert result.ok


def test_an_unreachable_host_is_named() -> None:
    result = RunResult(exit_code=4)
    data = {"host": "n2", "res": {"msg": "connection timed out"}}
    result.add({"event": "runner_on_unreachable", "event_data": data})
    result.add(stats(dark={"n2": 1}))
    assert result.report() == ["n2: unreachable: connection timed out"]


def test_a_run_without_hosts_is_no_success() -> None:
    result = RunResult(exit_code=0)
    assert not result.ok
    assert "no host took part" in result.report()[0]


def test_ansibles_own_error_is_shown_when_no_task_ran() -> None:
    result = RunResult(exit_code=4)
    result.add({"event": "verbose", "stdout": "[ERROR]: YAML parsing failed\nblah"})
    assert result.report() == ["[ERROR]: YAML parsing failed"]
