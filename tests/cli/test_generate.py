"""``generate``, ``chat`` and ``convert`` on a folder: streamed, sanitised, and broken off by Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from cli.conftest import TENTH, Shell
from tenth.cli.model.writer import Page
from tenth.trainer import tokenizer
from tenth.trainer.model import Shape, Transformer

TEMPLATE = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}<assistant>"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights over bytes: what it writes is full of control characters and torn UTF-8."""
    folder = tmp_path_factory.mktemp("model")
    text = tokenizer.byte_tokenizer()
    shape = Shape(vocabulary=257, layers=1, width=32, heads=2, kv_heads=1, head_width=16, mlp_width=64, context=128)
    made = Transformer(shape)
    made.initialise(torch.Generator().manual_seed(0))
    with torch.no_grad():
        made.lm_head.weight.normal_(generator=torch.Generator().manual_seed(1))
        made.lm_head.weight[text.separator] = 0
    save_file({name: p.detach() for name, p in made.named_parameters()}, folder / "model.safetensors")
    (folder / "tokenizer.json").write_text(text.to_json())
    (folder / "config.json").write_text(json.dumps(shape.hugging_face_config(text.separator)))
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    return folder


def test_a_folder_writes_text_that_steers_no_terminal(shell: Shell, model: Path) -> None:
    done = shell("generate", model, "--prompt", "-", "--tokens", 200, "--stats", "--seed", 3, stdin="a prompt")
    assert done.code == 0, done.err
    assert done.out.startswith("a prompt")
    assert all(char == "\n" or char == "\t" or char.isprintable() for char in done.out)
    assert "no log speaks of it" in done.err
    assert "tokens/s" in done.err
    rows = shell("generate", model, "--prompt", "a", "--prompt", "bcd", "--temperature", 0, "--json").json["texts"]
    assert rows[1] == shell("generate", model, "--prompt", "bcd", "--temperature", 0, "--json").json["texts"][0]


def test_a_talk_is_broken_off_by_ctrl_c_and_goes_on(shell: Shell, model: Path) -> None:
    command = [TENTH, "chat", str(model), "--tokens", "100000"]
    with subprocess.Popen(
        command, cwd=shell.folder, env=shell.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, start_new_session=True,
    ) as chat:  # fmt: skip
        assert chat.stdin is not None
        assert chat.stdout is not None
        try:
            chat.stdin.write(b"hello\n")
            chat.stdin.flush()
            assert os.read(chat.stdout.fileno(), 10)  # it writes
            time.sleep(0.2)
            chat.send_signal(signal.SIGINT)
            heard = b""
            while b"[broken off]" not in heard:
                heard += (piece := os.read(chat.stdout.fileno(), 65_536))
                assert piece
            _, errors = chat.communicate(b"/reset\n/exit\n", timeout=30)
        finally:
            chat.kill()
    assert chat.returncode == 0, errors
    assert b"forgotten" in errors
    assert b"no chat template" not in errors


def test_a_model_is_converted_and_what_is_no_model_is_refused(shell: Shell, model: Path) -> None:
    assert "would write" in shell.ok("convert", model, "--to", "out", "--dry-run").out
    assert not (shell.folder / "out").exists()
    said = shell.ok("convert", model, "--to", "out", "--json").json
    assert len(said["weights_sha256"]) == 64
    assert (shell.folder / "out" / "chat_template.jinja").read_text() == TEMPLATE
    assert "exists" in shell("convert", model, "--to", "out").err
    (shell.folder / "out" / "model.safetensors").rename(shell.folder / "out" / "pytorch_model.bin")
    refused = shell("generate", "out")
    assert refused.code == 1
    assert "would run the code in it" in refused.err


def test_pieces_are_sanitised_as_if_they_had_come_at_once() -> None:
    shown: list[str] = []
    page = Page(shown.append)
    for char in "ae\u0301\u0302\u0303\u0304 b\x1b[31m\nc\u0301":
        page.add(char)
    page.end()
    assert "".join(shown) == "ae\u0301\u0302[+2 marks] b\\x1b[31m\nc\u0301"
