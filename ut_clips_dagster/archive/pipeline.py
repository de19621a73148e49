"""The archiving pipeline: sessions in, one result per session out, the moment it is finished.

Write order: clip bytes, verified -> session documents -> table rows -> (Dagster's event, by the caller). A reader of a
later one always finds the earlier. Any of it may be cut off at any time and done again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from datetime import datetime, timezone

import pandas as pd

from ut_clips_dagster.archive.documents import (
    ClipProblem,
    ClipState,
    Generation,
    ListedClip,
    SessionRecord,
    StoredClip,
    merge_listing,
)
from ut_clips_dagster.archive.download_threads import DownloadThreads
from ut_clips_dagster.archive.downloads import Downloader
from ut_clips_dagster.archive.poller import ClipGivenUp, ClipPoller, LinkIssued, SessionListed
from ut_clips_dagster.archive.progress import Progress, report
from ut_clips_dagster.archive.records import SessionRecords
from ut_clips_dagster.archive.rows import all_clip_metadata, clip_metadata, differing_sessions
from ut_clips_dagster.archive.run_watch import LOOK_EVERY_S, RunWatch
from ut_clips_dagster.archive.session_work import SessionResult, SessionWork, Steps
from ut_clips_dagster.errors import (
    ClipGenerationError,
    ClipNotReadyError,
    ClipsError,
    LinkExpiredError,
    NotFoundError,
    RunEndedError,
    StorageError,
    as_ours,
)
from ut_clips_dagster.results_api.models import ClipListing, now_utc
from ut_clips_dagster.storage.metadata_table import MetadataTable

PARALLEL_DOWNLOADS = 4
READ_AHEAD = 200
"""Sessions whose rows are compared with their documents by one read of the table."""
MAX_RELINKS = 2
"""New links asked for one clip in one run, when links expire before they are used."""


class ArchivePipeline:
    """Archives sessions: lists, generates, downloads, writes documents and rows.

    Args:
        poller: sends the API's requests, one at a time, in the order that wastes none.
        downloader: fetches a clip by its link into the store.
        records: the sessions' documents.
        table: the metadata table.
        clock: monotonic seconds.
        ended: says that somebody ended this run, or gave its sessions to another one; asked every few seconds, before
            requests, writes and reports. None: nobody can.
    """

    def __init__(  # noqa: PLR0913 - one seam per thing a test replaces
        self,
        poller: ClipPoller,
        downloader: Downloader,
        records: SessionRecords,
        table: MetadataTable,
        *,
        clock: Callable[[], float] = time.monotonic,
        ended: Callable[[], bool] | None = None,
    ) -> None:
        self._poller = poller
        self._downloader = downloader
        self._records = records
        self._table = table
        self._clock = clock
        self._progress = Progress()
        self._work: dict[str, SessionWork] = {}
        self._downloads: dict[Future[StoredClip], LinkIssued] = {}
        self._watch = RunWatch(ended, clock) if ended else None
        if self._watch:
            poller.sleep_by(self._watch.sleeping)

    def run(
        self, session_ids: Iterable[str], steps: Steps, stop_starting_at: float | None = None
    ) -> Iterator[SessionResult]:
        """Archive sessions, and yield each one's result as soon as it is finished.

        Sessions that were complete already are yielded first, from their documents, before any request; when their
        listing is read anew they are yielded a second time.

        Args:
            session_ids: canonical UUIDs.
            steps: what to do for each.
            stop_starting_at: time of `clock` from which on no further session is begun.

        Raises:
            RunEndedError: `ended` said so. Downloads are abandoned; what is stored is kept, and nothing more reported.
        """
        for result in self._results(list(session_ids), steps, stop_starting_at):
            self._check()
            yield result

    def _results(self, session_ids: list[str], steps: Steps, stop_starting_at: float | None) -> Iterator[SessionResult]:
        self._progress.sessions = len(session_ids)
        for start in range(0, len(session_ids), READ_AHEAD):
            yield from self._begin(session_ids[start : start + READ_AHEAD], steps)
        threads = DownloadThreads(PARALLEL_DOWNLOADS)
        try:
            yield from self._loop(threads, stop_starting_at)
        except BaseException:  # a signal, or the run was ended: nobody waits for a media host
            for download in self._downloads:
                download.cancel()
            self._downloader.abandon()
            raise
        finally:
            threads.close()
        self._table.compact()

    def _guarded(self, session_id: str, handling: Iterator[SessionResult]) -> Iterator[SessionResult]:
        """What happens to one session costs that session, not the batch: an unforeseen exception becomes its result."""
        try:
            yield from handling
        except RunEndedError:
            raise
        except Exception as error:  # noqa: BLE001 - reported with its type and place, as the session's own error
            self._poller.scheduler.drop_session(session_id)
            self._work.pop(session_id, None)
            cause = as_ours(error)
            yield _nothing_done(session_id, f"Session {session_id}: {cause}", cause)

    def _check(self) -> None:
        if self._watch:
            self._watch.check()

    def _begin(self, session_ids: list[str], steps: Steps) -> Iterator[SessionResult]:
        for session_id in session_ids:
            yield from self._guarded(session_id, self._read(session_id, steps))
        begun = [self._work[session_id] for session_id in session_ids if session_id in self._work]
        yield from self._complete_before([work for work in begun if work.record.is_complete])
        for work in begun:
            yield from self._guarded(work.session_id, self._start(work))

    def _read(self, session_id: str, steps: Steps) -> Iterator[SessionResult]:
        try:
            self._work[session_id] = SessionWork(session_id, self._records.read(session_id), self._clock(), steps)
        except StorageError as error:
            yield _nothing_done(session_id, str(error), error)

    def _start(self, work: SessionWork) -> Iterator[SessionResult]:
        if not work.steps.request:
            if work.record.clip_list is None:
                work.add_error(
                    f"Session {work.session_id}: nothing is stored yet, so there are no rows to rebuild. "
                    "Materialize clip_list first.",
                    costs_a_try=False,
                )
            yield from self._finish(work)
        elif work.steps.relist or work.record.clip_list is None:
            self._poller.scheduler.add_session(work.session_id)
        else:
            yield from self._request_clips(work)

    def _complete_before(self, complete: list[SessionWork]) -> Iterator[SessionResult]:
        """Report what is complete already, after making sure that its rows are there, too."""
        if not complete:
            return
        try:
            known = self._table.read([work.session_id for work in complete])
            expected = all_clip_metadata(work.record for work in complete)
            cut_off = differing_sessions(expected, known)  # by a kill between documents and rows; _finish writes them
        except Exception:  # noqa: BLE001 - each is reported when its rows are written, or with the error of that
            return
        numbers = expected["session_id"].value_counts()
        for work in complete:
            if work.session_id not in cut_off:
                rows = int(numbers.get(work.session_id, 0))
                yield SessionResult(work.session_id, work.record, rows, None, from_documents=True)

    def _loop(self, threads: DownloadThreads, stop_starting_at: float | None) -> Iterator[SessionResult]:
        while True:
            yield from self._collect_downloads()
            if stop_starting_at is not None and self._clock() >= stop_starting_at:
                yield from self._leave_rest()
            self._check()  # last before the request: whoever takes a result may have had it for long
            outcome = self._poller.step()
            self._check()  # a request may have waited long
            self._progress.requests = self._poller.requests_sent
            if outcome is None:
                if not self._downloads:
                    return
                wait(self._downloads, LOOK_EVERY_S, return_when=FIRST_COMPLETED)
            elif isinstance(outcome, float):
                self._wait(outcome)
            elif isinstance(outcome, SessionListed):
                yield from self._guarded(outcome.session_id, self._listed(outcome))
            elif isinstance(outcome, LinkIssued):
                yield from self._guarded(outcome.session_id, self._link_issued(outcome, threads))
            else:
                yield from self._guarded(outcome.session_id, self._given_up(outcome))

    def _wait(self, seconds: float) -> None:
        if seconds <= 0:
            return
        self._progress.waiting_s = seconds
        report(self._progress)
        if self._downloads:
            wait(self._downloads, min(seconds, LOOK_EVERY_S), return_when=FIRST_COMPLETED)
        else:
            self._poller.sleep(seconds)
        self._progress.waiting_s = 0.0

    def _listed(self, event: SessionListed) -> Iterator[SessionResult]:
        work = self._work[event.session_id]
        work.requests += 1
        session_id, answer, at = event.session_id, event.answer, now_utc()
        known = work.record.session
        has_video = not isinstance(answer, NotFoundError)
        if isinstance(answer, NotFoundError) and known:
            # UserTesting listed this session itself, so 404 means that it has no video (or no longer): zero clips
            answer = ClipListing(study_uuid=known.test_id, clips=())
        if isinstance(answer, NotFoundError):
            work.add_error(
                f"Session {session_id}: {answer} The partition was added by hand, not found by the sensor: "
                "check the ID, or delete the partition.",
                costs_a_try=answer.costs_a_try,
            )
        elif isinstance(answer, ClipsError):
            work.add_error(f"Session {session_id}: {answer}", costs_a_try=answer.costs_a_try)
        else:
            listing, was_complete = answer, work.record.is_complete
            try:
                self._records.write_listing(
                    session_id,
                    lambda before: merge_listing(
                        before,
                        session_id,
                        listing.study_uuid,
                        listing.clips,
                        at,
                        malformed=listing.malformed,
                        has_video=has_video,
                    ),
                )
                work.record = self._records.read(session_id)
                if was_complete and work.record.missing:
                    # Dagster shows it as done: the rows say at once that it is not, should this run be killed
                    self._write_rows(work)
            except StorageError as error:
                work.add_error(f"Session {session_id}: {error}", costs_a_try=error.costs_a_try)
        if work.errors:
            yield from self._finish(work)
        else:
            yield from self._request_clips(work)

    def _request_clips(self, work: SessionWork) -> Iterator[SessionResult]:
        missing = work.record.missing
        self._progress.clips += len(missing)
        if work.steps.generate:
            work.tried = True
            work.open_clips = {clip.clip_uuid for clip in missing}
            for clip in missing:
                self._poller.scheduler.add_clip(work.session_id, clip)
        if not work.open_clips:
            yield from self._finish(work)

    def _link_issued(self, link: LinkIssued, threads: DownloadThreads) -> Iterator[SessionResult]:
        work = self._work[link.session_id]
        work.requests += 1 if link.clip.clip_uuid in work.relinks else link.attempts
        try:
            self._records.add_generation(link.session_id, _generation(link, link.issued_at))
        except StorageError as error:
            yield from self._problem(work, link.clip, "MISSING", str(error), error)
            return
        if work.steps.download and work.record.clip_list:
            taken = work.record.clip_files.paths_of(link.clip.clip_uuid)
            future = threads.submit(self._download, link, work.record.clip_list.study_uuid, taken)
            self._downloads[future] = link
        else:
            yield from self._clip_done(work, link.clip)

    def _download(self, link: LinkIssued, study_uuid: str, taken: frozenset[str]) -> StoredClip:
        """In a thread: store a clip and record it at once, so that a kill repeats the downloads in flight, no more."""
        self._check()
        stored = self._downloader.store(study_uuid, link.session_id, link.clip, link.url, taken)
        self._records.add_file(link.session_id, stored)
        return stored

    def _given_up(self, event: ClipGivenUp) -> Iterator[SessionResult]:
        work = self._work[event.session_id]
        work.requests += event.attempts
        status: ClipState = "MISSING"
        if isinstance(event.error, ClipNotReadyError):
            status = "GENERATING"
        elif isinstance(event.error, ClipGenerationError):
            status = "ERROR"
        message = str(event.error)
        try:
            self._records.add_generation(event.session_id, _generation(event, None))
        except StorageError as error:
            message = f"{message} {error}"
        yield from self._problem(work, event.clip, status, message, event.error)

    def _collect_downloads(self) -> Iterator[SessionResult]:
        for future in [f for f in self._downloads if f.done()]:
            link = self._downloads.pop(future)
            if work := self._work.get(link.session_id):  # else it was given up by an unforeseen exception
                yield from self._guarded(link.session_id, self._downloaded(work, link, future))
        report(self._progress)

    def _downloaded(self, work: SessionWork, link: LinkIssued, future: Future[StoredClip]) -> Iterator[SessionResult]:
        try:
            stored = future.result()
        except LinkExpiredError as error:
            work.relinks[link.clip.clip_uuid] = asked = work.relinks.get(link.clip.clip_uuid, 0) + 1
            if asked <= MAX_RELINKS:
                self._poller.scheduler.add_relink(link.work)
            else:
                message = f"{error} So did {MAX_RELINKS} new links."
                yield from self._problem(work, link.clip, "MISSING", message, error)
        except ClipsError as error:
            yield from self._problem(work, link.clip, "MISSING", str(error), error)
        else:
            work.clips_stored += 1
            work.bytes_stored += stored.size_bytes
            self._progress.clips_stored += 1
            self._progress.bytes_stored += stored.size_bytes
            yield from self._clip_done(work, link.clip)

    def _problem(
        self, work: SessionWork, clip: ListedClip, status: ClipState, message: str, cause: ClipsError
    ) -> Iterator[SessionResult]:
        problem = ClipProblem(clip_uuid=clip.clip_uuid, status=status, error=message, at=now_utc())
        work.add_problem(problem, costs_a_try=cause.costs_a_try)
        yield from self._clip_done(work, clip)

    def _clip_done(self, work: SessionWork, clip: ListedClip) -> Iterator[SessionResult]:
        work.open_clips.discard(clip.clip_uuid)
        if not work.open_clips:
            yield from self._finish(work)

    def _leave_rest(self) -> Iterator[SessionResult]:
        for session_id in self._poller.scheduler.drop_unlisted():
            work = self._work[session_id]
            work.add_error(
                f"Session {session_id}: not begun, as the run's time is used up. It is tried again by the sensors.",
                costs_a_try=False,
            )
            yield from self._guarded(session_id, self._finish(work))

    def _finish(self, work: SessionWork) -> Iterator[SessionResult]:
        """Write what is known of a session, whatever the outcome, and report it."""
        self._check()
        session_id, rows = work.session_id, None
        try:
            if work.tried and (work.problems or work.record.clip_files.problems):
                self._records.set_problems(session_id, tuple(work.problems))
            work.record = self._records.read(session_id)
            work.listed = work.record.clip_list is not None and not work.errors
            if work.record.clip_list is not None:
                rows = self._write_rows(work)
        except StorageError as error:
            work.add_error(f"Session {session_id}: {error}", costs_a_try=error.costs_a_try)
        del self._work[session_id]
        if work.steps.download and not work.errors and not work.problems and work.record.missing:
            told = f"Session {session_id}: another run found more clips meanwhile, and stores them."
            work.add_error(told, costs_a_try=False)
        result = work.result(self._clock() - work.begun_at, rows)
        self._progress.sessions_done += 1
        self._progress.sessions_unfinished += result.error is not None
        report(self._progress)
        yield result

    def _write_rows(self, work: SessionWork) -> int:
        """Rows of what the documents say when they are committed: another run may change them at the same time."""

        def rows() -> pd.DataFrame:
            work.record = self._records.read(work.session_id)
            return clip_metadata(work.record)

        self._table.replace(work.session_id, rows)
        return sum(len(listing.clips) for listing in [work.record.clip_list] if listing)


def _nothing_done(session_id: str, told: str, cause: ClipsError) -> SessionResult:
    record = SessionRecord.empty(session_id)
    return SessionResult(session_id, record, 0, told, costs_a_try=cause.costs_a_try, listed=False, rows_written=False)


def _generation(event: LinkIssued | ClipGivenUp, issued_at: datetime | None) -> Generation:
    return Generation(
        clip_uuid=event.clip.clip_uuid,
        cut=event.clip.cut,
        attempts=event.attempts,
        waited_s=event.waited_s,
        issued_at=issued_at.astimezone(timezone.utc) if issued_at else None,
        expires_at=event.expires_at if isinstance(event, LinkIssued) else None,
    )
