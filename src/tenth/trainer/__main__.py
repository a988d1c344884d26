"""`tenth-trainer`: train one lease under a supervisor, or read from a checkpoint."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from tenth.client import ClientError, Run, attach

from .errors import TrainerError
from .ranks import follow, is_follower

PHASES = {
    "pretrain": "the next token of documents",
    "sft": "answers to prompts",
    "dpo": "which of two answers people chose",
    "kto": "thumbs up and down",
    "selfplay": "puzzles that the model poses itself",
}


def main(arguments: list[str] | None = None) -> int:
    started = time.monotonic()
    options = _parser().parse_args(arguments)
    try:
        if options.verb in PHASES:
            if arguments is None and "TENTH_FD" in os.environ:
                _begin_again_with_arenas()
            return _train(options.verb, started)
        return {"generate": _generate, "write": _write, "convert": _convert, "peak": _peak}[options.verb](options)
    except (TrainerError, ClientError) as error:
        print(f"tenth-trainer: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tenth-trainer", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    for name, about in PHASES.items():
        train = verbs.add_parser(name, help=f"train one tenth of an epoch, as the supervisor's lease says: {about}")
        train.add_argument("recipe", help="named for the charter; the lease's sealed copy is what is read")
    write = verbs.add_parser("generate", help="write text from a checkpoint")
    write.add_argument("checkpoint", type=Path)
    write.add_argument("--prompt", action="append", default=[])
    write.add_argument("--tokens", type=int, default=128)
    write.add_argument("--temperature", type=float, default=0.8)
    write.add_argument("--top-k", type=int, default=50)
    write.add_argument("--seed", type=int, default=0)
    serve = verbs.add_parser("write", help="answer requests for text, one JSON object a line")
    serve.add_argument("checkpoint", type=Path)
    convert = verbs.add_parser("convert", help="write a checkpoint as Hugging Face's libraries read it, or read theirs")
    convert.add_argument("checkpoint", type=Path)
    convert.add_argument("target", type=Path)
    convert.add_argument("--about", default="{}", help="JSON: what the model card says of its origin")
    verbs.add_parser("peak", help="measure what a second of one device can compute, in FLOP")
    return parser


# glibc returns every large block to the kernel at once and gets it back page by page, zeroed: up to half of a small
# model's step. Bigger arenas and huge pages stop that; the C library reads this only when a process begins.
ARENAS = "glibc.malloc.mmap_threshold=1073741824:glibc.malloc.trim_threshold=2147483648"
ARENAS += ":glibc.malloc.top_pad=268435456:glibc.malloc.hugetlb=1"


def _begin_again_with_arenas() -> None:
    """Replace this process by itself with the setting (same process id, same channel), unless one is there."""
    if sys.platform == "linux" and "GLIBC_TUNABLES" not in os.environ:
        environment = os.environ | {"GLIBC_TUNABLES": ARENAS}
        os.execve(sys.executable, [sys.executable, "-m", "tenth.trainer", *sys.argv[1:]], environment)  # noqa: S606


def _train(phase: str, started: float) -> int:
    if is_follower():
        _phase(phase)(follow(), started)
        _exit()
    with attach() as run:  # first, so that nobody waits for torch to hear that there is no supervisor
        alone = _phase(phase)(run, started)
    if not alone:
        _exit()
    return 0


def _phase(name: str) -> Callable[[Run, float], bool]:
    """Its function has its module's name."""
    module = importlib.import_module(f"tenth.trainer.{name}")
    train: Callable[[Run, float], bool] = getattr(module, name)
    return train


def _exit() -> NoReturn:
    """End at once: the engines of many ranks leave threads behind that an orderly end may stumble over."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _generate(options: argparse.Namespace) -> int:
    from . import checkpoint, tokenizer
    from .generate import complete

    model = checkpoint.load_model(options.checkpoint)
    text = tokenizer.from_file(options.checkpoint / "tokenizer.json")
    prompts = options.prompt or [""]
    written = complete(model, text, prompts, options.tokens, options.temperature, options.top_k, options.seed)
    for prompt, continuation in zip(prompts, written, strict=True):
        print(prompt + _plain(continuation))
    return 0


def _write(options: argparse.Namespace) -> int:
    from .writer import serve

    return serve(options.checkpoint)


def _convert(options: argparse.Namespace) -> int:
    from .interchange import convert, digest

    convert(options.checkpoint, options.target, json.loads(options.about))
    print(digest(options.target))
    return 0


def _peak(_: argparse.Namespace) -> int:
    from .peak import per_device_second

    print(per_device_second())
    return 0


def _plain(text: str) -> str:
    """What the model wrote, without the control characters that could steer a terminal."""
    return "".join(c if c in "\n\t" or c.isprintable() else "\ufffd" for c in text)


if __name__ == "__main__":
    sys.exit(main())
