"""Safety adjustments: a signed patch to the recipe, to the documents, or to the evidence asked for."""

from __future__ import annotations

import fnmatch
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import tomli_w

from tenth.charter import NAME, Evidence
from tenth.encoding import canonical, decode
from tenth.errors import BadStatement

Patch = Mapping[str, Any]


def check_patch(patch: Any) -> Patch:
    """Refuse a patch that is not of the form in docs/formats.md, section 4."""
    try:
        evidence = patch.get("evidence", {})
        known = set(patch) <= {"recipe", "exclude", "evidence"} and set(evidence) <= {"drop", "add"}
        recipe = all(all(key.split(".")) and _toml(value) for key, value in patch.get("recipe", {}).items())
        texts = _texts(patch.get("exclude", [])) and _texts(evidence.get("drop", []))
        panels = isinstance(evidence.get("add", []), list) and all(
            set(panel) == {"name", "command"} and NAME.fullmatch(panel["name"]) and _texts(panel["command"] or [None])
            for panel in evidence.get("add", [])
        )
        added = [panel["name"] for panel in evidence.get("add", [])] if panels else []
        panels = panels and len(set(added)) == len(added)
        sound = bool(patch) and all(patch.values()) and known and recipe and texts and panels
    except (AttributeError, TypeError):
        sound = False
    if not sound:
        wanted = "recipe {'dotted.key': value}, exclude [globs], evidence {drop [names], add [{name, command}]}"
        raise BadStatement("this adjustment is refused", repr(patch)[:200], f"its patch may have {wanted}")
    return dict(patch)


def _toml(value: Any) -> bool:
    if isinstance(value, list):
        return all(_toml(item) for item in value)
    return isinstance(value, bool | int | float | str)


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) and text for text in value)


def numbered(name: str, number: int) -> str:
    """``recipe.toml`` as it was at first, ``recipe.2.toml`` after the first change, and so on."""
    if number == 1:
        return name
    stem, dot, suffix = name.rpartition(".")
    return f"{stem}.{number}.{suffix}" if dot else f"{name}.{number}"


def patched_recipe(source: bytes, patches: Iterable[Mapping[str, Any]]) -> bytes:
    """The recipe with each ``{'dotted.key': value}`` set, in order. Unchanged bytes when there is none."""
    changes = [change for change in patches if change]
    if not changes:
        return source
    document = tomllib.loads(source.decode())
    for change in changes:
        set_keys(document, change)
    return tomli_w.dumps(document).encode()


def set_keys(document: dict[str, Any], change: Mapping[str, Any]) -> None:
    for dotted, value in change.items():
        *path, last = dotted.split(".")
        table = document
        for name in path:
            inner = table.setdefault(name, {})
            if not isinstance(inner, dict):
                raise BadStatement("this adjustment is refused", f"'{name}' in '{dotted}' is not a table of the recipe")
            table = inner
        table[last] = value


def without_excluded(listing: bytes, globs: Sequence[str]) -> bytes:
    """The data listing without the documents that a glob matches (case-sensitive)."""
    if not globs:
        return listing
    kept = []
    for line in listing.splitlines(keepends=True):
        path = decode(line.rstrip(b"\n"))["path"]
        if not any(fnmatch.fnmatchcase(path, glob) for glob in globs):
            kept.append(line)
    return b"".join(kept)


def evidence_in_force(asked: Sequence[Evidence], patches: Iterable[Patch]) -> tuple[Evidence, ...]:
    """The charter's evidence, less what adjustments dropped, plus what they added."""
    panels = {panel.name: panel for panel in asked}
    for patch in patches:
        for name in patch.get("evidence", {}).get("drop", []):
            panels.pop(name, None)
        for panel in patch.get("evidence", {}).get("add", []):
            panels[panel["name"]] = Evidence(panel["name"], tuple(panel["command"]), 600.0)
    return tuple(panels.values())


def listing_line(path: str, sha256: str, size: int) -> bytes:
    return canonical({"path": path, "sha256": sha256, "size": size}) + b"\n"
