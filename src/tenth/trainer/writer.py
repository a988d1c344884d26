"""`tenth-trainer write`: answers requests for text, one JSON object a line, for `tenth generate` and `tenth chat`.

In: {"prompts": [...]} or {"messages": [{"role", "content"}]}, with tokens, temperature, top_k, top_p, seed and stop.
Out: {"row", "text"} for each piece as it comes, then {"texts", "tokens", "seconds"}. A line that comes in while it
writes, or the end of input, breaks the answer off. What goes out is raw: whoever shows it sanitises it.
"""

from __future__ import annotations

import json
import os
import select
import sys
import time
from pathlib import Path
from typing import Any

from . import interchange
from .chat import chat_template, render
from .generate import complete, converse
from .inference import Inference
from .interchange import Source


def serve(folder: Path) -> int:
    """Load the model, say so, and answer until the input ends."""
    source = interchange.read(folder)
    inference, template = Inference(source.model()), chat_template(folder)
    _say({"ready": True, "chat": template is not None, "context": source.shape.context})
    for line in iter(sys.stdin.readline, ""):
        request = json.loads(line)
        if "prompts" in request or "messages" in request:
            answer(source, inference, template, request)
    return 0


def answer(source: Source, inference: Inference, template: str | None, request: dict[str, Any]) -> None:
    began, count = time.monotonic(), 0

    def heard(row: int, piece: str) -> bool:
        _say({"row": row, "text": piece})
        return bool(select.select([sys.stdin], [], [], 0)[0])

    def counted(row: int, token: int) -> None:  # noqa: ARG001
        nonlocal count
        count += 1

    options = {
        "tokens": request["tokens"], "temperature": request["temperature"], "top_k": request["top_k"],
        "top_p": request["top_p"], "seed": request["seed"], "ends": request["stop"], "on_text": heard,
        "stop": source.ends, "on_token": counted,
    }  # fmt: skip
    if "messages" in request and template is not None:
        prompt = render(template, request["messages"], source.text)
        texts = [converse(inference, source.text, prompt, **options)]
    else:
        texts = complete(inference, source.text, request["prompts"], **options)
    _say({"texts": texts, "tokens": count, "seconds": time.monotonic() - began})


def _say(frame: dict[str, Any]) -> None:
    os.write(sys.stdout.fileno(), (json.dumps(frame) + "\n").encode())
