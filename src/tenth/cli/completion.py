"""``completion``: the script that teaches a shell tenth's verbs, options and runs."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from tenth.cli.options import json_option
from tenth.cli.outcome import emit


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@json_option
@click.pass_context
def completion_command(context: click.Context, shell: str, as_json: bool) -> None:
    """Print a completion script for your shell.

    \b
    bash: tenth completion bash > ~/.local/share/bash-completion/completions/tenth
    zsh:  tenth completion zsh  > a file named _tenth in a folder of your $fpath
    fish: tenth completion fish > ~/.config/fish/completions/tenth.fish
    """
    kind = get_completion_class(shell)
    assert kind is not None
    script = kind(context.find_root().command, {}, "tenth", "_TENTH_COMPLETE").source()
    if as_json:
        emit({"shell": shell, "script": script})
    else:
        click.echo(script)
