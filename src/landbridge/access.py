"""How the sources are reached: certificates, proxies, and credentials that no file of ours holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from landbridge import stack


@dataclass(frozen=True)
class Way:
    """How one URL is reached.

    Attributes:
        ca: file with the certificates to trust; None for the operating system's.
        client_cert: certificate (chain) to show; with `client_key` unless that is in it.
        client_key: its private key.
        proxy: URL of the proxy; empty for none at all, None for what the environment says.
        username: from netrc; empty for none.
        password: likewise; never shown.
    """

    ca: Path | None = None
    client_cert: Path | None = None
    client_key: Path | None = None
    proxy: str | None = None
    username: str = ""
    password: str = field(default="", repr=False)


class Access:
    """Finds the way to a URL.

    Args:
        entries: `sources.access`.
    """

    def __init__(self, entries: Sequence[stack.Access] = ()) -> None:
        self._entries = sorted(entries, key=lambda entry: len(entry.url), reverse=True)

    def way(self, url: str) -> Way:
        """How to reach `url`: by the entry with the longest matching prefix, and by netrc."""
        entry = next((e for e in self._entries if url.startswith(e.url)), None)
        if entry is None:
            return Way()
        return Way(
            ca=Path(entry.ca) if entry.ca else None,
            client_cert=Path(entry.client_cert) if entry.client_cert else None,
            client_key=Path(entry.client_key) if entry.client_key else None,
            proxy="" if entry.proxy == "direct" else entry.proxy,
        )
