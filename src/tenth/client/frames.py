"""Frames of the trainer's channel: bounded newline-delimited JSON (docs/formats.md §8), as pure functions."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from .errors import LoopError, ProtocolError

PROTOCOL = 1
MAX_FRAME = 65_536  # bytes of a line, newline included
MAX_TEXT = 16_384  # characters of a prompt or a sample
MAX_METRICS = 32
MAX_NAME = 64  # characters of a metric's name
TOO_LARGE = 1e40  # what diverged so far is no number to the supervisor
MAX_POSITION = 4_096  # bytes of canonical JSON
MAX_INTEGER = 2**53 - 1

Frame = dict[str, Any]


def encode(frame: Mapping[str, Any]) -> bytes:
    """One line. Raises ProtocolError when the frame holds NaN or does not fit."""
    try:
        text = json.dumps(frame, allow_nan=False, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    except (ValueError, TypeError) as error:
        raise ProtocolError("A frame was not sent.", f"it is not JSON: {error}", "send numbers and text") from error
    line = text.encode("utf-8", "replace") + b"\n"
    if len(line) > MAX_FRAME:
        raise ProtocolError("A frame was not sent.", f"{len(line)} bytes", f"keep it below {MAX_FRAME} bytes")
    return line


def decode(line: bytes) -> Frame:
    """The object on one line (without its newline). Raises ProtocolError for anything else."""
    try:
        if len(line) >= MAX_FRAME:
            raise ValueError(f"{len(line)} bytes")
        frame = json.loads(line.decode("utf-8"), parse_constant=_refuse_constant)
        if not isinstance(frame, dict) or not isinstance(frame.get("frame"), str):
            raise ValueError("it is no object with a `frame`")
    except (ValueError, RecursionError) as error:
        raise ProtocolError(
            "A frame from the supervisor was refused.", f"{error}", "check that both ends run the same tenth"
        ) from error
    return frame


def progress(step: int, tokens: int, flop: float, loss: float | None, metrics: Mapping[str, Any]) -> Frame:
    """A progress frame; what is not finite, or TOO_LARGE, becomes null (loss) or is left out; `nonfinite` = 1 says so.

    Long names are cut.
    """
    kept: dict[str, float] = {}
    nonfinite = False
    for name, value in metrics.items():
        number = float(value)
        if abs(number) < TOO_LARGE:
            kept[_speakable(str(name))[:MAX_NAME]] = number
        else:
            nonfinite = True
    if loss is not None and not abs(loss) < TOO_LARGE:
        loss, nonfinite = None, True
    if nonfinite:
        kept["nonfinite"] = 1.0
    if len(kept) > MAX_METRICS:
        raise LoopError("The report was not sent.", f"{len(kept)} metrics", f"report at most {MAX_METRICS}")
    return {"frame": "progress", "step": step, "tokens": tokens, "flop": flop, "loss": loss, "metrics": kept}


def sample(
    step: int, prompt: str, text: str, temperature: float | None, bits: Sequence[tuple[int, float]] = ()
) -> Frame:
    """A sample frame, cut until it fits: the prompt keeps its end, the text its beginning.

    `bits`: for each token of the text its characters and its surprisal. They go only with a whole text.
    """
    whole, said = len(text) <= MAX_TEXT, [[size, round(min(999.0, float(value)), 2)] for size, value in bits]
    prompt, text = _speakable(prompt)[-MAX_TEXT:], _speakable(text)[:MAX_TEXT]
    while True:
        frame = {"frame": "sample", "step": step, "prompt": prompt, "text": text, "temperature": temperature}
        if whole and said:
            frame["bits"] = said
        try:
            encode(frame)
        except ProtocolError:
            if not prompt and not text:
                raise
            # Escapes and four-byte characters can make 16,384 characters larger than a frame.
            prompt, text = prompt[-(len(prompt) // 2) :] if len(prompt) > 1 else "", text[: len(text) // 2]
            whole = False
            continue
        return frame


def position(step: int, state: Mapping[str, Any]) -> Frame:
    """The position that `done` carries: `step`, and the loop's own `state` when it has one."""
    body: Frame = {"step": step}
    if state:
        body["state"] = dict(state)
    try:
        size = len(json.dumps(body, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode("utf-8"))
    except (ValueError, TypeError) as error:
        raise LoopError("The position was not sent.", f"it is not JSON: {error}", "keep plain values in it") from error
    if size > MAX_POSITION:
        raise LoopError(
            "The position was not sent.",
            f"{size} bytes",
            f"keep it below {MAX_POSITION}; put the rest in the checkpoint",
        )
    if not 0 <= step <= MAX_INTEGER:
        raise LoopError("The position was not sent.", f"step {step}", "count steps from 0")
    return body


def _speakable(text: str) -> str:
    """Lone surrogates have no UTF-8: they become question marks."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a JSON number")
