"""The hub's profiles: who may have which, however it is asked for."""

import importlib.util
from types import ModuleType
from typing import Any

import pytest

from tests.unit.roles.modules import ROLES

SMALL: dict[str, Any] = {
    "name": "small",
    "groups": [],
    "memory": "1G",
    "cpu": 1,
    "devices": [],
    "default": False,
}
LARGE = SMALL | {"name": "large <script>", "groups": ["big"], "memory": None, "default": True}
GPU = SMALL | {"name": "gpu", "groups": ["gpu", "ops"], "cpu": None, "devices": ["/dev/nvidia0"]}
ALL = [SMALL, LARGE, GPU]


@pytest.fixture(scope="module")
def profiles() -> ModuleType:
    file = ROLES / "jupyterhub/files/landbridge_hub/profiles.py"
    spec = importlib.util.spec_from_file_location("hub_profiles", file)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("groups", "names"),
    [
        (set(), ["small"]),
        ({"big"}, ["small", "large <script>"]),
        ({"ops", "users"}, ["small", "gpu"]),
    ],
)
def test_profiles_are_for_groups(profiles: ModuleType, groups: set[str], names: list[str]) -> None:
    assert [profile["name"] for profile in profiles.allowed(ALL, groups)] == names


@pytest.mark.parametrize(
    ("groups", "wanted", "name"),
    [
        (set(), None, "small"),
        ({"big"}, None, "large <script>"),
        ({"big"}, "small", "small"),
        ({"gpu"}, "gpu", "gpu"),
    ],
)
def test_choice(profiles: ModuleType, groups: set[str], wanted: str | None, name: str) -> None:
    assert profiles.choose(ALL, groups, wanted)["name"] == name


@pytest.mark.parametrize("wanted", ["gpu", "large <script>", "", "no-such", ["small"], {"a": 1}, 0])
def test_what_is_not_the_users_is_refused(profiles: ModuleType, wanted: Any) -> None:
    with pytest.raises(profiles.RefusedError, match="choose another"):
        profiles.choose(ALL, set(), wanted)


def test_user_of_no_profile_is_told(profiles: ModuleType) -> None:
    with pytest.raises(profiles.RefusedError):
        profiles.choose([GPU], set(), None)
    assert "<option" not in profiles.form([GPU], set())


def test_form_offers_what_is_allowed_with_the_default_chosen(profiles: ModuleType) -> None:
    form = profiles.form(ALL, {"big"})
    assert form.count("<option") == 2
    assert '<option value="large &lt;script&gt;" selected>' in form
    assert "1G of memory, 1 processors" in form
    assert "gpu" not in form
    assert "<script>" not in form
