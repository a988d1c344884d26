"""``convert``: a checkpoint into Hugging Face's layout, or a model from elsewhere into the one that training reads."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from pathlib import Path

import click

from tenth.cli.model.generating import gate_option, model_argument
from tenth.cli.model.writer import Model, failed, verb
from tenth.cli.options import FOLDER, dry_run_option, json_option
from tenth.cli.outcome import emit
from tenth.errors import WrongInput


@click.command("convert")
@model_argument
@click.option("--to", "target", type=FOLDER, required=True, help="A folder that does not exist yet.")
@gate_option
@dry_run_option
@json_option
def convert_command(run: str | None, target: Path, gate: int | None, dry_run: bool, as_json: bool) -> None:
    """Write a model as transformers loads it: config, safetensors in float32, tokenizer, model card.

    From a checkpoint of RUN, or from a folder in Hugging Face's layout; the latter can then be a recipe's model.init.
    """
    model = Model(run, gate, quiet=as_json)
    if target.exists():
        raise WrongInput("nothing was written", f"{target} exists", "name a folder that does not exist yet")
    if dry_run:
        if as_json:
            emit({"would_write": str(target), "from": str(model.folder), "about": model.about})
        else:
            click.echo(f"would write {model.folder} to {target}")
        return
    with tempfile.TemporaryDirectory(prefix="tenth-") as folder:
        out = Path(folder) / "model"
        words = ["convert", str(model.folder), str(out), "--about", json.dumps(model.about)]
        with verb(model, Path(folder), words) as (line, options):
            done = subprocess.run(line, stdin=subprocess.DEVNULL, capture_output=True, check=False, **options)
        if done.returncode:
            raise failed(done.stderr.decode(errors="replace"), done.returncode)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(out, target)
    digest = done.stdout.decode(errors="replace").strip()
    if as_json:
        emit({"written": str(target), "from": str(model.folder), "weights_sha256": digest, "about": model.about})
    else:
        click.echo(f'written to {target}\nweights  {digest}\n\nin a recipe: [model] init = "...", init_sha256 = that')
