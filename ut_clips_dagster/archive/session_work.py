"""What is asked of the pipeline for a session, what it holds of it while it is on its way, and what it reports."""

from __future__ import annotations

from dataclasses import dataclass, field

from ut_clips_dagster.archive.documents import ClipProblem, SessionRecord


@dataclass(frozen=True)
class Steps:
    """What is to be done for each session."""

    relist: bool = True
    """List the session anew; else only where no listing is stored."""
    generate: bool = True
    """Poll what is not stored to GENERATED."""
    download: bool = True
    """Store what is missing; implies `generate`."""
    request: bool = True
    """False: send no request at all, only rebuild rows from what is stored."""


@dataclass(frozen=True)
class SessionResult:
    """What became of one session in this run."""

    session_id: str
    record: SessionRecord
    rows: int
    error: str | None
    """Why the session is unfinished: every problem of it, in full sentences. None when all was done."""
    costs_a_try: bool = True
    """Any of it is wrong with the session itself, see `ClipsError.costs_a_try`."""
    from_documents: bool = False
    """It was complete before the run: nothing was asked or stored for it yet."""
    clips_stored: int = 0
    bytes_stored: int = 0
    requests: int = 0
    took_s: float = 0.0
    listed: bool = True
    """A listing is there."""
    rows_written: bool = True


@dataclass
class SessionWork:
    """A session on its way."""

    session_id: str
    record: SessionRecord
    begun_at: float
    steps: Steps
    open_clips: set[str] = field(default_factory=set)
    problems: list[ClipProblem] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    costs_a_try: bool = False
    """One of the problems and errors does."""
    listed: bool = False
    requests: int = 0
    clips_stored: int = 0
    bytes_stored: int = 0
    relinks: dict[str, int] = field(default_factory=dict)
    tried: bool = False
    """Its missing clips were asked for in this run: what is known of them is newer than what the documents say."""

    def add_error(self, told: str, *, costs_a_try: bool) -> None:
        """What keeps the whole session from being finished, in full sentences."""
        self.errors.append(told)
        self.costs_a_try |= costs_a_try

    def add_problem(self, problem: ClipProblem, *, costs_a_try: bool) -> None:
        """What keeps one clip from being stored."""
        self.problems.append(problem)
        self.costs_a_try |= costs_a_try

    def result(self, took_s: float, rows: int | None) -> SessionResult:
        """What is to be reported of it.

        Args:
            took_s: seconds since it was begun.
            rows: rows written; None when they could not be.
        """
        errors = self.errors + [f"Clip {p.clip_uuid}: {p.status}: {p.error}" for p in self.problems]
        malformed = self.record.clip_list.malformed if self.steps.request and self.record.clip_list else ()
        errors += [f"Clip {m.uuid or 'of unknown ID'}: {m.reason}" for m in malformed]
        return SessionResult(
            self.session_id,
            self.record,
            rows or 0,
            "\n".join(errors) or None,
            costs_a_try=self.costs_a_try or bool(malformed and not self.errors),  # else it may not be listed anew
            clips_stored=self.clips_stored,
            bytes_stored=self.bytes_stored,
            requests=self.requests,
            took_s=round(took_s, 3),
            listed=self.listed,
            rows_written=rows is not None,
        )
