from pathlib import Path

import pytest

from landbridge.errors import InputError
from landbridge.run.command import Playbook, ansible_environment

SITE = Path("/content/site.yml")


def test_the_shortest_call_names_inventory_and_playbook(tmp_path: Path) -> None:
    assert Playbook(SITE, tmp_path).arguments() == ["--inventory", str(tmp_path), str(SITE)]


def test_every_option_becomes_ansibles_own(tmp_path: Path) -> None:
    playbook = Playbook(
        SITE, tmp_path, limit="hub", tags="r", check=True, diff=True, extra_vars=("a=1", "@/v.yml")
    )
    assert " ".join(playbook.arguments()[2:-1]) == (
        "--limit hub --tags r --check --diff --extra-vars a=1 --extra-vars @/v.yml"
    )


def test_logs_show_names_of_extra_variables_not_values(tmp_path: Path) -> None:
    given = ("password=s3cret", '{"word": "s3cret", "other": "a=s3cret"}')
    shown = Playbook(SITE, tmp_path, extra_vars=given).shown()
    assert "password=..." in shown
    assert "{word: ..., other: ...}" in shown
    assert "s3cret" not in " ".join(shown)


def test_a_missing_inventory_is_named_before_ansible_starts(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere"):
        Playbook(SITE, tmp_path / "nowhere")


def test_an_extra_variable_without_value_is_refused(tmp_path: Path) -> None:
    for text in ("forks", '{"forks": '):
        with pytest.raises(InputError, match="--extra-vars") as caught:
            Playbook(SITE, tmp_path, extra_vars=(text,))
        assert "forks" not in str(caught.value)


def test_the_toolkits_own_collections_and_programs_come_first() -> None:
    variables = ansible_environment(Path("/content"), Path("/toolkit"), {"PATH": "/usr/bin"})
    assert variables["ANSIBLE_COLLECTIONS_PATH"].split(":")[0] == "/toolkit/collections"
    assert variables["PATH"] == "/toolkit/bin:/usr/bin"
    assert variables["ANSIBLE_CONFIG"] == "/content/ansible.cfg"
    assert variables["ANSIBLE_HOST_KEY_CHECKING"] == "True"


def test_host_key_checking_is_the_callers_choice() -> None:
    base = {"ANSIBLE_HOST_KEY_CHECKING": "False"}
    variables = ansible_environment(Path("/c"), Path("/t"), base)
    assert variables["ANSIBLE_HOST_KEY_CHECKING"] == "False"
