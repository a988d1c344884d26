"""The verbs: one line about each, loaded when used; and the one place where every error ends."""

from __future__ import annotations

import difflib
import importlib
import os
import re
import sys
from collections.abc import Mapping

import click

from tenth.cli.outcome import BROKEN, DONE, ERROR, USAGE, say_error
from tenth.errors import BrokenPromise, TenthError

VERBS: Mapping[str, tuple[str, str]] = {
    "demo": ("tenth.cli.demo.verb", "Train a small code model under the whole law, and watch."),
    "key": ("tenth.cli.begin.keyring", "Make and show the keys that people sign with."),
    "init": ("tenth.cli.begin.beginning", "Write a commented charter and recipe into a folder."),
    "data": ("tenth.cli.model.preparing", "Turn text, JSON lines, Parquet and datasets into token shards."),
    "check": ("tenth.cli.begin.checking", "Say what a charter means, and what this machine can enforce."),
    "probe": ("tenth.cli.begin.probing", "Try to get out of this machine's quarantine, and say what held."),
    "run": ("tenth.cli.begin.running", "Begin a run, or go on with one, and watch it."),
    "status": ("tenth.cli.live.standing", "Say where a run stands, and whom it waits for."),
    "watch": ("tenth.cli.live.watching", "See samples and figures as they come; one key pulls."),
    "alarms": ("tenth.cli.judge.alarming", "Say what is unusual in the numbers reported, and pull at it."),
    "pull": ("tenth.cli.pulling", "Stop the run, now. No reason is asked."),
    "review": ("tenth.cli.gate.reviewing", "Read the dossier of the gate, and what led to it."),
    "audit": ("tenth.cli.judge.sampling", "Judge the samples that were drawn at random from the stream."),
    "consent": ("tenth.cli.gate.consenting", "Sign the dossier: the next tenth may be trained."),
    "object": ("tenth.cli.gate.consenting", "Sign against the dossier."),
    "note": ("tenth.cli.gate.changing", "Put a signed remark on record."),
    "forecast": ("tenth.cli.judge.forecasting", "Say sealed what the next gate will show; see how forecasts came."),
    "adjust": ("tenth.cli.gate.changing", "Change recipe, documents or evidence, signed."),
    "reopen": ("tenth.cli.gate.changing", "After a halt, back to a gate."),
    "close": ("tenth.cli.gate.changing", "Abandon the run."),
    "drill": ("tenth.cli.judge.drilling", "Say how often reviewers noticed what was planted."),
    "feedback": ("tenth.cli.judge.feedback", "Judge samples, see how far people agree, seal feedback for training."),
    "witness": ("tenth.cli.record.witnessing", "Keep and cosign the heads of a log: nobody rewrites it unseen."),
    "verify": ("tenth.cli.record.auditing", "Replay log, law and signatures; name the first broken promise."),
    "ledger": ("tenth.cli.record.ledgering", "Add up the compute: against the ceiling, and as regulation counts it."),
    "export": ("tenth.cli.record.auditing", "Write the auditor's pack."),
    "generate": ("tenth.cli.model.generating", "Write text from a checkpoint or a model's folder."),
    "chat": ("tenth.cli.model.generating", "Talk with a model in the terminal."),
    "convert": ("tenth.cli.model.converting", "Write a model as Hugging Face's libraries load it, or read theirs."),
    "unseal": ("tenth.cli.gate.unsealing", "Open a sealed checkpoint, with the escrow key or everyone's."),
    "metrics": ("tenth.cli.record.metrics", "Write a run's curves for TensorBoard, trackio, W&B, MLflow, CSV, JSONL."),
    "serve": ("tenth.cli.serving", "Show every run in a browser: watch, pull, review, sign."),
    "completion": ("tenth.cli.completion", "Print a completion script for your shell."),
}
"""Verb -> (module that holds it, what it does), in the order of help."""


class Verbs(click.Group):
    """Loads the module of a verb when the verb is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 (click calls it so)
        return list(VERBS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:  # noqa: ARG002
        if name not in VERBS:
            return None
        found = getattr(importlib.import_module(VERBS[name][0]), f"{name}_command")
        assert isinstance(found, click.Command)
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in VERBS and not args[0].startswith("-") and not ctx.resilient_parsing:
            near = difflib.get_close_matches(args[0], VERBS, 1, 0.5)
            hint = f"did you mean '{near[0]}'?" if near else "'tenth --help' lists the verbs"
            raise Misused("this command line is refused", f"there is no verb '{args[0]}'", hint)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """From the table, so that help imports no verb."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, what) for name, (_, what) in VERBS.items()])


class Misused(TenthError):
    """Wrong usage of the command line: exit code 2."""


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="tenth", message="tenth %(version)s")
def tenth() -> None:
    """Train language models under human oversight that holds.

    One person can stop a run; only everyone can start it.
    """


def main(arguments: list[str]) -> int:
    """Run a verb and return its exit code; errors are said in three parts."""
    as_json = "--json" in arguments
    try:
        code = tenth.main(arguments, prog_name="tenth", standalone_mode=False)
        return code if isinstance(code, int) else DONE
    except click.exceptions.Exit as end:
        return end.exit_code
    except Misused as error:
        say_error(error.parts(), as_json=as_json)
        return USAGE
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        return USAGE
    except click.UsageError as error:
        say_error(_usage(error), as_json=as_json)
        return USAGE
    except click.Abort:
        say_error({"refused": "nothing was done", "found": "you broke off"}, as_json=as_json)
        return ERROR
    except BrokenPromise as error:
        parts = {**error.parts(), "refused": f"promise {error.promise} is broken: {error.refused}"}
        say_error({**parts, "promise": error.promise, "entry": error.entry} if as_json else parts, as_json=as_json)
        return BROKEN
    except TenthError as error:
        say_error(error.parts(), as_json=as_json)
        return ERROR
    except click.ClickException as error:
        say_error({"refused": "this cannot be done", "found": error.format_message()}, as_json=as_json)
        return ERROR
    except BrokenPipeError:  # the reader of our output has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ERROR
    except OSError as error:
        found = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        say_error({"refused": "a file cannot be read or written", "found": found}, as_json=as_json)
        return ERROR


def _usage(error: click.UsageError) -> dict[str, str]:
    """click's words in our three parts."""
    path = error.ctx.command_path if error.ctx else "tenth"
    found, do = error.format_message(), f"see '{path} --help'"
    if isinstance(error, click.NoSuchOption):
        found = f"'{path}' has no option {error.option_name}"
        known = [name for param in error.ctx.command.params for name in param.opts] if error.ctx else []
        near = difflib.get_close_matches(error.option_name, known, 1, 0.5)
        do = f"did you mean {near[0]}?" if near else do
    elif match := re.search(r"No such command '([^']*)'", found):
        known = (
            error.ctx.command.list_commands(error.ctx)
            if error.ctx and isinstance(error.ctx.command, click.Group)
            else []
        )
        near = difflib.get_close_matches(match[1], known, 1, 0.5)
        found = f"'{path}' has no verb '{match[1]}'"
        do = f"did you mean '{near[0]}'?" if near else "its verbs are: " + ", ".join(known)
    return {"refused": "this command line is refused", "found": found, "do": do}
