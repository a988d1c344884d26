"""How a conversation becomes text: by the template that belongs to a model, or by a plain one of ours."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from . import interchange
from .errors import RecipeError
from .tokenizer import Text

FILE = "chat_template.jinja"
PLAIN = (
    "{{ bos_token }}{% for message in messages %}{{ message['role'] }}\n{{ message['content'] }}{{ eos_token }}"
    "{% endfor %}{% if add_generation_prompt %}assistant\n{% endif %}"
)
"""For a model that brings none: each turn is its role, a line break, what was said, and the separator."""


def chat_template(folder: Path) -> str | None:
    """The tokenizer's own, as Hugging Face stores it; None if it has none."""
    if (folder / FILE).is_file():
        return (folder / FILE).read_text("utf-8")
    path = folder / "tokenizer_config.json"
    found = json.loads(path.read_text("utf-8")).get("chat_template") if path.is_file() else None
    return found if isinstance(found, str) else None


def render(template: str, messages: Sequence[Mapping[str, Any]], text: Text, answer: bool = True) -> str:
    """The conversation as the model was taught to read it; with `answer`, up to where its answer begins."""
    from jinja2 import TemplateError

    mark = _mark(text)
    try:
        said: str = _compiled(template).render(
            messages=messages, add_generation_prompt=answer, bos_token=mark, eos_token=mark, tools=None,
            raise_exception=_refuse,
        )  # fmt: skip
    except TemplateError as error:
        raise unusable(str(error)) from error
    return said


@cache
def _compiled(template: str) -> Any:
    from jinja2.sandbox import ImmutableSandboxedEnvironment  # a template is code of strangers

    return ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True).from_string(template)


_mark = cache(interchange.mark)


def _refuse(message: str) -> None:
    raise unusable(message)


def unusable(found: str) -> RecipeError:
    return RecipeError(
        "The chat template was refused.", found, "write with 'tenth generate' and train on texts: both need none"
    )
