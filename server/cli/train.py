"""`burnish train`: the trainer as a child process, in its own environment, told where data and model are.

Arguments go to `python -m training` as they are; what the server's settings know is added where it was not given.
"""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Callable, Sequence

import typer

from server.cli.common import CommandError
from server.cli.progress import shown
from server.engine.errors import LocalEngineError
from server.engine.process import configured_model
from server.settings import Settings, load_settings

app = typer.Typer(no_args_is_help=True)

_COMMANDS = {
    "collect": "Sample a model version on a problem file and keep the judged attempts.",
    "critic": "Train a critic on kept attempts.",
    "policy": "Train the policy on kept attempts.",
    "export": "Write kept attempts as Parquet.",
    "evaluate": "Measure versions on held-out problems: pass@k and the gate's report.",
    "publish": "Make a version out of a run's checkpoint.",
}
_NEED_MODEL = frozenset({"critic", "policy", "publish"})


def run(command: str, arguments: Sequence[str], settings: Settings) -> int:
    """Run `python -m training COMMAND ARGUMENTS`; its exit status, 128 and more if a signal ended it.

    Raises CommandError if the interpreter or the model is missing.
    """
    python = settings.training.interpreter()
    if not python.exists():
        raise CommandError(
            f"the trainer's interpreter {python} does not exist; set BURNISH_TRAINING__PYTHON to one of an environment "
            "with this package's extra `train`",
            status=2,
        )
    words = [str(python), "-m", "training", command, *arguments, *_known(command, arguments, settings)]
    with subprocess.Popen(words) as child:
        while child.poll() is None:
            with contextlib.suppress(KeyboardInterrupt):  # it reached the child too, which ends in its own way
                child.wait()
        status = child.returncode
    return status if status >= 0 else 128 - status


def _known(command: str, arguments: Sequence[str], settings: Settings) -> list[str]:
    """Options that the settings answer and the user did not give."""
    given = {argument.partition("=")[0] for argument in arguments}
    if "--help" in given:
        return []
    known: list[str] = []
    if "--data-dir" not in given:
        known += ["--data-dir", str(settings.data_dir)]
    if command in _NEED_MODEL and "--base" not in given:
        try:
            with shown() as report:
                model = configured_model(settings.engine, settings.data_dir / "models", report)
        except LocalEngineError as error:
            raise CommandError(str(error)) from error
        known += ["--base", str(model.path)]
        known += [] if "--base-name" in given else ["--base-name", model.name]
    return known


def _command(name: str) -> Callable[[typer.Context], None]:
    def command(context: typer.Context) -> None:
        raise typer.Exit(run(name, context.args, load_settings()))

    return command


for _name, _help in _COMMANDS.items():
    app.command(
        _name,
        help=_help,
        add_help_option=False,
        context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    )(_command(_name))
