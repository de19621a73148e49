"""A file that kills, hangs or confuses the worker costs that file's facts, and nothing else."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from ut_clips_dagster.errors import MediaError, StorageError
from ut_clips_dagster.media.facts import Looked
from ut_clips_dagster.media.prober import Prober
from ut_clips_dagster_tests.media import bad_worker
from ut_clips_dagster_tests.media.files import media


@pytest.fixture
def prober() -> Iterator[Prober]:
    with Prober(module=bad_worker.__name__, limit_s=3) as prober:
        yield prober


def look(prober: Prober, data: bytes) -> Looked:
    return prober.look(len(data), lambda start, length: data[start : start + length])


def test_a_file_that_kills_the_worker_is_told_and_the_next_one_has_its_facts(prober: Prober) -> None:
    for order, why in ((bad_worker.SEGFAULT, "SIGSEGV"), (bad_worker.QUIT, "exit code 3")):
        assert look(prober, order).facts.failure == f"ends the program that looks at it ({why})"
        after = look(prober, b"good")
        assert (after.facts.failure, after.facts.width, after.poster) == (None, 4, b"good")
    assert prober.deaths == 4  # each was asked twice: a machine may have been short of memory for a moment


def test_a_worker_that_talks_nonsense_is_ended_and_replaced(prober: Prober) -> None:
    assert "ends the program" in (look(prober, bad_worker.NONSENSE).facts.failure or "")
    assert look(prober, b"good").poster == b"good"


def test_a_file_that_takes_too_long_is_given_up(prober: Prober) -> None:
    assert look(prober, b"good").poster == b"good"
    prober._limit_s = 0.2  # the worker has its own alarm, too; this is the parent's
    assert look(prober, bad_worker.HANG).facts.failure == "takes longer than 0 s to be looked at"
    prober._limit_s = 3
    assert look(prober, b"good").poster == b"good"


def test_the_workers_own_alarm_ends_it_should_the_parent_be_gone(prober: Prober) -> None:
    prober._limit_s = 0.5
    worker = prober._started()  # its alarm: 1 s
    prober._limit_s = 3
    assert "takes longer than" in (look(prober, bad_worker.HANG).facts.failure or "")
    assert worker.process.returncode == -14


def test_memory_is_limited(prober: Prober) -> None:
    assert look(prober, bad_worker.HUNGRY).facts.failure == "was refused the memory"


def test_a_store_that_fails_is_no_fact_of_the_file(prober: Prober) -> None:
    def fails(start: int, length: int) -> bytes:
        raise StorageError(f"no {length} bytes at {start}")

    with pytest.raises(StorageError, match="no 100 bytes at 0"):
        prober.look(100, fails)
    assert look(prober, b"good").poster == b"good"
    assert prober.deaths == 0


def test_the_worker_ends_with_the_block() -> None:
    with Prober() as prober:
        look(prober, media("h264"))
        process = prober._started().process
        assert process.poll() is None
    assert process.poll() is not None
    gc.collect()  # a pipe left open would warn


def test_a_worker_that_does_not_start_says_nothing_of_the_file() -> None:
    with Prober(module="ut_clips_dagster_tests.media.no_such_module") as prober:
        for _ in range(2):
            with pytest.raises(MediaError, match="does not start: nothing was looked at"):
                look(prober, b"good")


def test_a_worker_that_is_killed_once_is_no_fact_of_the_file(prober: Prober) -> None:
    assert look(prober, b"good").poster == b"good"
    prober._started().process.kill()
    assert look(prober, b"good").poster == b"good"
    assert prober.deaths == 1


def test_the_worker_inherits_no_secret(prober: Prober, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USERTESTING_CLIENT_SECRET", "secret")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    names = set((look(prober, bad_worker.ENVIRONMENT).facts.failure or "").split())
    assert "PATH" in names
    assert not {name for name in names if "SECRET" in name or name.startswith(("USERTESTING", "AWS", "UT_CLIPS"))}
