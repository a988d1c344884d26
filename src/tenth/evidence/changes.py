"""What is different about the run since the gates before: recipe, documents, code, packages, and steps that failed.

What the dossier says already (compute, halts, claims, adjustments as they were signed) is not said again. Recipes and
listings are those that the leases' dossiers name, found by their digests. Code and packages are held against what the
manifest pinned when the run began; code that the charter names is left to the supervisor, which trips where it changed.
How a tenth ran is the trainer's word, read from its checkpoints.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tenth.trainer.documents import read_listing

from .sealed import EvidenceError, Sealed, agreed_files, log_of, write

Row = list[Any]
SUFFIXES = (".py", ".js", ".mjs", ".css", ".svg", ".html")  # of tenth's own files that the manifest pins
NAMED = 200  # documents that are listed by name
RAN = ("phase", "epoch", "step", "precision", "threads", "ranks", "compiled", "seed")


def main(sealed: Sealed) -> None:
    """Raises EvidenceError where the run's own files cannot be read."""
    if sealed.checkpoint is None:
        write(sealed, "Nothing is trained yet: nothing has changed.", {}, {})
        return
    try:
        before, last = (_in_force(sealed, gate) for gate in (sealed.gate - 1, sealed.gate))
        following = {"recipe": sealed.recipe, "data": sealed.data}
        recipe = _differences([_flat(one["recipe"]) if one else None for one in (before, last, following)])
        out = [*_left_out(before, last, "last tenth"), *_left_out(last, following, "next tenth")]
        code = _code(json.loads((sealed.folder / "manifest.json").read_text("utf-8")))
        now, earlier = _state(sealed.checkpoint), _state(sealed.previous)
    except (OSError, ValueError, KeyError, TypeError) as error:
        found = f"the run's record cannot be read: {error!r}"
        raise EvidenceError("Changes were not looked up.", found, "see what 'tenth verify' says of this run") from error
    ran = [[name, earlier.get(name), now[name]] for name in RAN if name in now]
    skipped = int(now.get("skipped", 0)) - int(earlier.get("skipped", 0))
    figures = {"recipe_keys": len(recipe), "documents_left_out": len(out), "not_as_pinned": len(code)}
    figures["steps_skipped"] = skipped
    tables = [
        {"title": "Recipe", "columns": ["key", "tenth before", "last tenth", "next tenth"], "rows": recipe},
        {"title": "Documents left out", "columns": ["document", "bytes", "from"], "rows": out[:NAMED]},
        {"title": "Code and packages not as pinned", "columns": ["what", "pinned", "now"], "rows": code},
        {"title": "How it ran (claimed)", "columns": ["what", "tenth before", "last tenth"], "rows": ran},
    ]
    details = {"documents_left_out": [row[0] for row in out]}
    write(sealed, headline(figures), figures, details, [table for table in tables if table["rows"]])


def headline(figures: Mapping[str, int]) -> str:
    words = {
        "recipe_keys": "recipe keys that differ", "documents_left_out": "documents left out",
        "not_as_pinned": "code or packages NOT AS PINNED", "steps_skipped": "steps skipped",
    }  # fmt: skip
    said = [f"{text}: {figures[name]}" for name, text in words.items() if figures[name]]
    return ", ".join(said) or "Recipe, documents, code and packages are as they were, and no step was skipped"


def _in_force(sealed: Sealed, gate: int) -> dict[str, Path] | None:
    """Recipe and listing under which the tenth to `gate` was trained; None where there was none."""
    entries = [json.loads(line) for line in log_of(sealed)]
    leases = [one["body"] for one in entries if one["event"] == "leased" and one["body"]["lease"]["gate"] == gate]
    if not leases:
        return None
    seals = {one["body"]["dossier"]: one["body"]["path"] for one in entries if one["event"] == "sealed"}
    dossier = json.loads((sealed.folder / seals[leases[-1]["dossier"]] / "dossier.json").read_bytes())
    return {name: _with_digest(agreed_files(sealed), dossier[name]) for name in ("recipe", "data")}


def _with_digest(files: Iterable[Path], digest: str) -> Path:
    for path in files:
        if hashlib.sha256(path.read_bytes()).hexdigest() == digest:
            return path
    raise ValueError(f"no recipe or listing has the digest {digest[:16]}")


def _flat(recipe: Path) -> dict[str, Any]:
    def walk(table: Mapping[str, Any], above: str) -> Iterator[tuple[str, Any]]:
        for name, value in table.items():
            if isinstance(value, dict):
                yield from walk(value, f"{above}{name}.")
            else:
                yield f"{above}{name}", value

    return dict(walk(tomllib.loads(recipe.read_text("utf-8")), ""))


def _differences(recipes: list[dict[str, Any] | None]) -> list[Row]:
    """Keys that are not alike in all recipes that are known."""
    known = [recipe for recipe in recipes if recipe is not None]
    keys = sorted({key for recipe in known for key in recipe})
    rows: list[Row] = [[key, *(_shown(recipe, key) for recipe in recipes)] for key in keys]
    return [row for row in rows if len({_shown(recipe, row[0]) for recipe in known}) > 1]


def _shown(recipe: Mapping[str, Any] | None, key: str) -> str | None:
    return json.dumps(recipe[key], default=str) if recipe is not None and key in recipe else None


def _left_out(earlier: Mapping[str, Path] | None, later: Mapping[str, Path] | None, since: str) -> Iterator[Row]:
    """Documents of one listing that the other lacks; nothing where another phase began, which has its own."""
    if earlier is None or later is None or _phase(earlier["data"]) != _phase(later["data"]):
        return
    kept = {entry.path for entry in read_listing(later["data"])}
    yield from ([one.path, one.size, since] for one in read_listing(earlier["data"]) if one.path not in kept)


def _phase(listing: Path) -> str:
    return listing.name.split(".")[1]


def _code(manifest: Mapping[str, Any]) -> list[Row]:
    """Packages and tenth's own files, where they are not what the manifest says."""
    pinned = dict(str(one).split("==", 1) for one in manifest["packages"])
    now = {one.name: one.version for one in importlib.metadata.distributions()}
    names = sorted(name for name in now.keys() | pinned.keys() if now.get(name) != pinned.get(name))
    rows: list[Row] = [[name, pinned.get(name), now.get(name)] for name in names]
    own = {row["path"]: row["digest"] for row in manifest["code"]}.get("tenth")
    if own and (found := own_code()) != own:
        rows.append(["tenth's own code", own[:16], found[:16]])
    return rows


def own_code() -> str:
    """The digest of the listing (docs/formats.md, section 2) of those files of this package that run."""
    package = Path(__file__).resolve().parents[1]
    names = (str(path.relative_to(package)) for path in package.rglob("*") if path.suffix in SUFFIXES)
    listing = hashlib.sha256()
    for name in sorted(names, key=str.encode):
        content = (package / name).read_bytes()
        row = {"path": name, "sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
        listing.update(json.dumps(row, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode() + b"\n")
    return listing.hexdigest()


def _state(checkpoint: Path | None) -> dict[str, Any]:
    """What the built-in trainer keeps beside its weights; nothing where another trainer keeps nothing."""
    path = checkpoint / "state.json" if checkpoint else None
    found = json.loads(path.read_text("utf-8")) if path and path.is_file() else {}
    return found if isinstance(found, dict) else {}
