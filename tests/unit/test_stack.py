"""stack.yml: right input is typed, wrong input is named with file, line, key and mend."""

import json
from pathlib import Path

import pytest

from landbridge.errors import InputError
from landbridge.lock import merge
from landbridge.lock_fit import faults, wanted_of
from landbridge.stack import ImageWanted, Stack, json_schema, load_stack, split_pin

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


R = """\
name: a
targets: [el9-x86_64]
conda:
  environments:
    r-4.2: {packages: [python, "r-base 4.2.*"]}
    r-4.4: {packages: [forge::r-base=4.4]}
    plain: {packages: [r-base-html, my-r-base]}
sources:
  cran: {url: "http://127.0.0.1:1/cran"}
  conda: {channels: ["http://127.0.0.1:1/conda"]}
r:
"""


def test_what_r_may_be_asked_for(tmp_path: Path) -> None:
    text = R + (
        "  provider: conda\n"
        "  environments: [r-4.4, r-4.2]\n"
        '  packages: [IRkernel, "glue ==1.7.0", "MASS==7.3-60"]\n'
        "  system_requirements: {shop: {run: [foo-libs], build: [foo-devel]}, none: {}}\n"
    )
    r = load_stack(write(tmp_path, text)).r
    assert (r.provider, r.environments) == ("conda", ["r-4.4", "r-4.2"])
    assert [split_pin(package) for package in r.packages] == [
        ("IRkernel", ""),
        ("glue", "1.7.0"),
        ("MASS", "7.3-60"),
    ]
    assert r.system_requirements["shop"].build == ["foo-devel"]
    assert r.system_requirements["none"].run == []


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ("  provider: apt\n", ":12: 'r.provider'"),
        ("  environments: [r-4.2]\n", ":12: 'r.environments'"),
        ("  environments: [r-4.2]\n", "provider rpm takes none"),
        ("  provider: conda\n", "provider conda needs the names"),
        ("  provider: conda\n  environments: [r-9]\n", "conda.environments has no r-9"),
        ("  provider: conda\n  environments: [r-4.2, plain]\n", "plain does not ask for r-base"),
        ('  packages: ["glue >=1.7"]\n', ":12: 'r.packages.0'"),
        ('  packages: ["glue ==1.7/../x"]\n', ":12: 'r.packages.0'"),
        ('  packages: ["../glue"]\n', ":12: 'r.packages.0'"),
        ('  packages: ["glue ==1.6", "glue ==1.7"]\n', "glue is wanted twice"),
        ('  packages: [glue, "glue ==1.7"]\n', "glue is wanted twice"),
        ("  projects: [{file: renv.lock, pins: [x]}]\n", ":12: 'r.projects.0'"),
        ("  projects: [7]\n", ":12: 'r.projects.0'"),
        ("  system_requirements: {shop: {runs: [x]}}\n", "'r.system_requirements.shop.runs'"),
        ("  projects: [none/renv.lock]\n", "r.projects: none/renv.lock: cannot be read"),
    ],
)
def test_what_r_may_not_be_asked_for(tmp_path: Path, keys: str, expected: str) -> None:
    with pytest.raises(InputError) as caught:
        load_stack(write(tmp_path, R + keys))
    assert expected in caught.value.message
    assert caught.value.mend


def test_a_project_is_read_relative_to_the_stack(tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    record = {"Package": "glue", "Version": "1.7.0", "Source": "Repository"}
    lock = {"R": {"Version": "4.2.2"}, "Packages": {"glue": record}}
    (tmp_path / "shop/renv.lock").write_text(json.dumps(lock))
    loaded = load_stack(write(tmp_path, R + "  projects: [shop/renv.lock, shop/renv.lock]\n"))
    assert [(p.file, p.pins) for p in loaded.r.projects] == [("shop/renv.lock", ["glue ==1.7.0"])]
    # A stack with projects alone needs the source too.
    text = R.replace("  cran: {url", "  # cran: {url") + "  projects: [shop/renv.lock]\n"
    with pytest.raises(InputError, match=r"sources\.cran"):
        load_stack(write(tmp_path, text))


def test_a_changed_project_no_longer_fits_its_lock(tmp_path: Path) -> None:
    def stack_with(version: str) -> Stack:
        record = {"Package": "glue", "Version": version, "Source": "Repository"}
        lock = {"R": {"Version": "4.2.2"}, "Packages": {"glue": record}}
        (tmp_path / "renv.lock").write_text(json.dumps(lock))
        return load_stack(write(tmp_path, R + "  projects: [renv.lock]\n"))

    old = stack_with("1.6.2")
    lock = merge(old.name, old.targets, [], wanted_of(old))
    assert faults(lock, old) == []
    assert faults(lock, stack_with("1.7.0")) == [
        "r.projects.renv.lock: glue ==1.6.2 is locked but no longer wanted",
        "r.projects.renv.lock: glue ==1.7.0 is wanted but not locked",
    ]


def test_a_lock_of_before_does_not_fit_a_stack_with_r_and_one_without_does(tmp_path: Path) -> None:
    """Such a lock does not say what R packages need."""
    plain = load_stack(write(tmp_path, R.removesuffix("r:\n")))
    before = wanted_of(plain) | {"r": {"packages": []}}
    assert faults(merge("a", plain.targets, [], before), plain) == []
    with_r = load_stack(write(tmp_path, R + "  packages: [glue]\n"))
    before = wanted_of(with_r) | {"r": {"packages": ["glue"]}}
    assert faults(merge("a", with_r.targets, [], before), with_r) == [
        "r.provider: null is locked, rpm is wanted"
    ]
