"""A real PostgreSQL server on an EL10-like node: Debian's programs, in a folder of their own."""

from __future__ import annotations

import tempfile
from pathlib import Path

from tests.lab import debs, podman

_VERSION = "17"
_PACKAGES = [f"postgresql-{_VERSION}", f"postgresql-client-{_VERSION}"]
_PACKAGES += ["libpq5", "libicu76", "libxml2"]
_FOLDER = "/opt/postgresql"
_PROGRAM = f"{_FOLDER}/run"
_DATA = "/var/lib/postgresql/data"
_RUN = f"""#!/bin/sh
export LD_LIBRARY_PATH={_FOLDER}/usr/lib/x86_64-linux-gnu
exec {_FOLDER}/usr/lib/postgresql/{_VERSION}/bin/"$@"
"""
_OPTIONS = "-c jit=off -c listen_addresses=127.0.0.1 -c unix_socket_directories=/run/postgresql"
_UNIT = f"""[Service]
Type=forking
User=postgres
RuntimeDirectory=postgresql
ExecStart={_PROGRAM} pg_ctl --wait --pgdata={_DATA} --options='{_OPTIONS}' start
ExecStop={_PROGRAM} pg_ctl --wait --pgdata={_DATA} stop
"""
_START = f"""set -e
chmod 755 {_FOLDER} {_PROGRAM}
useradd --system --create-home --home-dir /var/lib/postgresql postgres
runuser -u postgres -- {_PROGRAM} initdb --auth-host=scram-sha-256 --auth-local=peer \\
  --encoding=UTF8 --locale=C --pgdata={_DATA}
systemctl daemon-reload
systemctl start postgresql
"""


def start(node: str, user: str, password: str) -> None:
    """Run a server on the node's loopback, with a user and a database of that name."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch, "postgresql")
        debs.unpack("trixie", _PACKAGES, folder)
        (folder / "run").write_text(_RUN)
        unit = Path(scratch, "postgresql.service")
        unit.write_text(_UNIT)
        podman.run("cp", folder, f"{node}:/opt")
        podman.run("cp", unit, f"{node}:/etc/systemd/system")
    podman.run("exec", node, "sh", "-c", _START)
    query(node, f"CREATE ROLE {user} LOGIN PASSWORD '{password}'", "postgres")
    query(node, f"CREATE DATABASE {user} OWNER {user}", "postgres")


def query(node: str, statement: str, database: str) -> str:
    """What a statement answers, asked by the server's administrator."""
    words = ["psql", "-h", "/run/postgresql", "-At", "-v", "ON_ERROR_STOP=1", database]
    run = ["exec", node, "runuser", "-u", "postgres", "--", _PROGRAM]
    return podman.run(*run, *words, "-c", statement).stdout.strip()
