"""``mlms completion``."""

from __future__ import annotations

import click


@click.command("completion", epilog='Example: eval "$(mlms completion bash)"')
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print the shell completion script.

    Put the line of the example into your shell's start file (for fish: mlms completion fish | source).
    """
    from click.shell_completion import get_completion_class

    from mlms.cli import cli

    completion = get_completion_class(shell)
    if completion is None:
        raise click.UsageError(f"there is no completion for {shell}")
    click.echo(completion(cli, {}, "mlms", "_MLMS_COMPLETE").source())
