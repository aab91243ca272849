"""The command line. Each command is a module of its own, imported only when it is called."""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

import click

from mlms import __version__
from mlms.errors import EXIT_BAD_INPUT, EXIT_INTERRUPTED, EXIT_OK, MlmsError

COMMANDS = {
    "eval": "Evaluate the models of one or more manifests.",
    "run": "Evaluate one model without a manifest.",
    "find-peak": "Search the largest load that is still valid.",
    "predict": "Show what a model says about files.",
    "validate": "Check asset and manifest files.",
    "list": "List models, frameworks, datasets and components.",
    "show": "Show one asset or component.",
    "runs": "List, show and open finished runs.",
    "compare": "Compare finished runs.",
    "agree": "Compare what models answer, sample by sample.",
    "analyze": "Show where the time of a finished run goes.",
    "export": "Write finished runs in the formats of other tools.",
    "trace": "Show, export, send and open the traces of finished runs.",
    "agent": "Serve models to other programs and machines.",
    "init": "Write a starter manifest or asset.",
    "env": "Make, list and remove environments that frameworks run in.",
    "schema": "Print a JSON Schema.",
    "plugins": "List the installed plugins.",
    "plugin": "Write a plugin.",
    "doctor": "Check this installation and machine.",
    "completion": "Print the shell completion script.",
}
"""Names and summaries: kept here so that ``--help`` imports no command. A test holds them to the commands' own."""


class LazyGroup(click.Group):
    """A group that imports ``mlms.cli.<name>`` when the command is used, and knows its summary without."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command: click.Command = import_module(f"mlms.cli.{name.replace('-', '_')}_command").command
        return command

    def invoke(self, context: click.Context) -> object:
        """Run the command. A reader that went away (``mlms list models | head``) is no failure; to click it is."""
        try:
            return super().invoke(context)
        except BrokenPipeError:
            _drop_output()
            sys.exit(EXIT_OK)

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def resolve_command(
        self, context: click.Context, arguments: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if arguments and arguments[0] not in COMMANDS:
            import difflib

            near = difflib.get_close_matches(arguments[0], COMMANDS, n=1)
            hint = f" Did you mean '{near[0]}'?" if near else " 'mlms --help' lists them."
            context.fail(f"There is no command '{arguments[0]}'.{hint}")
        return super().resolve_command(context, arguments)


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Example: mlms eval manifests/digits.yaml",
)
@click.version_option(__version__, prog_name="mlms", message="%(prog)s %(version)s")
def cli() -> None:
    """Evaluate and profile machine-learning models described in YAML.

    Exit codes: 0 all is well, 1 an evaluation failed, 2 bad input, 130 interrupted (Ctrl-C, SIGTERM).
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """The ``mlms`` program."""
    _prepare_output()
    try:
        with _ended_by_sigterm():
            cli.main(args=list(arguments) if arguments is not None else None, prog_name="mlms", standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except OSError as error:
        if not _output_fails():
            raise
        _drop_output()
        click.secho(f"error: standard output can't be written: {error.strerror}", err=True, fg="red")
        sys.exit(EXIT_BAD_INPUT)
    except click.Abort:
        sys.exit(EXIT_INTERRUPTED)
    except KeyboardInterrupt:
        click.echo("interrupted", err=True)
        sys.exit(EXIT_INTERRUPTED)
    except MlmsError as error:
        click.secho(f"error: {error}", err=True, fg="red")
        sys.exit(error.exit_code)


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """SIGTERM, which schedulers and service managers send, ends a command as Ctrl-C does: with everything put away."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread gets signals
        return
    usual = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, usual)


def _prepare_output() -> None:
    """Have both streams be there (a shell's ``>&-`` closes one) and take every character, as standard error does."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 (until the program ends)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _output_fails() -> bool:
    """Whether standard output is what an OSError came from: it takes nothing more."""
    try:
        sys.stdout.write("\n")
        sys.stdout.flush()
    except OSError:
        return True
    return False


def _drop_output() -> None:
    """Python flushes standard output once more at its end: into nothing."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
