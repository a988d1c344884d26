"""The panel "what changed": a packet as tables for people, and as JSON for machines. All text in it is a claim."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tenth.evidence.interval import Interval, read_interval, state_of
from tenth.evidence.reading import reader
from tenth.evidence.sealed import Sealed, held_out_texts, write, written_before
from tenth.trainer import tokenizer
from tenth.trainer.model import Transformer
from tenth.trainer.tokenizer import Text

from .amplified import LENGTH, Gram
from .mining import partings
from .packet import (
    ALPHAS,
    CONTEXT,
    CONTEXTS,
    SURPRISES,
    TEXTS,
    Kept,
    Packet,
    Surprise,
    explain,
    first_tokens,
    level,
    look,
)
from .taught import Taught, strength

TOKENS, PLACES, DOCUMENTS = 8, 5, 3  # rows of tables: of tokens, of contexts, of documents for each surprise
CHARACTERS = 160  # of a text that is quoted
HELD_OUT_CHARACTERS = 4_000

Table = dict[str, Any]


def main(sealed: Sealed) -> None:
    if sealed.checkpoint is None or sealed.previous is None:
        write(sealed, "No approved checkpoint before this one: nothing to compare.", {}, {})
        return
    began = time.monotonic()
    now, before = reader(sealed.checkpoint), reader(sealed.previous)
    if "corpus" not in state_of(sealed.checkpoint):
        write(sealed, "This phase learned from no documents: what drove a change cannot be said.", {}, {})
        return
    if now.shape != before.shape:
        write(sealed, "The model's shape has changed: there is nothing to compare.", {}, {})
        return
    interval = read_interval(sealed, sealed.previous, sealed.checkpoint)
    text = tokenizer.from_file(sealed.checkpoint / "tokenizer.json")
    phase = state_of(sealed.checkpoint)["phase"]
    packet = look(now, before, interval, _held_out(sealed, sealed.checkpoint, text, now), _placebo(sealed, phase))
    surprises = explain(before, interval, packet)
    tables = [
        *_surprises(packet, surprises, interval, text), *_taught(packet, interval, text),
        _shared(packet, interval, text), *_tokens(packet, text), _layers(packet, text),
        _places(packet, now, before, text),
    ]  # fmt: skip
    details = _details(packet, surprises, interval, text, time.monotonic() - began)
    within = phase if state_of(sealed.previous)["phase"] == phase else None
    kept = {"phase": within, **packet.kept.to_json()}
    write(sealed, headline(packet, text), metrics(packet, surprises), {**details, "kept": kept}, tables)


def _placebo(sealed: Sealed, phase: str) -> Kept | None:
    """What was kept at the gate before, if both checkpoints that it compared are of this phase."""
    kept = written_before(sealed, "kept.json")
    return Kept.from_json(kept) if kept and kept["phase"] == phase else None


def _held_out(sealed: Sealed, checkpoint: Path, text: Text, model: Transformer) -> NDArray[np.int64]:
    """Windows of held-out documents, one from each as long as there are some."""
    width = min(CONTEXT, model.shape.context) + 1
    contents = [content for _, content in held_out_texts(sealed, checkpoint, HELD_OUT_CHARACTERS, CONTEXTS // 2)]
    rows = [[text.separator, *ids] for ids in text.encode(contents)]
    windows = [row[at : at + width] for at in range(0, HELD_OUT_CHARACTERS, width) for row in rows]
    whole = [window for window in windows if len(window) == width][: CONTEXTS // 2]
    return np.array(whole, dtype=np.int64).reshape(-1, width)


def headline(packet: Packet, text: Text) -> str:
    """One line; it says when there was nothing to compare a surprise with."""
    first, times = packet.strongest
    if not first:
        return "Nothing new stands in the interval's text, or in what the change writes when it is amplified"
    shown = repr(text.decode(list(first[0].tokens)))
    if times is None:
        return f"No interval before to compare with, so nothing is flagged; the greatest surprise is {shown}"
    if packet.flagged:
        return f"FLAGGED: {shown} and the like are {times:.1f} times as strong as in the interval before"
    return f"Nothing stands out: surprises, first {shown}, are {times:.1f} times as strong as before"


def metrics(packet: Packet, surprises: Sequence[Surprise]) -> dict[str, float]:
    now, before = packet.change.nats
    found = {
        "flagged": float(packet.flagged), "kl": float(packet.change.kl.mean()),
        "kl_p999": float(np.quantile(packet.change.kl, 0.999)), "nats_now": now, "nats_before": before,
        "surprise": level(packet.grams), "taught": strength(packet.taught, SURPRISES),
        "shared": packet.shared[0].score if packet.shared else 0.0,
    }  # fmt: skip
    if packet.placebo:
        found["placebo_kl"] = packet.placebo.kl
        found["placebo_surprise"] = level(packet.placebo.grams)
        found["placebo_shared"] = packet.placebo.shared
        found["placebo_taught"] = strength(packet.placebo.taught, SURPRISES)
    if surprises:
        found["passages_looked_at"] = sum(s.looked_at for s in surprises) / max(1, sum(s.passages for s in surprises))
    return found


def _surprises(packet: Packet, surprises: Sequence[Surprise], interval: Interval, text: Text) -> list[Table]:
    columns = [
        "n-gram",
        f"texts of {TEXTS * len(ALPHAS)}",
        "nats likelier",
        "windows of the interval",
        "earlier",
        "score",
    ]
    documents = [
        [_quoted(text, s.gram.tokens), round(driver.cosine, 3), driver.piece.document,
         _passage(interval, driver.piece, text)]
        for s in surprises for driver in s.drivers[:DOCUMENTS]
    ]  # fmt: skip
    tables = [{"title": "What the change writes when it is amplified", "columns": columns,
               "rows": [_gram(gram, text) for gram in packet.grams[:SURPRISES]]}]  # fmt: skip
    if packet.placebo:
        tables.append({"title": "The same for the interval before (placebo)", "columns": columns,
                       "rows": [_gram(gram, text) for gram in packet.placebo.grams[:SURPRISES]]})  # fmt: skip
    return [*tables, {"title": "Documents of the interval that drove it (cosine of gradients)",
                      "columns": ["n-gram", "cosine", "document", "passage"], "rows": documents}]  # fmt: skip


def _taught(packet: Packet, interval: Interval, text: Text) -> list[Table]:
    columns = ["n-gram", "windows of the interval", "nats likelier", "score"]

    def rows(found: Sequence[Taught]) -> list[list[object]]:
        return [[_quoted(text, g.tokens), g.windows, round(g.gain, 2), round(g.score, 1)] for g in found[:SURPRISES]]

    named = [
        [*row, ", ".join(interval.documents(gram.tokens)[:DOCUMENTS])]
        for row, gram in zip(rows(packet.taught), packet.taught, strict=False)
    ]
    title = "New in the interval's text, and learnt"
    tables: list[Table] = [{"title": title, "columns": [*columns, "its first documents"], "rows": named}]
    if packet.placebo:
        title = "The same for the interval before (placebo)"
        tables.append({"title": title, "columns": columns, "rows": rows(packet.placebo.taught)})
    return tables


def _shared(packet: Packet, interval: Interval, text: Text) -> Table:
    rows = []
    for one in packet.shared[:SURPRISES]:
        tokens = interval.windows[one.window, one.start : one.stop].tolist()
        documents = ", ".join(interval.documents(tokens[:LENGTH])[:DOCUMENTS])
        rows.append([_quoted(text, tokens)[:CHARACTERS], one.windows, one.grams, one.score, documents])
    beside = f" (placebo: the greatest score was {packet.placebo.shared:.0f})" if packet.placebo else ""
    return {
        "title": f"Text that windows of the interval share, and no earlier text has{beside}",
        "columns": ["text", "windows", "new n-grams", "score", "its first documents"],
        "rows": rows,
    }


def _gram(gram: Gram, text: Text) -> list[object]:
    return [
        _quoted(text, gram.tokens),
        gram.texts,
        round(gram.gain, 2),
        gram.interval,
        gram.earlier,
        round(gram.score, 1),
    ]


def _tokens(packet: Packet, text: Text) -> list[Table]:
    tables, placebo = [], packet.placebo
    for name, now, before in (
        ("gained", packet.change.gained, placebo.gained if placebo else None),
        ("lost", packet.change.lost, placebo.lost if placebo else None),
    ):
        earlier = np.array([(before or {}).get(token, 0.0) for token in range(len(now))])
        first = np.argsort(earlier - now, kind="stable")[:TOKENS].tolist()
        rows = [
            [_quoted(text, [i]), round(float(now[i]), 4), None if before is None else round(float(earlier[i]), 4)]
            for i in first
        ]
        title = f"Tokens {name}: share of contexts where they are among those that moved most"
        tables.append({"title": title, "columns": ["token", "now", "placebo"], "rows": rows})
    return tables


def _layers(packet: Packet, text: Text) -> Table:
    def shown(tokens: Sequence[int]) -> str:
        return " ".join(_quoted(text, [i]) for i in tokens)

    beside = packet.placebo.layers if packet.placebo else []
    rows = [
        [layer + 1, shown(first), shown(beside[layer]) if beside else None]
        for layer, first in enumerate(first_tokens(packet.change))
    ]
    return {
        "title": "Mean activation difference by layer, as tokens",
        "columns": ["layer", "now", "placebo"],
        "rows": rows,
    }


def _places(packet: Packet, now: Transformer, before: Transformer, text: Text) -> Table:
    rows = []
    for place in partings(now, before, packet.contexts, packet.change, PLACES):
        shown = text.decode(packet.contexts[place.context, : place.position + 1].tolist())[-40:]
        gained, lost = (" ".join(_quoted(text, [i]) for i in ids) for ids in (place.gained, place.lost))
        rows.append([repr(shown), round(place.kl, 2), gained, lost])
    return {
        "title": "Contexts where the two models part most",
        "columns": ["after", "KL, nats", "gained", "lost"],
        "rows": rows,
    }


def _details(
    packet: Packet, surprises: Sequence[Surprise], interval: Interval, text: Text, seconds: float
) -> dict[str, Any]:
    explained = {s.gram.tokens: s for s in surprises}

    def row(gram: Gram) -> dict[str, Any]:
        found: dict[str, Any] = {
            "ngram": text.decode(list(gram.tokens)), "texts": gram.texts, "nats": gram.gain,
            "interval": gram.interval, "earlier": gram.earlier, "score": gram.score,
            "example": text.decode([*packet.texts[gram.places[0][0]].prompt, *packet.texts[gram.places[0][0]].tokens]),
        } if gram.places else {}  # fmt: skip
        if s := explained.get(gram.tokens):
            found |= {"looked_at": s.looked_at, "passages": s.passages, "drivers": [
                {"document": d.piece.document, "cosine": d.cosine, "passage": _passage(interval, d.piece, text)}
                for d in s.drivers[:20]
            ]}  # fmt: skip
        return found

    return {
        "surprises": [row(gram) for gram in packet.grams],
        "about": {
            "windows": len(interval.windows), "windows_of_the_interval": interval.whole, "seconds": round(seconds, 2),
            "contexts": len(packet.contexts), "earlier_windows": len(interval.earlier),
        },
    }  # fmt: skip


def _quoted(text: Text, tokens: Sequence[int]) -> str:
    return repr(text.decode(list(tokens)))


def _passage(interval: Interval, piece: Any, text: Text) -> str:
    return text.decode(interval.windows[piece.window, piece.start : piece.stop].tolist())[:CHARACTERS]
