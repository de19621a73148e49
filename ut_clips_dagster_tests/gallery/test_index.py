"""The index: what it holds, how it follows the tables, and what happens when it is ruined."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from filelock import FileLock

from ut_clips_dagster.errors import StorageError
from ut_clips_dagster.gallery import index as index_module
from ut_clips_dagster.gallery import mirror, queries, schema
from ut_clips_dagster.gallery.index import Index, IndexMissingError
from ut_clips_dagster.gallery.queries import Found, Question
from ut_clips_dagster.gallery.server import tables_of
from ut_clips_dagster.storage.columns import as_rows
from ut_clips_dagster.storage.local import LocalStore

from .archive import OTHER_STUDY, START, STUDY, Archive, Clip, Session

DAY_MS = 86_400_000
CHECKOUT = Clip(
    "Checkout: hesitates", "Looks for the total.", [(0, "Where is the total?"), (4000, "I would leave now")]
)
PRICING = Clip("Pricing", None, None, start_ms=200_000, sound=False)
BROKEN = Clip("Delivery", None, None, start_ms=300_000, status="ERROR", error="ERROR three times")
GONE = Clip("Old one", None, [(0, "gone but kept")], listed=False)


class Bench:
    """An archive and its index."""

    def __init__(self, root: Path) -> None:
        self.archive = Archive(LocalStore(root / "archive"), real=False)
        self.cache = root / "cache"
        self.index = Index(self.cache, self.archive.store.uri)
        self.rows_read: list[int] = []

    def refresh(self) -> bool:
        self.rows_read.clear()
        tables = tables_of(self.archive.store.uri)
        return self.index.refresh(tables, lambda done, _total: self.rows_read.append(done))

    def ask(self, **question: object) -> Found:
        with self.index.reading() as db:
            return queries.search(db, Question(**question))

    def names(self, **question: object) -> list[str]:
        return [clip.name for clip in self.ask(**question).clips]

    def assert_same_as_built_anew(self) -> None:
        """Rows, and what each word finds, are those of an index that is built from nothing."""
        other = Index(self.cache.with_name("anew"), self.archive.store.uri)
        other.refresh(tables_of(self.archive.store.uri), lambda _done, _total: None)
        told = []
        for each in (self.index, other):
            with each.reading() as db:
                db.row_factory = None
                db.execute("create virtual table temp.words using fts5vocab(main, search, 'instance')")
                ids = dict(db.execute("select id, session_id || clip_uuid from clips").fetchall())
                words = sorted((term, ids[doc]) for term, doc, *_ in db.execute("select * from temp.words"))
                columns = "session_id, clip_uuid, digest"
                rows = [
                    sorted(db.execute(f"select {columns} from {name}").fetchall())
                    for name in ("clips", "media", "transcripts")
                ]
                db.execute("select count(*) from search where search match 'e*'").fetchone()
                told.append((words, rows))
        assert told[0] == told[1]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_names_descriptions_and_transcripts_are_searched_newest_session_first_in_the_order_of_the_session(
    bench: Bench,
) -> None:
    bench.archive.add(Session(0, [PRICING, CHECKOUT]))
    bench.archive.add(Session(5, [Clip("Newest", None, [(0, "total")])]))
    bench.archive.add(Session(2, [Clip("Between", "the total")]))
    assert bench.refresh()

    assert bench.names() == ["Newest", "Between", "Checkout: hesitates", "Pricing"]
    assert bench.names(text="total") == ["Newest", "Between", "Checkout: hesitates"]
    assert bench.names(text="hesit tot lea") == ["Checkout: hesitates"]
    assert bench.names(text="hesit nowhere") == []
    moment = bench.ask(text="leave now").clips[0].moment
    assert moment is not None
    assert (moment.start_ms, moment.text, moment.voice) == (4000, "I would leave now", "Participant")


def test_each_filter_narrows_alone_and_with_words(bench: Bench) -> None:
    bench.archive.add(Session(0, [CHECKOUT, PRICING, BROKEN]))
    bench.archive.add(Session(3, [GONE], OTHER_STUDY))
    bench.refresh()
    day_3 = int(START.timestamp() * 1000) + 3 * DAY_MS

    assert bench.names(study=OTHER_STUDY) == ["Old one"]
    assert bench.names(study=STUDY, text="d") == ["Delivery"]
    assert bench.names(status="ERROR") == ["Delivery"]
    assert bench.names(status="deleted") == ["Old one"]
    assert bench.names(status="STORED", sound="no") == ["Pricing"]
    assert bench.names(session=Session(3, [], OTHER_STUDY).id) == ["Old one"]
    assert bench.names(since_ms=day_3) == ["Old one"]
    assert bench.names(since_ms=day_3, text="total") == []
    assert bench.names(until_ms=day_3) == ["Checkout: hesitates", "Pricing", "Delivery"]
    assert bench.names(since_ms=day_3, until_ms=day_3 + 60_000) == ["Old one"]
    assert bench.names(since_ms=day_3 + 60_000) == []


def test_pages_follow_each_other_without_gap_or_repetition_and_counting_ends_at_a_thousand(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queries, "PAGE", 4)
    monkeypatch.setattr(queries, "MAX_COUNTED", 8)
    wanted = [f"clip {number}" for number in range(10)]
    clips = [Clip(name, start_ms=number * 500, poster=False) for number, name in enumerate(wanted)]
    bench.archive.add(Session(0, clips))  # several within the same two seconds
    bench.refresh()

    shown: list[str] = []
    after: int | None = 0
    while after is not None:
        found = bench.ask(text="clip", after=after)
        assert (found.total, found.more_than_counted) == (8, True)
        shown += [clip.name for clip in found.clips]
        after = found.after
    assert sorted(shown) == sorted(wanted)
    assert len(shown) == 10


@pytest.mark.parametrize("spelt_out", [100, 1, 0])
def test_a_beginning_finds_all_its_words_whether_they_are_few_or_many_and_after_a_change(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, spelt_out: int
) -> None:
    monkeypatch.setattr(queries, "MAX_SPELT_OUT", spelt_out)
    bench.archive.add(
        Session(0, [Clip("checkout"), Clip("checkouts", start_ms=70_000), Clip("check", start_ms=80_000)])
    )
    bench.refresh()
    assert bench.names(text="chec") == ["checkout", "checkouts", "check"]
    bench.archive.add(Session(1, [Clip("Checkpoint")]))
    bench.refresh()
    assert bench.names(text="check") == ["Checkpoint", "checkout", "checkouts", "check"]
    assert bench.names(text="checkout ch") == ["checkout", "checkouts"]


def test_a_change_reads_only_new_files_and_leaves_the_index_as_if_it_were_built_anew(bench: Bench) -> None:
    for days in range(4):
        bench.archive.add(Session(days, [CHECKOUT, PRICING]))
    bench.refresh()
    assert not bench.refresh()

    bench.archive.add(Session(2, [CHECKOUT, Clip("Renamed", "afresh", [(0, "other words")], start_ms=200_000)]))
    bench.archive.add(Session(9, [GONE]))
    assert bench.refresh()

    assert bench.rows_read[-1] == 2 + 2 + 2 + 1 + 1 + 1  # metadata, media, transcripts of two sessions
    assert bench.names(text="renamed") == bench.names(text="other words") == ["Renamed"]
    assert bench.names(text="pricing") == ["Pricing"] * 3
    assert bench.names()[0] == "Old one"
    bench.assert_same_as_built_anew()


def test_clips_and_transcripts_that_vanish_from_the_tables_vanish_from_the_index(bench: Bench) -> None:
    session = Session(1, [CHECKOUT, PRICING])
    bench.archive.add(session)
    bench.archive.add(Session(0, [GONE]))
    bench.refresh()

    for table in (bench.archive.metadata, bench.archive.media):
        table.replace(Session(0, []).id, as_rows(table.schema, []))
    bench.archive.transcripts.replace(session.id, as_rows(bench.archive.transcripts.schema, []))
    bench.refresh()

    assert bench.names() == ["Checkout: hesitates", "Pricing"]
    assert bench.names(text="leave") == bench.names(text="kept") == []
    with bench.index.reading() as db:
        summary = queries.summary(db)
    assert (summary["clips"], summary["sessions"]) == (2, 1)
    bench.assert_same_as_built_anew()


def test_rows_that_only_moved_to_another_file_are_not_indexed_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ut_clips_dagster.storage.compaction.COMPACT_ABOVE_FILES", 2)
    for days in range(4):
        bench.archive.add(Session(days, [CHECKOUT]))
    bench.refresh()
    assert bench.archive.metadata.compact()
    monkeypatch.setattr(mirror, "_touch", lambda *_: pytest.fail("a clip was indexed again"))

    assert bench.refresh()
    assert len(bench.names(text="hesit")) == 4


def test_everything_works_with_clip_metadata_alone_and_what_comes_later_is_taken_over(bench: Bench) -> None:
    assert bench.refresh()
    assert bench.names() == []
    bench.archive.add(Session(0, [CHECKOUT, PRICING]), media=False, transcripts=False)
    bench.refresh()
    card = bench.ask(text="hesitates").clips[0]
    assert (card.poster, card.moment, card.duration_s, card.sound) == (None, None, 12.0, True)
    assert bench.names(text="leave") == []

    bench.archive.add(Session(0, [CHECKOUT, PRICING]))
    bench.refresh()
    assert bench.names(text="leave") == ["Checkout: hesitates"]
    assert bench.ask().clips[0].poster is not None
    bench.assert_same_as_built_anew()


def test_facts_of_an_older_cuts_file_are_not_shown(bench: Bench) -> None:
    bench.archive.add(Session(0, [CHECKOUT]))
    cut_anew = {"storage_path": f"clips/{STUDY}/{Session(0, []).id}/{CHECKOUT.uuid}/1-2.mp4"}
    bench.archive.add(Session(0, [Clip(**{**vars(CHECKOUT), "extra": cut_anew})]), media=False)
    bench.refresh()

    assert bench.ask().clips[0].poster is None


def test_many_new_rows_make_a_new_index_while_the_old_one_answers(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.archive.add(Session(0, [CHECKOUT]))
    bench.refresh()
    first = bench.index.path
    monkeypatch.setattr(index_module, "REBUILD_ABOVE_ROWS", 1)
    bench.archive.add(Session(1, [PRICING, GONE]))
    with bench.index.reading() as before:
        bench.refresh()
        assert queries.search(before, Question()).total == 1

    assert bench.index.path != first
    assert bench.names() == ["Old one", "Pricing", "Checkout: hesitates"]
    assert len(list(bench.cache.rglob("*.sqlite"))) == 1


@pytest.mark.parametrize("damage", ["no database", "a page", "cut off", "emptied", "gone"])
def test_a_damaged_index_is_found_and_built_anew(bench: Bench, damage: str) -> None:
    clips = [Clip(f"hesitates {number}", start_ms=number) for number in range(60)]
    bench.archive.add(Session(0, clips), media=False, transcripts=False)
    bench.refresh()
    path = bench.index.path
    assert path is not None
    content = path.read_bytes()
    middle = len(content) // 2
    ruined = {
        "no database": b"not a database" * 1000,
        "a page": content[:4096] + os.urandom(len(content) - 4096),
        "cut off": content[:middle],
        "emptied": b"",
        "gone": None,
    }[damage]
    path.unlink() if ruined is None else path.write_bytes(ruined)

    assert not bench.index.check()
    with pytest.raises(IndexMissingError):
        bench.ask(text="hesitates")
    assert bench.refresh()
    assert bench.ask(text="hesitates").total == 60


def test_a_damage_that_shows_first_in_a_question_is_found_there(bench: Bench) -> None:
    bench.archive.add(Session(0, [CHECKOUT]))
    bench.refresh()
    assert bench.index.path is not None
    bench.index.path.write_bytes(b"not a database" * 1000)

    with pytest.raises(IndexMissingError, match="damaged"):
        bench.ask()
    assert bench.refresh()
    assert bench.names() == ["Checkout: hesitates"]


def test_a_wrong_question_is_no_damage(bench: Bench) -> None:
    bench.refresh()
    with pytest.raises(StorageError, match="unterminated"), bench.index.reading() as db:
        db.execute("select rowid from search where search match '\"'").fetchall()
    assert bench.index.path is not None


def test_another_schema_builds_an_index_of_its_own_and_removes_the_older(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.archive.add(Session(0, [CHECKOUT]))
    bench.refresh()
    monkeypatch.setattr(schema, "VERSION", schema.VERSION + 1)
    newer = Index(bench.cache, bench.archive.store.uri)
    assert newer.path is None

    newer.refresh(tables_of(bench.archive.store.uri), lambda _done, _total: None)
    assert newer.path is not None
    assert list(bench.cache.rglob("*.sqlite")) == [newer.path]


def test_of_two_galleries_one_writes_and_both_read(bench: Bench) -> None:
    bench.archive.add(Session(0, [CHECKOUT]))
    other = Index(bench.cache, bench.archive.store.uri)
    with FileLock(next(bench.cache.iterdir()) / ".lock"):
        assert not bench.refresh()
        assert bench.index.path is None
    assert bench.refresh()
    assert not other.refresh(tables_of(bench.archive.store.uri), lambda _done, _total: None)
    with other.reading() as db:
        assert queries.search(db, Question()).total == 1


def test_a_build_that_breaks_off_leaves_nothing_and_the_next_one_succeeds(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.archive.add(Session(0, [CHECKOUT]))
    with monkeypatch.context() as patched:
        patched.setattr(mirror, "_summarize", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            bench.refresh()
    assert bench.index.path is None
    assert not list(bench.cache.rglob("*.sqlite*"))
    assert bench.refresh()


def test_an_update_that_breaks_off_changes_nothing(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.archive.add(Session(0, [CHECKOUT]))
    bench.refresh()
    bench.archive.add(Session(1, [PRICING]))
    with monkeypatch.context() as patched:
        patched.setattr(mirror, "_summarize", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            bench.refresh()
    assert bench.names() == ["Checkout: hesitates"]

    assert bench.refresh()
    assert bench.names() == ["Pricing", "Checkout: hesitates"]
    bench.assert_same_as_built_anew()


def test_the_index_is_for_its_owner_alone(bench: Bench) -> None:
    bench.refresh()
    assert next(bench.cache.iterdir()).stat().st_mode & 0o777 == 0o700


def test_a_cache_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="--cache"):
        Index(tmp_path / "file" / "cache", "somewhere")


def test_rows_as_nothing_of_ours_writes_them_do_no_harm(bench: Bench) -> None:
    odd = Clip(None, None, None, extra={"study_uuid": None, "time_start_ms": None, "time_end_ms": None, "status": None})
    negative = Clip("Negative", start_ms=-5, extra={"session_started_at": None, "session_finished_at": None})
    nameless = Clip("no uuid", extra={"clip_uuid": None})
    bench.archive.add(Session(0, [odd, negative, nameless], OTHER_STUDY), media=False)
    bench.refresh()
    assert sorted(bench.names()) == ["", "Negative"]
