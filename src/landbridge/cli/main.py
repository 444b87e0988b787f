"""Entry point: the verbs, and how an error leaves the program."""

from __future__ import annotations

import sys

import typer

from landbridge.cli import apply, bundle, depot, lock, stack, verify
from landbridge.errors import LandbridgeError

INTERRUPTED = 130

app = typer.Typer(
    help="A machine-learning stack for RHEL nodes without internet.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
# A verb with sub-verbs: app.add_typer(module.app, name="verb").
# A verb of its own:     app.command(name="verb")(module.function).
app.command(name="apply")(apply.apply)
app.add_typer(bundle.app, name="bundle")
app.add_typer(depot.app, name="depot")
app.add_typer(lock.app, name="lock")
app.add_typer(stack.app, name="stack")
app.command(name="verify")(verify.verify)


def main() -> None:
    """Run the command line; an error becomes one message on stderr and its exit code."""
    try:
        app()
    except LandbridgeError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(error.exit_code) from error
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(LandbridgeError.exit_code) from error
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        raise SystemExit(INTERRUPTED) from None
