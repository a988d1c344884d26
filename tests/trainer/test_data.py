"""Data: the same documents give the same shards and order; exclusion removes every token and moves nothing."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from client.fake_supervisor import write_listing
from tenth.trainer import data, documents, numbering, shard_writer, tokenizer, words
from tenth.trainer.data import Corpus
from tenth.trainer.epoch import Epoch
from tenth.trainer.errors import CorpusError, RecipeError
from tenth.trainer.held_out import held_out_texts
from tenth.trainer.loss import IGNORED
from tenth.trainer.permutation import Permutation
from tenth.trainer.recipe import DataRecipe
from tenth.trainer.shards import open_prepared

BYTES = DataRecipe(tokenizer="bytes", held_out=0.1)


def opened(root: Path, work: Path, recipe: DataRecipe = BYTES) -> Corpus:
    work.mkdir(exist_ok=True)
    return data.open_fresh(write_listing(root, work / "list.jsonl"), root, work, recipe)


def sealed_from(corpus: Corpus, folder: Path) -> Path:
    """What a checkpoint keeps of a corpus."""
    folder.mkdir()
    for path in corpus.files:
        shutil.copy(path, folder)
    (folder / "state.json").write_text(json.dumps({"corpus": {}, "recipe": {"data": {"held_out": 0.1}}}))
    return folder


def again(corpus: Corpus, sealed: Path, root: Path, work: Path, without: str = "") -> Corpus:
    work.mkdir(exist_ok=True)
    listing = write_listing(root, work / "list.2.jsonl", leave_out=[without])
    return data.open_again(sealed, corpus.key, corpus.digest, listing, root, work, BYTES)


def all_tokens(corpus: Corpus) -> list[int]:
    tokens: list[int] = corpus.train.read(0, len(corpus.train)).tolist()
    return tokens


@pytest.mark.parametrize("recipe", [BYTES, DataRecipe(tokenizer="bpe", vocabulary=300, held_out=0.1)])
def test_the_same_documents_give_the_same_shards(corpus: Path, tmp_path: Path, recipe: DataRecipe) -> None:
    a, b = opened(corpus, tmp_path / "a", recipe), opened(corpus, tmp_path / "b", recipe)
    assert (a.key, a.digest) == (b.key, b.digest)
    assert opened(corpus, tmp_path / "a", recipe).digest == a.digest


@pytest.mark.parametrize("shard", [100, 1_000_000])
def test_every_document_is_whole_and_on_one_side(
    corpus: Path, tmp_path: Path, shard: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where every document is longer than a shard."""
    monkeypatch.setattr(shard_writer, "SHARD_TOKENS", shard)
    opened_corpus = opened(corpus, tmp_path / "a")
    text = tokenizer.from_file(opened_corpus.folder / "tokenizer.json")
    prepared = open_prepared(opened_corpus.folder)
    assert len(prepared.held_out_documents) + len(prepared.documents) == 30
    assert 0 < len(prepared.held_out_documents) < 30
    assert (len(list(opened_corpus.folder.glob("train-*.bin"))) > 50) == (shard == 100)
    at = 0
    for number, name in enumerate(prepared.documents.names()):
        start, stop = prepared.documents.span(number)
        ids = prepared.train.read(start, stop).tolist()
        assert start == at
        assert ids[0] == text.separator
        assert text.decode(ids[1:]) == (corpus / name).read_text()
        assert prepared.documents.name(number) == name
        for token in (start, (start + stop) // 2, stop - 1):
            assert prepared.documents.at(token) == number
        at = stop
    assert at == len(opened_corpus.train)
    with pytest.raises(IndexError):
        prepared.documents.at(at)


def test_an_epoch_reads_every_chunk_once_across_shards(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shard_writer, "SHARD_TOKENS", 50)
    opened_corpus = opened(corpus, tmp_path / "a")
    epoch = Epoch(opened_corpus, 32, 4, seed=1, number=1)
    rows = [row for inputs, _ in epoch.batches(0) for row in inputs.tolist()]
    chunks = (len(opened_corpus.train) - 1) // 32
    assert sorted(rows) == sorted(np.array(all_tokens(opened_corpus))[: chunks * 32].reshape(-1, 32).tolist())
    assert [i.tolist() for i, _ in epoch.batches(3)] == [i.tolist() for i, _ in epoch.batches(0)][3:]
    inputs, targets = epoch.batch(0)
    assert (inputs[:, 1:] == targets[:, :-1]).all()


def order(count: int, seed: int, epoch: int) -> list[int]:
    found: list[int] = Permutation(count, seed, epoch)[:].tolist()
    return found


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 31, 64, 65, 1000, 4097])
def test_an_order_is_a_permutation(count: int) -> None:
    assert sorted(order(count, 5, 3)) == list(range(count))
    whole = Permutation(count, 5, 3)
    assert whole[np.arange(count)[::-1]].tolist() == order(count, 5, 3)[::-1]
    with pytest.raises(IndexError):
        whole[np.array([count])]


def test_orders_differ_by_seed_and_epoch_and_stay_for_ever() -> None:
    assert order(100, 1, 1) != order(100, 1, 2) != order(100, 2, 1)
    # Golden: a change here would change what a resumed run reads.
    assert order(10, 1234, 1) == GOLDEN
    # As in a shuffled deck: hardly a neighbour stays a neighbour, and nothing is left of the old order.
    shuffled = np.array(order(10_000, 7, 1))
    assert (np.abs(np.diff(shuffled)) == 1).sum() < 12
    assert abs(float(np.corrcoef(shuffled, np.arange(10_000))[0, 1])) < 0.05


GOLDEN = [9, 3, 0, 5, 2, 4, 1, 6, 7, 8]


def test_an_order_of_a_thousand_million_chunks_takes_no_room() -> None:
    far = Permutation(10**9, 1, 1)[np.arange(10**9 - 1000, 10**9)]
    assert len(set(far.tolist())) == 1000
    assert far.max() < 10**9


def test_excluded_documents_leave_no_token_and_move_nothing(corpus: Path, tmp_path: Path) -> None:
    opened_corpus = opened(corpus, tmp_path / "a")
    victim = opened_corpus.documents.name(4)
    excluding = opened(corpus, tmp_path / "a", dataclasses.replace(BYTES, exclude=(victim,)))
    assert excluding.digest == opened_corpus.digest
    assert excluding.excluded.tolist() == [list(opened_corpus.documents.span(4))]
    whole, less = Epoch(opened_corpus, 32, 4, 1, 1), Epoch(excluding, 32, 4, 1, 1)
    assert less.steps == whole.steps
    gone = 0
    for (a, s), (b, t) in zip(whole.batches(0), less.batches(0), strict=True):
        assert ((t == s) | (t == IGNORED)).all()
        assert ((b == a) | (b == opened_corpus.separator)).all()
        gone += int((t == IGNORED).sum())
    start, stop = opened_corpus.documents.span(4)
    assert abs(gone - (stop - start)) <= 1
    marked = dataclasses.replace(excluding, train=Places(len(opened_corpus.train)))  # type: ignore[arg-type]
    for inputs, targets in Epoch(marked, 32, 4, 1, 1).batches(0):
        for tokens in (inputs, targets):
            assert not ((tokens >= start) & (tokens < stop) & (tokens != opened_corpus.separator)).any()


class Places:
    """Tokens that are their own places."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count

    def read(self, start: int, stop: int) -> object:
        return np.arange(start, stop)


def test_a_document_left_out_of_the_listing_is_excluded_and_globs_join_it(corpus: Path, tmp_path: Path) -> None:
    whole = opened(corpus, tmp_path / "a")
    sealed = sealed_from(whole, tmp_path / "sealed")
    first, second = whole.documents.name(0), whole.documents.name(7)
    listing = write_listing(corpus, tmp_path / "a" / "list.2.jsonl", leave_out=[first])
    recipe = dataclasses.replace(BYTES, exclude=(second.replace("data/", "*"),))
    less = data.open_again(sealed, whole.key, whole.digest, listing, corpus, tmp_path / "a", recipe)
    assert less.excluded.tolist() == [list(whole.documents.span(0)), list(whole.documents.span(7))]


def test_a_killed_build_is_no_corpus(corpus: Path, tmp_path: Path) -> None:
    whole = opened(corpus, tmp_path / "a")
    partial = whole.folder.with_name(whole.folder.name + ".partial")
    whole.folder.rename(partial)
    (partial / "manifest.json").unlink()
    assert opened(corpus, tmp_path / "a").digest == whole.digest
    assert not partial.exists()


@pytest.mark.parametrize("name", ["train-00000.bin", "tokenizer.json", "train.documents", "manifest.json"])
def test_a_damaged_cache_is_built_anew(corpus: Path, tmp_path: Path, name: str) -> None:
    whole = opened(corpus, tmp_path / "a")
    path = whole.folder / name
    path.write_bytes(path.read_bytes()[:-3] + b"xyz")
    assert opened(corpus, tmp_path / "a").digest == whole.digest


@pytest.mark.parametrize("lone", [False, True])
def test_a_lost_cache_is_built_from_the_checkpoint_without_the_excluded(
    corpus: Path, tmp_path: Path, lone: bool
) -> None:
    if lone:
        for path in (corpus / "data").iterdir():
            path.write_text("one and the same\n" * 40)
    whole = opened(corpus, tmp_path / "a")
    sealed = sealed_from(whole, tmp_path / "sealed")
    assert all_tokens(again(whole, sealed, corpus, tmp_path / "b")) == all_tokens(whole)
    shutil.rmtree(tmp_path / "b")
    victim = whole.documents.name(0)
    (corpus / victim).unlink()
    excluded = again(whole, sealed, corpus, tmp_path / "a", victim)
    rebuilt = again(whole, sealed, corpus, tmp_path / "b", victim)
    assert excluded.excluded.tolist() == rebuilt.excluded.tolist() != []
    a, b = Epoch(excluded, 32, 4, 1, 1), Epoch(rebuilt, 32, 4, 1, 1)
    assert all((x == y).all() for x, y in zip(a.batch(0), b.batch(0), strict=True))
    start, stop = whole.documents.span(0)
    assert set(rebuilt.train.read(start, stop).tolist()) == {whole.separator}


def test_a_lost_cache_that_comes_out_otherwise_is_refused(corpus: Path, tmp_path: Path) -> None:
    whole = opened(corpus, tmp_path / "a")
    sealed = sealed_from(whole, tmp_path / "sealed")
    rows = numbering.load(sealed).copy()
    rows["tokens"][3] += 1
    (sealed / numbering.FILE).write_bytes(rows.tobytes())
    with pytest.raises(CorpusError, match="tokens that it had before"):
        again(whole, sealed, corpus, tmp_path / "b")


def test_a_checkpoint_with_another_tokenizer_is_refused(corpus: Path, tmp_path: Path) -> None:
    whole = opened(corpus, tmp_path / "a")
    sealed = sealed_from(whole, tmp_path / "sealed")
    (sealed / "tokenizer.json").write_text(tokenizer.train_bpe(["ab " * 50], 260).to_json())
    with pytest.raises(CorpusError, match="tokenizer"):
        again(whole, sealed, corpus, tmp_path / "a")


def test_a_lone_document_gives_its_tail(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "book.txt").write_text("w\u00f6rd " * 1000)
    (root / "copy.txt").write_text("w\u00f6rd " * 1000)
    whole = opened(root, tmp_path / "a")
    prepared = open_prepared(whole.folder)
    assert (len(prepared.documents), len(prepared.held_out_documents)) == (1, 1)
    text = tokenizer.from_file(whole.folder / "tokenizer.json")
    halves = [text.decode(t.read(1, len(t)).tolist()) for t in (prepared.train, prepared.held_out)]
    assert "".join(halves) == "w\u00f6rd " * 1000
    assert len(halves[1].encode()) in (600, 601)
    sealed = sealed_from(whole, tmp_path / "s")
    ((document, tail),) = held_out_texts(sealed, tmp_path / "a/list.jsonl", root, (), 10_000, 9)
    assert (document.path, tail) == ("book.txt", halves[1])


def test_held_out_texts_come_from_the_files(corpus: Path, tmp_path: Path) -> None:
    whole = opened(corpus, tmp_path / "a")
    sealed = sealed_from(whole, tmp_path / "s")
    found = held_out_texts(sealed, tmp_path / "a/list.jsonl", corpus, (), 50, 9)
    assert len(found) == len(open_prepared(whole.folder).held_out_documents)
    assert all(text == (corpus / document.path).read_text()[:50] for document, text in found)
    gone = found[0][0].path
    assert gone not in {d.path for d, _ in held_out_texts(sealed, tmp_path / "a/list.jsonl", corpus, (gone,), 50, 9)}


def test_copies_are_kept_once(corpus: Path, tmp_path: Path) -> None:
    before = opened(corpus, tmp_path / "a")
    for i in range(5):
        shutil.copy(corpus / "data" / "07.txt", corpus / "data" / f"z{i}.txt")
    after = opened(corpus, tmp_path / "b")
    assert after.report["duplicates"] == 5
    assert all_tokens(after) == all_tokens(before)


def test_the_split_holds_out_a_document_and_keeps_one() -> None:
    digests = [f"{i % 50:064x}" for i in range(200)]
    found = documents.split(digests, 0.2)
    assert 2 < sum(found.held_out(digest) for digest in set(digests)) < 25
    assert sum(documents.split(digests[:3], 0.001).held_out(digest) for digest in digests[:3]) == 1
    assert sum(documents.split(digests[:3], 0.999).held_out(digest) for digest in digests[:3]) == 2
    assert not documents.split(digests, 0.0).held_out(digests[0])
    many = documents.split((f"{i:064x}" for i in range(10**9)), 0.1)  # reads on only until chance can be trusted
    assert many.chosen is None


def test_a_long_document_is_cut_in_pieces_only_for_encoding(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = opened(corpus, tmp_path / "a")
    monkeypatch.setattr(words, "PIECE", 50)
    assert all_tokens(opened(corpus, tmp_path / "b")) == all_tokens(whole)


def test_binary_files_are_skipped_and_broken_text_counted(corpus: Path, tmp_path: Path) -> None:
    (corpus / "data" / "image.png").write_bytes(b"\x89PNG\0\0\0" + bytes(range(256)))
    (corpus / "data" / "latin.txt").write_bytes(b"caf\xe9 " * 20)
    (corpus / "data" / "empty.txt").write_bytes(b"")
    opened_corpus = opened(corpus, tmp_path / "a")
    assert [opened_corpus.report[name] for name in ("binary", "replaced", "empty")] == [1, 20, 1]
    skipped = [json.loads(line) for line in (opened_corpus.folder / "skipped.jsonl").read_text().splitlines()]
    assert skipped == [{"name": "data/empty.txt", "why": "empty"}, {"name": "data/image.png", "why": "binary"}]


@pytest.mark.parametrize("content", [{}, {"a": b""}, {"a": b"\0" * 50, "b": b"\0\1"}])
def test_a_corpus_without_text_is_refused(tmp_path: Path, content: dict[str, bytes]) -> None:
    root = tmp_path / "root"
    root.mkdir()
    for name, body in content.items():
        (root / name).write_bytes(body)
    with pytest.raises(CorpusError, match="no text"):
        opened(root, tmp_path / "a")


def test_a_corpus_shorter_than_a_sequence_is_refused(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"model\.context"):
        Epoch(opened(corpus, tmp_path / "a"), 1_000_000, 4, 1, 1)


@pytest.mark.parametrize("change", ["shrink", "remove"])
def test_a_document_that_changed_since_the_listing_is_refused(corpus: Path, tmp_path: Path, change: str) -> None:
    listing = write_listing(corpus, tmp_path / "list.jsonl")
    if change == "shrink":
        (corpus / "data" / "07.txt").write_text("less")
    else:
        (corpus / "data" / "07.txt").unlink()
    with pytest.raises(CorpusError, match=r"07\.txt"):
        data.open_fresh(listing, corpus, tmp_path, BYTES)


def test_a_listing_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "list").write_text('{"path": 3}\n')
    with pytest.raises(CorpusError, match="listing"):
        data.open_fresh(tmp_path / "list", tmp_path, tmp_path, BYTES)


def test_a_brought_tokenizer_is_used_and_a_broken_one_refused(corpus: Path, tmp_path: Path) -> None:
    (corpus / "mine.json").write_text(tokenizer.byte_tokenizer().to_json())
    recipe = DataRecipe(tokenizer="mine.json", held_out=0.1)
    assert opened(corpus, tmp_path / "a", recipe).vocabulary == 257
    (corpus / "mine.json").write_text("{}")
    with pytest.raises(RecipeError, match="tokenizer"):
        opened(corpus, tmp_path / "b", recipe)


def test_text_survives_the_tokenizer() -> None:
    text = tokenizer.train_bpe(["def f(x):\n    return x + 1234\n" * 20], 300)
    for sample in ("def g(y):\n\treturn '\u017elu\u0165 \U0001f40e'\r\n\n\n  x", "", " ", "\0\x1b[2J"):
        assert text.decode(text.encode([sample])[0]) == sample
