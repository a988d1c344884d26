"""The corpus of a run: a prepared folder that the charter names, or a cache of the same form, built from its files."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import numbering, tokenizer
from .documents import read_listing
from .errors import CorpusError
from .prepare import Job, Settings, moved
from .recipe import DataRecipe
from .shards import FORMAT, MANIFEST, VERSION, Index, Prepared, Tokens, open_prepared
from .sources import Listed
from .tokenizer import PATTERN

BUILT = ("bpe", "bytes")  # tokenizers that need no file


@dataclass(frozen=True)
class Corpus:
    """An opened corpus. `excluded` holds (n, 2) start and stop in `train` of what may not be learned any more."""

    folder: Path
    key: str
    digest: str  # of the manifest, hence of every file
    documents: Index  # of `train`
    train: Tokens
    separator: int
    vocabulary: int
    bytes_per_token: float  # of the training documents
    report: dict[str, Any]
    excluded: NDArray[np.int64]
    files: tuple[Path, ...]  # that a checkpoint copies, to be able to go on where the cache is lost


def open_fresh(listing: Path, root: Path, work: Path, recipe: DataRecipe, given: str = "") -> Corpus:
    """The corpus of a phase's first lease: its listing becomes the base of the order.

    `given`: the tokenizer.json of the model that the phase begins with, used unless the recipe names a file.
    """
    if found := find_prepared(listing, root):
        return _corpus(_open_pinned(*found), recipe)
    named = _tokenizer(root, recipe)
    settings = Settings(given if given and named in BUILT else named, recipe.vocabulary, recipe.held_out)
    known: list[object] = [VERSION, PATTERN, settings.known_as(), hashlib.sha256(listing.read_bytes()).hexdigest()]
    key = hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()
    prepared = _cached(work, key) or _build(work, key, listing, root, settings)
    return _corpus(prepared, recipe, key)


def open_again(
    checkpoint: Path, key: str, digest: str, listing: Path, root: Path, work: Path, recipe: DataRecipe
) -> Corpus:
    """The corpus of a later lease: the one that the checkpoint names; a lost cache is built anew.

    The checkpoint's numbering and tokenizer are the base; an excluded document need not exist any more.
    Raises CorpusError where the data or its tokenizer is not what the checkpoint was trained on.
    """
    if found := find_prepared(listing, root):
        prepared = _open_pinned(*found)
        if prepared.digest != digest:
            raise CorpusError(
                "The prepared data was refused.",
                f"manifest {prepared.digest[:16]} where the checkpoint was trained on {digest[:16]}",
                "name the folder that the run began with",
            )  # fmt: skip
        corpus = _corpus(prepared, recipe)
    else:
        corpus = _open_cache_again(checkpoint, key, digest, listing, root, work, recipe)
    if (checkpoint / "tokenizer.json").read_bytes() != (corpus.folder / "tokenizer.json").read_bytes():
        raise CorpusError(
            "The tokenizer was refused.", f"{corpus.folder} has another one than the checkpoint",
            "use the tokenizer.json that lies in the checkpoint",
        )  # fmt: skip
    return corpus


def open_to_read(checkpoint: Path, listing: Path, root: Path, work: Path, recipe: DataRecipe) -> Corpus:
    """The corpus that a checkpoint was trained on, for somebody who may not write: a lost cache is not built anew.

    Raises CorpusError where it is not there, or not what the checkpoint names.
    """
    known = json.loads((checkpoint / "state.json").read_text("utf-8"))["corpus"]
    found, gone = find_prepared(listing, root), None
    prepared = _open_pinned(*found) if found else open_prepared(_place(work, known["key"]))
    if prepared.digest != known["digest"]:
        raise CorpusError(
            "The corpus was refused.", f"manifest {prepared.digest[:16]} where the checkpoint names {known['digest']}",
            "let the trainer build it anew: begin a tenth",
        )  # fmt: skip
    if not found:
        rows = numbering.load(checkpoint)
        gone = numbering.spans(rows, numbering.missing(rows, read_listing(listing)))
    return _corpus(prepared, recipe, "" if found else known["key"], gone)


def find_prepared(listing: Path, root: Path) -> tuple[Path, dict[str, str]] | None:
    """The prepared folder that the listing consists of, and the digests it pins there; None for a listing of documents.

    Raises CorpusError where there are documents beside it, or another one.
    """
    folders = [
        os.path.dirname(entry.path)
        for entry in read_listing(listing)
        if os.path.basename(entry.path) == MANIFEST and _is_ours(root / entry.path)
    ]
    if not folders:
        return None
    pinned: dict[str, str] = {}
    for entry in read_listing(listing):
        folder, name = os.path.split(entry.path)
        if folder != folders[0]:
            raise CorpusError(
                "The data was refused.", f"{entry.path} beside the prepared folder {folders[0]}",
                "name one prepared folder in the charter and nothing else; `tenth data` puts sources together",
            )  # fmt: skip
        pinned[name] = entry.sha256
    return root / folders[0], pinned


def _is_ours(path: Path) -> bool:
    try:
        about = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(about, dict) and about.get("format") == FORMAT


def _open_pinned(folder: Path, pinned: Mapping[str, str]) -> Prepared:
    return open_prepared(folder, pinned)


def _open_cache_again(
    checkpoint: Path, key: str, digest: str, listing: Path, root: Path, work: Path, recipe: DataRecipe
) -> Corpus:
    rows = numbering.load(checkpoint)
    gone = numbering.missing(rows, read_listing(listing))
    prepared = _cached(work, key)
    if prepared is None or prepared.digest != digest:
        given = Settings((checkpoint / "tokenizer.json").read_text("utf-8"), 0, recipe.held_out)
        shutil.rmtree(_place(work, key), ignore_errors=True)
        prepared = _build(work, key, listing, root, given, rows)
    if (prepared.folder / numbering.FILE).read_bytes() != rows.tobytes():
        raise moved("a document")
    return _corpus(prepared, recipe, key, numbering.spans(rows, gone))


def _tokenizer(root: Path, recipe: DataRecipe) -> str:
    """As `Settings` has it: a brought one by its text."""
    if recipe.tokenizer in BUILT:
        return recipe.tokenizer
    return tokenizer.from_file(root / recipe.tokenizer).to_json()


def _build(
    work: Path, key: str, listing: Path, root: Path, settings: Settings, rows: numbering.Rows | None = None
) -> Prepared:
    def entries() -> Iterator[Any]:
        found = read_listing(listing)
        return found if rows is None else numbering.known(rows, found)

    workers = len(os.sched_getaffinity(0))
    return Job(Listed(entries, root), _place(work, key), settings, workers, gone=rows).run()


def _place(work: Path, key: str) -> Path:
    return work / "cache" / f"corpus-{key[:16]}"


def _cached(work: Path, key: str) -> Prepared | None:
    """The cache if it is whole and says the truth about itself; what is left of another is removed."""
    folder = _place(work, key)
    try:
        return open_prepared(folder)
    except CorpusError:
        shutil.rmtree(folder, ignore_errors=True)
        return None


def _corpus(prepared: Prepared, recipe: DataRecipe, key: str = "", gone: NDArray[np.int64] | None = None) -> Corpus:
    report, train = prepared.manifest["report"], prepared.manifest["train"]["tokens"]
    spans = [prepared.documents.span(number) for number in prepared.documents.matching(recipe.exclude)]
    asked = np.array(spans, dtype=np.int64).reshape(-1, 2)
    excluded = asked if gone is None else np.unique(np.concatenate([gone, asked]), axis=0)
    files = [prepared.folder / "tokenizer.json"]
    if key:
        files.append(prepared.folder / numbering.FILE)
    return Corpus(
        folder=prepared.folder, key=key, digest=prepared.digest, documents=prepared.documents, train=prepared.train,
        separator=prepared.separator, vocabulary=prepared.vocabulary,
        bytes_per_token=report["bytes"] / max(1, train), report={**report, "tokens": train}, excluded=excluded,
        files=tuple(files),
    )  # fmt: skip
