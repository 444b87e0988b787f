"""How the sources are reached: certificates, proxies, and credentials from netrc and pip."""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from netrc import NetrcParseError, netrc
from pathlib import Path
from threading import RLock
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from landbridge import stack
from landbridge.errors import InputError
from landbridge.process import run

_PORTS = {"http": 80, "https": 443}
_FILES = ("ca", "client_cert", "client_key", "netrc")
_READ_BY_OTHERS = 0o044
_PIP_URLS = ("index-url", "extra-index-url", "find-links")

Login = tuple[str, str]
_NOBODY: Login = ("", "")
_NO_ENTRY = stack.Access(url="")


@dataclass(frozen=True)
class Way:
    """How one URL is reached.

    Attributes:
        ca: file with certificates to trust beside the operating system's; None for none.
        client_cert: certificate (chain) to show; with `client_key` unless that is in it.
        client_key: its private key.
        proxy: URL of the proxy; empty for none at all, None for what the environment says.
        username: from netrc or pip's configuration; empty for none. A token may stand here,
            so it is never shown either.
        password: likewise.
    """

    ca: Path | None = None
    client_cert: Path | None = None
    client_key: Path | None = None
    proxy: str | None = None
    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)


class Place(NamedTuple):
    """A URL's parts as they are compared: host and scheme in small letters, no usual port."""

    scheme: str
    host: str
    path: str

    def holds(self, path: str) -> bool:
        """Whether `path` is at or below this place's path; `/x` does not hold `/xy`."""
        own = self.path.rstrip("/")
        return path == own or path.startswith(f"{own}/")


def place(url: str) -> Place:
    """Take a URL apart; a bare `host[:port]` is a registry, asked by https.

    Raises:
        InputError: it is not a URL.
    """
    try:
        parts = urlsplit(url if "://" in url else f"https://{url}")
        port = parts.port
    except ValueError as error:
        raise InputError(f"{url}: not a URL: {error}", "mend it in the sources file") from error
    host = parts.hostname or ""
    shown = host if port in (None, _PORTS.get(parts.scheme)) else f"{host}:{port}"
    return Place(parts.scheme, shown, parts.path or "/")


class Access:
    """Finds the way to a URL; asked by several threads.

    Args:
        entries: `sources.access`.

    Raises:
        InputError: a file that an entry names is missing; all such are listed.
    """

    def __init__(self, entries: Sequence[stack.Access] = ()) -> None:
        _require_files(entries)
        known = [(place(entry.url), entry) for entry in entries]
        self._entries = sorted(known, key=lambda pair: len(pair[0].path), reverse=True)
        self._netrcs: dict[Path, Mapping[str, Login]] = {}
        self._alone = RLock()

    def way(self, url: str) -> Way:
        """How to reach `url`: by the entry with the longest matching prefix, and by netrc.

        Raises:
            InputError: the netrc file is malformed, or others can read the password wanted.
        """
        wanted = place(url)
        if wanted.scheme == "file":
            return Way()
        matching = (
            entry
            for prefix, entry in self._entries
            if prefix[:2] == wanted[:2] and prefix.holds(wanted.path)
        )
        entry = next(matching, _NO_ENTRY)
        with self._alone:
            username, password = self._login(wanted, entry)
        return Way(
            ca=Path(entry.ca) if entry.ca else None,
            client_cert=Path(entry.client_cert) if entry.client_cert else None,
            client_key=Path(entry.client_key) if entry.client_key else None,
            proxy="" if entry.proxy == "direct" else entry.proxy,
            username=username,
            password=password,
        )

    def _login(self, wanted: Place, entry: stack.Access) -> Login:
        """The user name and password for a host: netrc first, then pip's own indexes."""
        host = urlsplit(f"//{wanted.host}").hostname or ""
        file = Path(entry.netrc) if entry.netrc else _default_netrc()
        if file is not None:
            if file not in self._netrcs:
                self._netrcs[file] = _read_netrc(file)
            if host in self._netrcs[file]:
                _require_private(file, host)
                return self._netrcs[file][host]
        return self._pip_logins.get(wanted[:2], _NOBODY)

    @cached_property
    def _pip_logins(self) -> dict[tuple[str, str], Login]:
        """By scheme and host; pip is asked because only it knows where its settings come from."""
        command = [sys.executable, "-m", "pip", "config", "list"]
        lines = run(command, package="pip", check=False).stdout.splitlines()
        return {place(url)[:2]: login for url, login in _logins_in(lines)}


def _require_files(entries: Sequence[stack.Access]) -> None:
    faults = []
    for number, entry in enumerate(entries):
        for key in _FILES:
            name = getattr(entry, key)
            if name and not Path(name).exists():
                faults.append(f"sources.access[{number}].{key}: {name}: no such file")
        if entry.client_key and not entry.client_cert:
            faults.append(f"sources.access[{number}].client_key: stands without client_cert")
    if faults:
        raise InputError("\n".join(faults), "mend the entries of `access:` in the sources file")


def _default_netrc() -> Path | None:
    """$NETRC, else ~/.netrc if there is one."""
    named = os.environ.get("NETRC")
    if named and not Path(named).expanduser().exists():
        raise InputError(f"$NETRC: {named}: no such file", "unset NETRC or name a file")
    file = Path(named or "~/.netrc").expanduser()
    return file if file.exists() else None


def _read_netrc(file: Path) -> Mapping[str, Login]:
    """User names and passwords by host. `default` is left out: it would go to every host.

    What the parser says is not repeated, for it may quote a password.
    """
    try:
        hosts = netrc(str(file)).hosts
    except NetrcParseError as error:
        raise InputError(
            f"{file}:{error.lineno}: not valid in a netrc file, here or on the line before",
            "write `machine HOST login NAME password WORD`, quoted where it has spaces",
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: cannot be read: {error}", "mend the netrc file") from None
    return {
        host.lower(): (login, password)
        for host, (login, _account, password) in hosts.items()
        if host != "default"
    }


def _require_private(file: Path, host: str) -> None:
    if file.stat().st_mode & _READ_BY_OTHERS:
        raise InputError(
            f"{file}: holds the password for {host} and is readable by others", f"chmod 600 {file}"
        )


def _logins_in(lines: Sequence[str]) -> Iterator[tuple[str, Login]]:
    """URLs with credentials in `pip config list`, whose lines are `section.key='value'`."""
    for line in lines:
        name, _, value = line.partition("=")
        if name.rpartition(".")[2] not in _PIP_URLS:
            continue
        for url in str(ast.literal_eval(value)).split():
            parts = urlsplit(url)
            if parts.username:
                yield url, (unquote(parts.username), unquote(parts.password or ""))
