"""What the pages are made of: listed, light, typed, and without any way from text to markup or to code."""

from __future__ import annotations

import gzip
import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tenth.web.assets import FOLDER, Assets, vendored

VENDOR = FOLDER / "vendor"
OURS = sorted(FOLDER.glob("*.js"))
TEMPLATES = sorted((FOLDER.parent / "templates").glob("*.html"))
MOST_GZIP = 100_000
"""Bytes, all pages together."""
FORBIDDEN = re.compile(
    r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|srcdoc|dangerously"
    r"|setTimeout\(\s*[\"'`]"
)


def name(path: Path) -> str:
    return path.name


def test_what_others_wrote_is_listed_with_its_hash() -> None:
    listed = {row["file"]: row for row in vendored()}
    assert set(listed) == {path.name for path in VENDOR.iterdir() if path.suffix in (".js", ".mjs", ".css")}
    for file, row in listed.items():
        assert hashlib.sha256((VENDOR / file).read_bytes()).hexdigest() == row["sha256"]
        assert row["version"]
        assert row["licence"] == "MIT"


@pytest.mark.parametrize("path", OURS, ids=name)
def test_a_script_says_what_it_is_for_and_makes_no_markup_of_text(path: Path) -> None:
    text = path.read_text()
    assert any(line.startswith("// ") and line != "// @ts-check" for line in text.splitlines()[:3])
    assert not FORBIDDEN.search(text)
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text)
    assert len(text.splitlines()) <= 300


@pytest.mark.parametrize("path", TEMPLATES, ids=name)
def test_a_template_has_no_script_no_style_and_no_unescaped_text(path: Path) -> None:
    text = path.read_text()
    assert not re.search(r"\|\s*safe|autoescape\s+false|\son[a-z]+=|style=|javascript:", text)
    for tag in re.findall(r"<script[^>]*>", text):
        assert "src=" in tag or 'type="application/json"' in tag
    assert "<style" not in text


def test_all_pages_together_are_light() -> None:
    assets = Assets.read()
    weights = {file: len(gzip.compress(data, 6)) for file, data in assets.files.items()}
    assert sum(weights.values()) < MOST_GZIP, weights


def test_the_types_hold() -> None:
    """tsc --noEmit, where a TypeScript compiler is installed."""
    compiler = shutil.which("tsc", path=f"{sys.prefix}/node/node_modules/.bin:{os.environ['PATH']}")
    if compiler is None:
        pytest.skip("no tsc here: 'make types' installs one where there is npm")
    done = subprocess.run(
        [compiler, "--noEmit", "-p", str(FOLDER / "jsconfig.json")],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout
