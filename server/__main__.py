"""The command `burnish`."""

from __future__ import annotations

import sys

import typer

from server.cli import adapters, bench, doctor, examples, execute, memory, models, refine, serve, train
from server.cli.common import CommandError
from server.settings import SettingsError

app = typer.Typer(name="burnish", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.command()(serve.serve)
app.command()(refine.refine)
app.command()(execute.execute)
app.command()(examples.examples)
app.command()(bench.bench)
app.command()(doctor.doctor)
app.add_typer(adapters.app, name="adapters", help="Versions of the served model: list, publish, promote, rollback.")
app.add_typer(
    train.app, name="train", help="Learn from kept attempts: collect, critic, policy, export, evaluate, publish."
)
app.add_typer(memory.app, name="memory", help="What is remembered: stats, search, export, import, purge.")
app.add_typer(models.app, name="models", help="The models on this machine.")


@app.callback()
def about() -> None:
    """A server between your IDE and a code model that tests programs before it answers."""


def main() -> None:
    """Run the command line. Exit status: 0 success, 1 the work failed, 2 bad usage."""
    try:
        app()
    except SettingsError as error:
        typer.echo(f"burnish: {error}", err=True)
        sys.exit(2)
    except CommandError as error:
        typer.echo(f"burnish: {error}", err=True)
        sys.exit(error.status)


if __name__ == "__main__":
    main()
