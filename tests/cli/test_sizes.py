"""`init --preset`: a table of sizes that fits a terminal, and the recipe of the one that was chosen."""

from __future__ import annotations

import tomllib

from cli.conftest import REPO, Shell


def test_the_table_of_presets_fits_eighty_columns(shell: Shell) -> None:
    lines = shell.ok("init", "--preset", "list").out.splitlines()
    assert max(map(len, lines)) <= 80
    rows = {row["name"]: row for row in shell.ok("init", "--preset", "list", "--json").json["presets"]}
    assert [line.split()[0] for line in lines[1:]] == list(rows)
    assert rows["nano"]["parameters"] < rows["gpt2"]["parameters"] < 1.3e8
    assert "124 M" in next(line for line in lines if line.startswith("gpt2 "))


def test_the_table_in_the_documents_is_the_one_that_is_printed(shell: Shell) -> None:
    page = (REPO / "docs" / "training.md").read_text()
    assert "\n".join(line.rstrip() for line in shell.ok("init", "--preset", "list").out.splitlines()) in page


def test_init_writes_the_recipe_of_a_preset(shell: Shell) -> None:
    (shell.folder / "essays").mkdir()
    (shell.folder / "essays" / "one.txt").write_text("An essay.\n")
    assert shell("init", "--preset", "gtp2").code == 1
    assert not (shell.folder / "recipe.toml").exists()
    shell.ok("init", "--preset", "gpt2-medium", "--purpose", "Essays.")
    written = tomllib.loads((shell.folder / "recipe.toml").read_text())
    assert (written["model"]["depth"], written["model"]["width"]) == (24, 1024)
