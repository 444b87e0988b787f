"""Access: the longest prefix counts, credentials come from netrc and pip, faults are named."""

from __future__ import annotations

from pathlib import Path

import pytest

from landbridge.access import Access, Way
from landbridge.errors import InputError
from landbridge.stack import Access as Entry
from landbridge.stack import load_stack

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither the netrc nor the pip settings of whoever runs the tests."""
    monkeypatch.delenv("NETRC", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    for name in ("INDEX_URL", "EXTRA_INDEX_URL", "FIND_LINKS"):
        monkeypatch.delenv(f"PIP_{name}", raising=False)


def netrc(file: Path, text: str, mode: int = 0o600) -> str:
    file.write_text(text)
    file.chmod(mode)
    return str(file)


@pytest.mark.parametrize(
    ("url", "proxy"),
    [
        ("https://a.example/x", "http://x"),
        ("https://a.example/x/", "http://x"),
        ("https://A.example:443/x/y.rpm?z", "http://x"),
        ("https://a.example/x/deep/y.rpm", "http://deep"),
        ("https://a.example/xy", "http://host"),
        ("https://a.example", "http://host"),
        ("a.example", "http://host"),
        ("https://a.example:5000", None),
        ("https://a.example.evil/x", None),
        ("http://a.example/x", None),
        ("docker.example:5000", "http://registry"),
        ("https://docker.example:5000/v2/", "http://registry"),
        ("conda-forge", None),
        ("file:///x", None),
    ],
)
def test_the_longest_prefix_that_ends_at_a_slash_counts(url: str, proxy: str | None) -> None:
    access = Access(
        [
            Entry(url="https://a.example", proxy="http://host"),
            Entry(url="https://a.example/x/deep/", proxy="http://deep"),
            Entry(url="https://a.example/x", proxy="http://x"),
            Entry(url="docker.example:5000", proxy="http://registry"),
        ]
    )
    assert access.way(url).proxy == proxy


def test_direct_forbids_the_proxy_of_the_environment() -> None:
    assert Access([Entry(url="https://a.example", proxy="direct")]).way("a.example").proxy == ""


def test_files_come_from_the_entry(tmp_path: Path) -> None:
    for name in ("ca", "cert", "key"):
        (tmp_path / name).touch()
    entry = Entry(
        url="https://a.example",
        ca=f"{tmp_path}/ca",
        client_cert=f"{tmp_path}/cert",
        client_key=f"{tmp_path}/key",
    )
    assert Access([entry]).way("https://a.example/x") == Way(
        tmp_path / "ca", tmp_path / "cert", tmp_path / "key"
    )


def test_missing_files_are_all_named_with_their_keys(tmp_path: Path) -> None:
    good = Entry(url="https://a.example")
    bad = Entry(url="https://b.example", ca="/none/ca", client_key=str(tmp_path), netrc="/none/rc")
    with pytest.raises(InputError) as caught:
        Access([good, bad])
    assert caught.value.message.splitlines() == [
        "sources.access[1].ca: /none/ca: no such file",
        "sources.access[1].netrc: /none/rc: no such file",
        "sources.access[1].client_key: stands without client_cert",
    ]


@pytest.mark.parametrize("url", ["https://a.example:port/", "https://[::1/"])
def test_what_is_no_url_is_named(url: str) -> None:
    with pytest.raises(InputError, match="not a URL"):
        Access().way(url)


def test_netrc_of_the_entry_comes_before_the_environment_s_and_that_before_the_home_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc(tmp_path / ".netrc", "machine a.example login home password x\n")
    own = netrc(tmp_path / "own", "machine a.example login own password x\n")
    access = Access([Entry(url="https://a.example/own", netrc=own)])
    assert access.way("https://a.example/").username == "home"
    named = netrc(tmp_path / "named", 'machine a.example login named password "a b"\n')
    monkeypatch.setenv("NETRC", named)
    assert access.way("https://A.example:8443/").username == "named"
    assert access.way("https://A.example:8443/").password == "a b"
    assert access.way("https://a.example/own/x").username == "own"
    assert access.way("https://b.example/").username == ""


def test_the_netrc_s_default_is_not_sent_to_every_host(tmp_path: Path) -> None:
    netrc(tmp_path / ".netrc", "default login me password secret\n")
    assert Access().way("https://a.example/") == Way()


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("machine a.example\n  login me\n  password open sesame\n", 4),
        ("machine a.example login me password x\n\nhost b.example\n", 3),
    ],
)
def test_a_malformed_netrc_is_named_with_its_line_and_without_its_words(
    tmp_path: Path, text: str, line: int
) -> None:
    file = netrc(tmp_path / ".netrc", text)
    with pytest.raises(InputError) as caught:
        Access().way("https://a.example/")
    assert caught.value.message.startswith(f"{file}:{line}: ")
    assert "sesame" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_netrc_that_is_not_there_or_not_text_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NETRC", f"{tmp_path}/none")
    with pytest.raises(InputError, match=r"\$NETRC: .*/none: no such file"):
        Access().way("https://a.example/")
    monkeypatch.setenv("NETRC", str(tmp_path))
    with pytest.raises(InputError, match=f"{tmp_path}: cannot be read"):
        Access().way("https://a.example/")


def test_a_password_that_others_can_read_is_refused(tmp_path: Path) -> None:
    file = netrc(tmp_path / ".netrc", "machine a.example login me password x\n", mode=0o640)
    with pytest.raises(InputError, match=r"password for a\.example .*readable by others") as caught:
        Access().way("https://a.example/")
    assert caught.value.mend == f"chmod 600 {file}"
    assert Access().way("https://b.example/") == Way()


def test_pip_s_indexes_bring_their_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "https://me:p%40ss@Index.example/simple")
    monkeypatch.setenv(
        "PIP_EXTRA_INDEX_URL", "https://token@more.example:8443/simple\nhttps://open.example/simple"
    )
    access = Access()
    way = access.way("https://index.example/packages/x.whl")
    assert (way.username, way.password) == ("me", "p@ss")
    assert access.way("https://more.example:8443/x.whl").username == "token"
    for url in ("https://more.example/x", "http://index.example/x", "https://open.example/x"):
        assert access.way(url) == Way()


def test_netrc_comes_before_pip_s_indexes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "https://pip:x@a.example/simple")
    netrc(tmp_path / ".netrc", "machine a.example login netrc password x\n")
    assert Access().way("https://a.example/x.whl").username == "netrc"


def test_a_way_shows_no_credentials() -> None:
    assert "me" not in repr(Way(username="me", password="secret")).replace("username", "")
    assert "secret" not in repr(Way(username="me", password="secret"))


def test_the_example_of_access_loads() -> None:
    stack = load_stack(ROOT / "stacks/minimal.yml", ROOT / "stacks/sources.example.yml")
    entries = stack.sources.access
    assert {entry.url for entry in entries} == {
        "https://mirror.example.com",
        "https://mirror.example.com/conda",
        "registry.example.com",
    }
    assert all(Path(entry.ca).is_absolute() for entry in entries if entry.ca)
