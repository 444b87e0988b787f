"""Make or restore a backup of the hub, for `landbridge backup`, `restore` and the timer.

Prints one line of JSON. The backup's directory is a copy of the database: only root may read it.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

here = Path(__file__).parent
sys.path.insert(0, str(here))

from landbridge_hub import backup  # noqa: E402 - see above


def main():
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    make = verbs.add_parser("make")
    make.add_argument("--reason", choices=["asked", "schedule"], default="asked")
    make.add_argument("--files", action="store_true", help="also the teams' files")
    make.add_argument("--keep", type=int, help="of the scheduled ones, the newest so many")
    for verb in ("check", "restore"):
        verbs.add_parser(verb).add_argument("backup", type=Path)
    options = parser.parse_args()
    values = json.loads((here / "values.json").read_text())
    teams = json.loads((here / "teams.json").read_text())
    os.umask(0o077)
    if options.verb == "make":
        made = backup.make(values, teams, options.reason, files=options.files)
        if options.keep:
            backup.prune(values, options.keep)
        answer = {"backup": str(made)}
    elif options.verb == "check":
        backup.check(teams, options.backup)
        answer = {"backup": str(options.backup), "before": []}
    else:
        before = backup.restore(values, teams, options.backup)
        answer = {"backup": str(options.backup), "before": before}
    print(json.dumps(answer))


if __name__ == "__main__":
    try:
        main()
    except SQLAlchemyError as error:
        # The rest is the statement, and where to read about the error.
        sys.exit(f"error: the hub's database: {str(error).splitlines()[0]}")
    except (backup.BackupError, OSError, subprocess.CalledProcessError) as error:
        sys.exit(f"error: {error}")
