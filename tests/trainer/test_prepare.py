"""`tenth data`: every kind of source, any number of workers and any kill give the same folder; bad input is named."""

from __future__ import annotations

import errno
import gzip
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from client.fake_supervisor import write_listing
from tenth.trainer import data, encode, prepare, shard_writer, sources, tokenizer
from tenth.trainer.documents import Split
from tenth.trainer.duplicates import Seen
from tenth.trainer.errors import CorpusError
from tenth.trainer.held_out import held_out_texts
from tenth.trainer.prepare import Job, Settings
from tenth.trainer.recipe import DataRecipe
from tenth.trainer.shards import Prepared, file_digest, open_prepared
from tenth.trainer.sources import Folders

BYTES = Settings("bytes", held_out=0.1)
TEXTS = [f"row {i}: " + "some words " * (i % 7 + 1) for i in range(40)]


def prepared(out: Path, *paths: Path, settings: Settings = BYTES, workers: int = 1, **more: Any) -> Prepared:
    return Job(Folders(paths, **more), out, settings, workers).run()


def texts_of(found: Prepared) -> dict[str, str]:
    """Every document by its name, decoded."""
    text = tokenizer.from_file(found.folder / "tokenizer.json")
    texts = {}
    for index, tokens in ((found.documents, found.train), (found.held_out_documents, found.held_out)):
        for number in range(len(index)):
            start, stop = index.span(number)
            texts[index.name(number)] = text.decode(tokens.read(start + 1, stop).tolist())
    return texts


def rows_in(path: Path) -> Path:
    """A file or folder that holds TEXTS, of the kind that its name says."""
    lines = "".join(json.dumps({"id": i, "text": text}) + "\n" for i, text in enumerate(TEXTS)).encode()
    table = pa.table({"id": range(len(TEXTS)), "text": TEXTS})
    if path.name.endswith(".gz"):
        path.write_bytes(gzip.compress(lines))
    elif path.name.endswith(".zst"):
        with pa.output_stream(str(path), compression="zstd") as stream:
            stream.write(lines)
    elif path.suffix == ".jsonl":
        path.write_bytes(lines)
    elif path.suffix == ".parquet":
        pq.write_table(table, path, row_group_size=7)
    elif path.suffix == ".arrow":
        with pa.ipc.new_file(str(path), table.schema) as writer:
            writer.write_table(table)
    else:
        from datasets import Dataset

        Dataset.from_dict({"id": list(range(len(TEXTS))), "text": TEXTS}).save_to_disk(str(path))
    return path


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.jsonl.zst", "a.parquet", "a.arrow", "dataset"])
def test_rows_of_every_kind_become_documents(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "BATCH_BYTES", 300)  # so that batches end inside the file
    found = texts_of(prepared(tmp_path / "out", rows_in(tmp_path / name)))
    assert sorted(found.values()) == sorted(TEXTS)
    first = 1 if "jsonl" in name else 0  # lines are counted from 1, as editors do
    called = "dataset/data-00000-of-00001.arrow" if name == "dataset" else name
    assert found[f"{called}#{first + 9}"] == TEXTS[9]


def digests(folder: Path) -> dict[str, str]:
    return {path.name: file_digest(path) for path in folder.iterdir()}


def test_workers_and_kills_change_no_byte(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name, value in (
        (sources, "BATCH_BYTES", 1500), (prepare, "PAUSE", -1.0), (prepare, "WORTH_WORKERS", 0),
        (shard_writer, "SHARD_TOKENS", 1000),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, value)
    (corpus / "data" / "zz.txt").write_bytes((corpus / "data" / "07.txt").read_bytes())  # a copy, across a kill
    settings = Settings("bpe", 300, 0.1)
    whole = prepared(tmp_path / "whole", corpus, settings=settings)
    many = prepared(tmp_path / "many", corpus, settings=settings, workers=2)
    assert digests(many.folder) == digests(whole.folder)

    class Killed(BaseException):
        pass

    worker = encode.Worker.__call__
    for kill_at in (1, 2, 3, 2):
        left = [kill_at]

        def dying(self: encode.Worker, batch: Any, left: list[int] = left) -> Any:
            left[0] -= 1
            if not left[0]:
                raise Killed
            return worker(self, batch)

        monkeypatch.setattr(encode.Worker, "__call__", dying)
        with pytest.raises(Killed):
            prepared(tmp_path / "killed", corpus, settings=settings)
        newest = max((tmp_path / "killed.partial").glob("train-*.bin"))
        for path in (newest, tmp_path / "killed.partial" / "train.names"):
            with path.open("ab") as file:  # written after the last pause
                file.write(b"torn")
    monkeypatch.setattr(encode.Worker, "__call__", worker)
    assert digests(prepared(tmp_path / "killed", corpus, settings=settings).folder) == digests(whole.folder)


def test_a_tokenizer_larger_than_a_pipe_reaches_every_worker(corpus: Path) -> None:
    work = encode.Work(tokenizer.byte_tokenizer().to_json() + " " * (1 << 20), Split(0.1))
    batches = list(Folders((corpus / "data",)).batches()) * 4
    with encode.encoders(1) as one, encode.encoders(2) as two:
        assert list(two.run(work, batches)) == list(one.run(work, batches))


def test_the_command_survives_a_real_kill(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for i in range(40):
        (source / f"{i:02d}.txt").write_text("".join(f"line {n * i} of {i}\n" for n in range(12_000)))
    words = [sys.executable, "-m", "tenth.cli", "data", str(source), "--tokenizer", "bytes", "--workers", "2", "--out"]
    process = subprocess.Popen([*words, str(tmp_path / "out")], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 60
    shard = tmp_path / "out.partial" / "train-00000.bin"
    while time.monotonic() < deadline and not (shard.exists() and shard.stat().st_size):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    for name in ("out", "other"):
        done = subprocess.run([*words, str(tmp_path / name), "--json"], capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["train"]["tokens"] > 5_000_000
    assert digests(tmp_path / "out") == digests(tmp_path / "other")


def test_a_prepared_folder_is_the_data_of_a_run(corpus: Path, tmp_path: Path) -> None:
    ready = prepared(corpus / "ready", corpus / "data")
    shared = tmp_path / "list.jsonl"
    write_listing(corpus, shared, leave_out=[f"data/{i:02d}.txt" for i in range(30)])
    recipe = DataRecipe(exclude=("data/0[3-4].txt",))
    opened = data.open_fresh(shared, corpus, tmp_path, recipe)
    assert opened.digest == ready.digest
    assert not (tmp_path / "cache").exists()
    names = {ready.documents.name(ready.documents.at(int(start))) for start, _ in opened.excluded}
    assert names <= {"data/03.txt", "data/04.txt"}
    assert names
    (tmp_path / "state.json").write_text('{"corpus": {}}')
    held = held_out_texts(tmp_path, shared, corpus, (), 40, 5)
    assert held
    assert all(text == (corpus / document.path).read_text()[:40] for document, text in held)
    gone = held[0][0].path
    assert gone not in {document.path for document, _ in held_out_texts(tmp_path, shared, corpus, (gone,), 40, 5)}
    with pytest.raises(CorpusError, match="trained on"):
        data.open_again(tmp_path, "", "0" * 64, shared, corpus, tmp_path, recipe)
    write_listing(corpus, shared)
    with pytest.raises(CorpusError, match="beside the prepared folder"):
        data.open_fresh(shared, corpus, tmp_path, recipe)


@pytest.mark.parametrize("name", ["train-00000.bin", "manifest.json", "train.names"])
def test_a_prepared_folder_that_is_not_whole_is_refused(corpus: Path, tmp_path: Path, name: str) -> None:
    ready = prepared(corpus / "ready", corpus / "data")
    path = ready.folder / name
    content = path.read_bytes()
    path.write_bytes(content[:-3] + bytes([content[-3] ^ 1]) + content[-2:])
    with pytest.raises(CorpusError, match="prepared data was refused"):
        open_prepared(ready.folder)
    listing = write_listing(corpus / "ready", tmp_path / "list.jsonl")
    if name != "manifest.json":  # the supervisor refuses that one: its listing pins it
        with pytest.raises(CorpusError, match=name):
            data.open_fresh(listing, corpus / "ready", tmp_path, DataRecipe())


def test_other_settings_and_changed_sources_are_refused(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = prepared(tmp_path / "out", corpus)
    assert prepared(tmp_path / "out", corpus).digest == first.digest
    with pytest.raises(CorpusError, match=r"held_out = 0\.1, and 0\.2"):
        prepared(tmp_path / "out", corpus, settings=Settings("bytes", held_out=0.2))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter").write_text("")
    with pytest.raises(CorpusError, match="no prepared data"):
        prepared(tmp_path / "mine", corpus)
    monkeypatch.setattr(encode.Worker, "__call__", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        prepared(tmp_path / "b", corpus)
    (corpus / "data" / "new.txt").write_text("new")
    with pytest.raises(CorpusError, match="sources changed"):
        prepared(tmp_path / "b", corpus)


def test_bad_lines_are_named_counted_and_at_last_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = rows_in(tmp_path / "a.jsonl")
    lines = path.read_text().splitlines()
    lines[6], lines[20] = '{"text": "torn', '{"text": 5}'
    path.write_text("\n".join(lines))
    found = prepared(tmp_path / "out", path)
    assert found.manifest["report"]["bad_rows"] == 2
    skipped = [json.loads(line) for line in (found.folder / "skipped.jsonl").read_text().splitlines()]
    assert [row["name"] for row in skipped] == ["a.jsonl#7", "a.jsonl#21"]
    monkeypatch.setattr(prepare, "BAD_ROWS", 1)
    with pytest.raises(CorpusError, match=r"a\.jsonl#21"):
        prepared(tmp_path / "b", path)


@pytest.mark.parametrize("name", ["a.jsonl", "a.parquet", "a.arrow"])
def test_a_missing_column_names_those_there_are(tmp_path: Path, name: str) -> None:
    path = rows_in(tmp_path / name)
    with pytest.raises(CorpusError, match="no column 'content', but id, text"):
        prepared(tmp_path / "out", path, settings=Settings("bytes", held_out=0.0, column="content"), column="content")
    if name != "a.jsonl":
        with pytest.raises(CorpusError, match="holds int64, not text"):
            prepared(tmp_path / "out2", path, settings=Settings("bytes", held_out=0.0, column="id"), column="id")


def test_a_dataset_of_many_splits_is_refused_by_their_names(tmp_path: Path) -> None:
    (tmp_path / "all").mkdir()
    for name in ("train", "test"):
        rows_in(tmp_path / "all" / name)
    (tmp_path / "all" / "dataset_dict.json").write_text("{}")
    with pytest.raises(CorpusError, match="splits test, train"):
        prepared(tmp_path / "out", tmp_path / "all")


def test_links_that_leave_the_source_are_not_followed(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (corpus / "data" / "link.txt").symlink_to(tmp_path / "secret")
    (corpus / "data" / "near.txt").symlink_to(corpus / "data" / "01.txt")
    found = prepared(tmp_path / "out", corpus)
    assert (found.manifest["report"]["links"], found.manifest["report"]["duplicates"]) == (1, 1)
    assert "secret" not in texts_of(found).values()


def test_a_file_that_shrinks_while_it_is_read_is_refused(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "read_bytes", lambda path, read=Path.read_bytes: read(path)[:-1])
    with pytest.raises(CorpusError, match="changed while it was read"):
        prepared(tmp_path / "out", corpus)


@pytest.mark.parametrize("content", [None, b"", b"\0" * 99])
def test_a_corpus_without_text_is_refused(tmp_path: Path, content: bytes | None) -> None:
    (tmp_path / "source").mkdir()
    if content is not None:
        (tmp_path / "source" / "a").write_bytes(content)
    with pytest.raises(CorpusError, match="no text to train on"):
        prepared(tmp_path / "out", tmp_path / "source")


def test_a_full_disk_stops_and_goes_on_when_there_is_room(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = shard_writer.Writer.write

    def full(self: shard_writer.Writer, document: Any) -> None:
        if self.documents == 9:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(self, document)

    monkeypatch.setattr(shard_writer.Writer, "write", full)
    with pytest.raises(CorpusError, match="make room"):
        prepared(tmp_path / "out", corpus)
    monkeypatch.setattr(shard_writer.Writer, "write", write)
    again = prepared(tmp_path / "out", corpus)
    assert digests(again.folder) == digests(prepared(tmp_path / "other", corpus).folder)


def test_a_quarantine_without_namespaces_is_no_trouble(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It answers utime for any path, and cuts no file off by its path."""

    def refused(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr("os.utime", lambda *_, **__: None)
    monkeypatch.setattr("os.truncate", refused)
    assert len(prepared(tmp_path / "out", corpus).documents) > 0


def test_a_set_of_digests_knows_what_it_saw() -> None:
    keys = [i.to_bytes(16, "little") for i in range(1, 5000)]
    seen = Seen()
    assert all(seen.add(keys[:3000]))
    assert seen.add([*keys[2990:3010], keys[3005]]) == [False] * 10 + [True] * 10 + [False]
    assert seen.count == 3010
    assert not any(seen.add(keys[:3010]))


def test_an_error_keeps_its_parts_between_processes() -> None:
    import pickle

    error = pickle.loads(pickle.dumps(CorpusError("a", "b", "c")))
    assert (type(error), error.refused, error.found, error.do) == (CorpusError, "a", "b", "c")
