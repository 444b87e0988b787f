"""stack.yml: right input is typed, wrong input is named with file, line, key and mend."""

import json
from pathlib import Path

import pytest

from landbridge.errors import InputError
from landbridge.stack import ImageWanted, json_schema, load_stack

ROOT = Path(__file__).parents[2]
SOURCES = """\
conda: {channels: [http://127.0.0.1:1/conda]}
cran: {url: http://127.0.0.1:1/cran}
images: {registry: 127.0.0.1:1, insecure: true}
rpm:
  el9-x86_64: [{id: base, baseurl: http://127.0.0.1:1/9, gpgkey: http://127.0.0.1:1/key}]
  el10-x86_64: [{id: base, baseurl: http://127.0.0.1:1/10, gpgkey: http://127.0.0.1:1/key}]
"""


def write(tmp_path: Path, text: str, name: str = "stack.yml") -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


SHIPPED = sorted(f for f in (ROOT / "stacks").glob("*.yml") if not f.name.startswith("policy"))


@pytest.mark.parametrize("stack", SHIPPED, ids=lambda p: p.stem)
def test_shipped_stacks_load(stack: Path, tmp_path: Path) -> None:
    if stack.name.startswith("sources"):
        minimal = ROOT / "stacks" / "minimal.yml"
        assert load_stack(minimal, stack).sources.cran is not None
        return
    loaded = load_stack(stack, write(tmp_path, SOURCES, "sources.yml"))
    assert loaded.name == stack.stem
    assert "podman" in loaded.rpm.for_target("el9-x86_64")


def test_packages_of_one_target_stay_there(tmp_path: Path) -> None:
    loaded = load_stack(ROOT / "stacks" / "minimal.yml", write(tmp_path, SOURCES, "s.yml"))
    assert "passt" in loaded.rpm.for_target("el10-x86_64")
    assert "passt" not in loaded.rpm.for_target("el9-x86_64")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("name: a\ntargets: [el9-x86_64]\nrpms: {}\n", ":3: unknown key 'rpms'"),
        ("name: a\ntargets: [el8-x86_64]\n", ":2: 'targets.0'"),
        ("name: a\n", "'targets': Field required"),
        ("name: a\ntargets: [el9-x86_64]\nrpm:\n  packages: podman\n", ":4: 'rpm.packages'"),
        (
            "name: a\ntargets: [el9-x86_64]\nconda:\n  environments:\n    x: {packages: []}\n",
            ":5: 'conda.environments.x.packages'",
        ),
        ("name: [\n", "not valid YAML"),
        ("", "holds no keys"),
        ("name: a\ntargets: [el9-x86_64]\nimages: [{name: busybox}]\n", ":3: 'images.0.name'"),
    ],
)
def test_wrong_input_is_named(tmp_path: Path, text: str, expected: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(InputError) as caught:
        load_stack(path)
    assert str(path) in str(caught.value)
    assert expected in str(caught.value)
    assert caught.value.mend
    assert caught.value.exit_code == 2


def test_every_fault_is_listed_at_once(tmp_path: Path) -> None:
    path = write(tmp_path, "name: a\ntargets: []\nwrong: 1\nalso: 2\n")
    with pytest.raises(InputError) as caught:
        load_stack(path)
    assert all(word in caught.value.message for word in ("targets", "wrong", "also"))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.yml"):
        load_stack(tmp_path / "none.yml")


def test_missing_sources_are_listed_together() -> None:
    with pytest.raises(InputError) as caught:
        load_stack(ROOT / "stacks" / "minimal.yml")
    for key in ("rpm.el9-x86_64", "rpm.el10-x86_64", "conda", "cran", "images"):
        assert f"sources.{key}" in caught.value.message
    assert "--sources" in caught.value.mend


@pytest.mark.parametrize(
    "url",
    [
        "https://joe:hunter2@cran.example.com",
        "https://cran.example.com/t/hunter2/cran",
        "'https://cran.example.com/cran?access_token=hunter2'",
    ],
)
def test_credentials_in_a_url_are_refused_and_not_repeated(tmp_path: Path, url: str) -> None:
    secret = SOURCES.replace("http://127.0.0.1:1/cran", url)
    with pytest.raises(InputError) as caught:
        load_stack(ROOT / "stacks" / "minimal.yml", write(tmp_path, secret, "sources.yml"))
    assert "'cran.url'" in caught.value.message
    assert "credentials" in caught.value.message
    assert "hunter2" not in str(caught.value)


def test_an_image_with_a_host_of_its_own_needs_no_registry(tmp_path: Path) -> None:
    text = "name: a\ntargets: [el9-x86_64]\nimages: [{name: 'registry.example.com/x/y:1'}]\n"
    assert load_stack(write(tmp_path, text)).images[0].name == "registry.example.com/x/y:1"


def test_schema_is_closed_and_the_checked_in_one_is_today_s() -> None:
    assert (ROOT / "stacks" / "stack.schema.json").read_text() == json_schema()
    schema = json.loads(json_schema())
    assert schema["additionalProperties"] is False
    assert {"name", "targets"} <= set(schema["required"])


@pytest.mark.parametrize(
    ("name", "host", "on_node"),
    [
        ("busybox:1", None, "localhost/busybox:1"),
        ("tools/busybox:1", None, "localhost/tools/busybox:1"),
        ("registry:5000/x:1", "registry:5000", "registry:5000/x:1"),
        ("registry.example.com/x:1", "registry.example.com", "registry.example.com/x:1"),
    ],
)
def test_image_hosts_follow_dockers_rule(name: str, host: str | None, on_node: str) -> None:
    image = ImageWanted(name=name)
    assert (image.host, image.node_name) == (host, on_node)
