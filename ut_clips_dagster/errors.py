"""The one exception tree of this package.

Every message says what failed, for which session or clip, and what to do next; none holds a secret, a token or a
signed link.

    ClipsError
    ├── SettingsError             a setting is missing or malformed
    ├── ResultsApiError           the Results API did not give what was asked
    │   ├── AuthenticationError   401, or the token endpoint refused the client
    │   ├── ForbiddenError        403
    │   ├── BadRequestError       400
    │   ├── NotFoundError         404
    │   ├── BudgetExhaustedError  no request left in the budget within the time allowed
    │   ├── ApiUnavailableError   5xx or transport errors, still there after the last retry
    │   ├── InvalidAnswerError    an answer that is not what the API's document says
    │   └── TranscriptTooLargeError  a transcript larger than is read
    ├── ClipNotReadyError         polls used up while the clip was still generating
    ├── ClipGenerationError       the API said ERROR after the last attempt
    ├── MediaError                the clip's bytes could not be had
    │   ├── LinkExpiredError      the media host says that the link is dead: ask for a new one
    │   ├── LinkRefusedError      a link to a place we do not follow
    │   ├── MediaUnavailableError transport errors, 5xx, short bodies: worth another try
    │   └── NotAClipError         what came is no video, is empty, or is larger than allowed
    ├── UnexpectedError           an exception that nobody foresaw, while one session was handled
    ├── RunEndedError             somebody ended the run: it stops, and reports nothing more
    ├── WarehouseError            BigQuery did not do what was asked; what it had before, it has
    └── StorageError              the archive could not be read or written
        ├── DamagedDocumentError  a session's document is not what was written
        ├── StorageConflictError  the name is taken by other bytes
        └── TableConflictError    other writers kept winning the metadata table's commit
"""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import ClassVar

from ut_clips_dagster.plain_text import visible

PACKAGE = Path(__file__).parent


class ClipsError(Exception):
    """Base of every error this package raises on purpose; its text is safe to show in a log and at a terminal."""

    costs_a_try: ClassVar[bool] = True
    """Whether a session that it befell has used up one of its retries: something is wrong with the session itself.

    False for what lies between us and it: network, credentials, budget, disk. Then nothing is known of the session.
    """

    def __str__(self) -> str:
        return visible(super().__str__())


class SettingsError(ClipsError):
    """One or more settings are missing or malformed; the message names every one of them."""


class ResultsApiError(ClipsError):
    """The Results API did not give what was asked."""


class AuthenticationError(ResultsApiError):
    """The API or the token endpoint refused the credentials."""

    costs_a_try = False


class ForbiddenError(ResultsApiError):
    """The credentials are valid, but may not read this."""

    costs_a_try = False


class BadRequestError(ResultsApiError):
    """The API refused the request's parameters."""


class NotFoundError(ResultsApiError):
    """The API does not know this test, session or clip."""


class BudgetExhaustedError(ResultsApiError):
    """The account's request budget stayed used up for longer than we wait."""

    costs_a_try = False


class ApiUnavailableError(ResultsApiError):
    """Server or transport errors that were still there after the last retry."""

    costs_a_try = False


class InvalidAnswerError(ResultsApiError):
    """The API answered, but not with what its document says."""


class TranscriptTooLargeError(ResultsApiError):
    """A transcript larger than any that is read; asking again would not make it smaller."""


class ClipNotReadyError(ClipsError):
    """The clip was still generating when its polls were used up."""


class ClipGenerationError(ClipsError):
    """The API answered ERROR after the last generation attempt."""


class MediaError(ClipsError):
    """A clip's bytes could not be had."""


class LinkExpiredError(MediaError):
    """The media host no longer takes the link: after 15 minutes, or before; ask for a new one."""


class LinkRefusedError(MediaError):
    """The link, or a redirect of it, leads to a place that is not followed."""


class MediaUnavailableError(MediaError):
    """A passing failure of the media host: worth another try."""

    costs_a_try = False


class NotAClipError(MediaError):
    """What came is not a video, is empty, or is larger than allowed."""


class UnexpectedError(ClipsError):
    """An exception that nobody foresaw: it costs the session that it befell, and is told with its type and place."""


class RunEndedError(ClipsError):
    """The run was ended elsewhere; it must send, write and report nothing more."""

    costs_a_try = False


class WarehouseError(ClipsError):
    """BigQuery did not do what was asked; nothing there was changed by half."""


class StorageError(ClipsError):
    """The archive could not be read or written: full, not mounted, not permitted."""

    costs_a_try = False


class DamagedDocumentError(StorageError):
    """A session's document is not what was written; `ut-clips repair` mends it."""

    costs_a_try = True


class StorageConflictError(StorageError):
    """The object's name is taken by other bytes; nothing was overwritten."""

    costs_a_try = True


class TableConflictError(StorageError):
    """The metadata table's commit lost against other writers more often than is retried."""


def as_ours(error: Exception) -> ClipsError:
    """The error itself where it is ours; else one that tells its type and place.

    Its own text is not told: it may hold anything, a signed link, too.
    """
    if isinstance(error, ClipsError):
        return error
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if PACKAGE in Path(frame.filename).parents] or frames
    place = f" in {Path(ours[-1].filename).name}, line {ours[-1].lineno}" if ours else ""
    return UnexpectedError(
        f"It ended in an unexpected {type(error).__name__}{place}. What is stored is kept, and it is tried again by "
        "the sensors; if this stays, report it as a defect."
    )
