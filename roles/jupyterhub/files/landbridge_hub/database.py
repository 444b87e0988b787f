"""Where the hub keeps its state: SQLite on the node, or a PostgreSQL server.

What changes it beside the hub is here as well: another release's schema, and a restored backup.
"""

import os
from contextlib import contextmanager
from pathlib import Path

from alembic.script import ScriptDirectory
from jupyterhub import dbutil, orm
from sqlalchemy import Column, MetaData, String, Table, create_engine, func, inspect, select
from sqlalchemy.types import DateTime, LargeBinary

REVISION = Table("alembic_version", MetaData(), Column("version_num", String(32), primary_key=True))


class UnknownSchemaError(Exception):
    """A schema of a release that this one does not know."""


def url(values):
    """SQLAlchemy's URL of the database, its password included."""
    if values["database_server"]:
        return Path(values["secrets"], "database_url").read_text().strip()
    return f"sqlite:///{file_of(values)}"


def file_of(values):
    """The file of an SQLite database."""
    return Path(values["state"], "jupyterhub.sqlite")


def configure(c, values, before_migration):
    """Tell the hub its database; one of an older release is migrated before the hub reads it.

    The hub's own migration would leave another copy of an SQLite file at each start.

    Args:
        c: the hub's configuration.
        values: the node's.
        before_migration: called when the schema is an older one, before anything changes it.
    """
    c.JupyterHub.db_url = url(values)
    with engine_of(values) as engine:
        revision = revision_of(engine)
    if revision not in (None, head()):
        known(revision)
        before_migration()
        dbutil.upgrade(url(values))


@contextmanager
def engine_of(values):
    """A way to the database that is closed at the end."""
    engine = create_engine(url(values))
    try:
        yield engine
    finally:
        engine.dispose()


def scripts():
    """How this release comes from each schema to the next."""
    return ScriptDirectory(dbutil.ALEMBIC_DIR)


def head():
    """The schema of this release."""
    return scripts().get_current_head()


def known(revision):
    """Be sure that this release can migrate a schema.

    Raises:
        UnknownSchemaError: it cannot.
    """
    if revision not in {script.revision for script in scripts().walk_revisions()}:
        raise UnknownSchemaError(
            f"the database has the schema {revision} of a newer JupyterHub: go on with that "
            "release, or restore a backup that was made before it (landbridge restore)"
        )


def revision_of(engine):
    """The schema that the database has; None of an empty one."""
    with engine.connect() as connection:
        if not inspect(connection).has_table(REVISION.name):
            return None
        return connection.scalar(REVISION.select())


def dump(engine):
    """Every row of every table, as of one moment, in an order in which they can be loaded.

    Returns:
        By table, a dictionary for each row; times and bytes as text.
    """
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            # Its driver begins no transaction for reading alone.
            connection.exec_driver_sql("BEGIN")
        else:
            connection.execution_options(isolation_level="REPEATABLE READ")
        metadata = MetaData()
        metadata.reflect(connection)
        return {
            table.name: [encoded(row._mapping) for row in connection.execute(table.select())]
            for table in metadata.sorted_tables
        }


def encoded(row):
    """A row as JSON has it."""
    return {
        name: value.hex()
        if isinstance(value, bytes)
        else value.isoformat()
        if hasattr(value, "isoformat")
        else value
        for name, value in row.items()
    }


def load(values, tables):
    """Replace the database's content, wholly or not at all; no hub may run.

    Args:
        values: the node's.
        tables: what `dump` gave, of this release's schema.
    """
    if values["database_server"]:
        with engine_of(values) as engine, engine.begin() as connection:
            fill(connection, tables)
        return
    final = file_of(values)
    new = final.with_suffix(".new")
    new.unlink(missing_ok=True)
    engine = create_engine(f"sqlite:///{new}")
    with engine.begin() as connection:
        fill(connection, tables)
    engine.dispose()
    with new.open("rb") as file:
        os.fsync(file.fileno())
    # What a hub that was killed left half done would be done to the new file.
    final.with_name(f"{final.name}-journal").unlink(missing_ok=True)
    new.replace(final)


def fill(connection, tables):
    """Make the tables of this release anew, with those rows."""
    for metadata in (orm.Base.metadata, REVISION.metadata):
        metadata.drop_all(connection)
        metadata.create_all(connection)
    # As the database has them: the hub's own types would encode once more what is encoded.
    metadata = MetaData()
    metadata.reflect(connection, only=list(tables))
    for name, rows in tables.items():
        table = metadata.tables[name]
        if rows:
            connection.execute(table.insert(), [decoded(table, row) for row in rows])
        if connection.dialect.name == "postgresql" and "id" in table.columns:
            # Rows with numbers of their own leave the counter where it was.
            sequence = func.pg_get_serial_sequence(f'"{name}"', "id")
            last = func.max(table.columns["id"])
            connection.execute(select(func.setval(sequence, last)).having(last.is_not(None)))


def decoded(table, row):
    """A row as the table's columns take it."""
    return {name: value_of(table.columns[name].type, value) for name, value in row.items()}


def value_of(column, value):
    """A value of a column's type."""
    if value is None:
        return None
    if isinstance(column, LargeBinary):
        return bytes.fromhex(value)
    if isinstance(column, DateTime):
        return column.python_type.fromisoformat(value)
    return value
