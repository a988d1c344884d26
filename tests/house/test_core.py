"""The trusted core: small, without torch, importing one way."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import size
from house.repo import ROOT, SOURCE, project, python_files

# Refuses torch and numpy, however they are asked for, then imports every module of the core.
IMPORT_THE_CORE = """
import importlib, pkgutil, sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "numpy"):
            raise ImportError(f"the core asked for {name}")

sys.meta_path.insert(0, Refuse())
for part in sys.argv[1:]:
    module = importlib.import_module(part)
    below = module.__path__ if part != "tenth" and hasattr(module, "__path__") else []
    for found in pkgutil.walk_packages(below, part + "."):
        importlib.import_module(found.name)
print(*sorted(name for name in sys.modules if name.partition(".")[0] in ("torch", "numpy", "tenth")))
"""

ADAPTERS = {"adapter.py", "huggingface.py", "lightning.py"}
"""Files of the client that may import the training framework they adapt to."""


def core_modules() -> list[str]:
    return ["tenth" if part == "__init__" else f"tenth.{part}" for part in size.CORE]


def test_the_core_can_be_read_in_an_afternoon(capsys: pytest.CaptureFixture[str]) -> None:
    assert size.main() == 0, "".join(capsys.readouterr())


def test_the_core_imports_without_torch_and_numpy() -> None:
    command = [sys.executable, "-c", IMPORT_THE_CORE, *core_modules()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    loaded = done.stdout.split()
    assert set(core_modules()) <= set(loaded)
    assert not [name for name in loaded if not name.startswith("tenth")]
    outside = tuple(f"tenth.{part}" for part in size.OUTSIDE)
    assert not [name for name in loaded if name.startswith(outside)], "the core loaded what it oversees"


def test_imports_point_one_way() -> None:
    environment = {**os.environ, "COLUMNS": "200"}
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_part_stands_in_the_import_contracts() -> None:
    """A new package that no contract names would be free to import anything."""
    contracts = project()["tool"]["importlinter"]["contracts"]  # type: ignore[index]
    named = {module for contract in contracts for module in contract.get("forbidden_modules", [])}
    present = {f"tenth.{path.stem}" for path in SOURCE.iterdir() if path.suffix == ".py" or path.is_dir()}
    assert present - {"tenth.__init__", "tenth.__pycache__"} <= named


@pytest.mark.parametrize("path", list(python_files("src/tenth/client")), ids=lambda path: path.name)
def test_the_client_needs_only_the_standard_library(path: Path) -> None:
    """Whoever attaches a training loop takes on no dependency."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = ["tenth.client" if node.level == 1 else node.module or ""]
        for name in names:
            known = name.partition(".")[0] in sys.stdlib_module_names or name.startswith("tenth.client")
            assert known or path.name in ADAPTERS, f"{path.name} imports {name}"
