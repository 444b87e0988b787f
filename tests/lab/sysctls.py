"""Keeps the machine's global sysctls as they are while a privileged node boots."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# systemd as PID 1 raises these even where systemd-sysctl is masked; they are not per namespace.
_KEPT = ("kernel", "fs", "vm")


@contextmanager
def kept() -> Iterator[None]:
    """Write back every sysctl under kernel, fs and vm that changed meanwhile and is a setting."""
    before = _settings()
    try:
        yield
    finally:
        after = _settings()
        for path, value in before.items():
            if path in after and after[path] != value:
                path.write_bytes(value)


def _settings() -> dict[Path, bytes]:
    found = {}
    for area in _KEPT:
        for folder, folders, files in os.walk(f"/proc/sys/{area}"):
            folders[:] = [name for name in folders if name not in ("random", "sched_domain")]
            for name in files:
                path = Path(folder, name)
                if name == "ns_last_pid":  # a counter that can be written
                    continue
                if path.stat().st_mode & 0o222 == 0 or path.stat().st_mode & 0o444 == 0:
                    continue
                try:
                    found[path] = path.read_bytes()
                except OSError:  # some refuse to be read in this namespace
                    continue
    return found
