"""The command line: collect, train, export, evaluate, publish. Each command explains itself with --help.

Exit status: 0 done; 1 it could not be done, or was told to stop (the same command goes on); 2 wrong settings.
"""

from __future__ import annotations

from importlib import import_module

import typer
from typer.core import TyperCommand, TyperGroup

_COMMANDS = {
    "collect": "training.collect_command:command",
    "critic": "training.train_command:critic_command",
    "policy": "training.train_command:policy_command",
    "export": "training.export_command:command",
    "evaluate": "training.evaluate:command",
    "publish": "training.publish:command",
}


class _Loaded(TyperGroup):
    """Each command's module is imported when it is asked for: collecting needs no torch, and training no agent."""

    def list_commands(self, ctx: object) -> list[str]:
        """Their names."""
        return list(_COMMANDS)

    def get_command(self, ctx: object, cmd_name: str) -> TyperCommand | None:
        """The command of that name; None if there is none."""
        if cmd_name not in _COMMANDS:
            return None
        module, _, function = _COMMANDS[cmd_name].partition(":")
        one = typer.Typer(add_completion=False)
        one.command(cmd_name)(getattr(import_module(module), function))
        made = typer.main.get_command(one)
        assert isinstance(made, TyperCommand)
        return made


app = typer.Typer(cls=_Loaded, no_args_is_help=True, add_completion=False)


@app.callback()
def learn() -> None:
    """Learning from kept attempts."""
