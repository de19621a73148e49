"""The fault matrix: every failure of the API, the network, the media host and the archive that is known of."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from .row import FAULTLESS, GcsFault, Route, Row

NOTHING_LISTED: Final = 4
"""Requests when A's list is refused at once: that one, and B's three."""
ONE_REFUSED: Final = 7
"""Requests when A's first clip is refused at once."""
RETRIES: Final = 4
LIST: Final = "operation=list_clips,session_id={a}"
CLIP: Final = "operation=get_clip,clip_uuid={a1}"
MEDIA: Final = "operation=media,clip_uuid={a1}"
TOKEN: Final = "operation=token"
NONE: Final = None
ONE_MISSING: Final = ("MISSING", "STORED")
BOTH_MISSING: Final = ("MISSING", "MISSING")


def _lost_list(name: str, fault: str, message: str, requests: int) -> Row:
    return Row(f"list: {name}", (f"{fault}:{LIST}",), kept=0, rows=None, message=message, requests=requests)


def _lost_clip(name: str, fault: str, message: str, requests: int) -> Row:
    return Row(f"clip: {name}", (f"{fault}:{CLIP}",), kept=1, rows=ONE_MISSING, message=message, requests=requests)


def _passing(what: str, name: str, fault: str, more: int) -> Row:
    selector = {"list": LIST, "clip": CLIP, "media": MEDIA, "token": TOKEN}[what]
    separator = "," if ":" in fault else ":"
    return Row(f"{what}: {name}", (f"{fault}{separator}{selector}",), requests=FAULTLESS + more)


def _lost_media(name: str, fault: str, message: str, requests: int = FAULTLESS) -> Row:
    separator = "," if ":" in fault else ":"
    faults = (f"{fault}{separator}{MEDIA}",)
    return Row(f"media: {name}", faults, kept=1, rows=ONE_MISSING, message=message, requests=requests)


def _no_token(name: str, fault: str, message: str) -> Row:
    faults = (f"{fault}:{TOKEN}",) if fault else ()
    return Row(f"token: {name}", faults, kept=0, rows=None, message=message, requests=0, other="fails alike")


_LISTS = (
    _lost_list("400", "bad_request", "check that the ID is a UUID", NOTHING_LISTED),
    _passing("list", "401 once", "unauthorized:count=1", 1),
    _lost_list("401 for ever", "unauthorized", "The token was refused twice", NOTHING_LISTED + 1),
    _lost_list("403", "forbidden", "ask for access to its workspace", NOTHING_LISTED),
    Row("list: 404 of a session that UserTesting listed", (f"not_found:{LIST}",), kept=0, rows=(), requests=4),
    Row("list: 404 of a product without video", special="no_video", kept=0, rows=(), requests=NOTHING_LISTED),
    Row(
        "list: 404 of a session added by hand",
        (f"not_found:{LIST}",),
        special="hand_added",
        kept=0,
        rows=None,
        message="added by hand",
        requests=NOTHING_LISTED,
    ),
    _passing("list", "429 once", "rate_limited:count=1", 1),
    _passing("list", "429 without headers", "rate_limited_no_headers:count=1", 1),
    _passing("list", "429 with Retry-After", "rate_limited_no_headers:count=1,retry_after_s=7", 1),
    _passing("list", "429 ten times", "rate_limited_no_headers:count=10", 10),
    Row(
        "list: 429 for ever",
        (f"rate_limited_no_headers:{LIST}",),
        kept=0,
        rows=None,
        message="request budget",
        requests=3 + 15,
        within=2,
    ),
    _passing("list", "500 once", "server_error:count=1", 1),
    _passing("list", "503 four times", f"server_error:status=503,count={RETRIES}", RETRIES),
    _lost_list("500 for ever", "server_error", "answered 500", NOTHING_LISTED + RETRIES),
    _passing("list", "malformed JSON once", "malformed_json:count=1", 1),
    _lost_list("malformed JSON", "malformed_json", "is not what its document says", NOTHING_LISTED + RETRIES),
    _passing("list", "truncated JSON once", "truncated_json:count=1", 1),
    _lost_list("truncated JSON", "truncated_json", "is not what its document says", NOTHING_LISTED + RETRIES),
    _passing("list", "HTML page once", "html:count=1", 1),
    _lost_list("HTML page with status 200", "html", "is not what its document says", NOTHING_LISTED + RETRIES),
    _passing("list", "unknown fields", "unknown_fields", 0),
    _passing("list", "reset once", "reset:count=1", 1),
    _lost_list("reset for ever", "reset", "cannot be reached", NOTHING_LISTED + RETRIES),
    _passing("list", "stalled once", "stall:count=1", 1),
    _lost_list("stalled for ever", "stall", "ReadTimeout", NOTHING_LISTED + RETRIES),
)

_ROUTES = (
    Row("API: connection refused twice", route=Route("refused", "api", 2), requests=FAULTLESS + 2),
    Row(
        "API: connection refused for ever",
        route=Route("refused", "api"),
        kept=0,
        rows=None,
        message="ConnectError",
        requests=NOTHING_LISTED + RETRIES,
    ),
    Row("API: DNS failure twice", route=Route("unresolvable", "api", 2), requests=FAULTLESS + 2),
    Row(
        "API: DNS failure for ever",
        route=Route("unresolvable", "api"),
        kept=0,
        rows=None,
        message="cannot be reached",
        requests=NOTHING_LISTED + RETRIES,
    ),
    Row(
        "media: connection refused",
        route=Route("refused", "media"),
        kept=0,
        rows=BOTH_MISSING,
        message="NewConnectionError",
    ),
    Row(
        "media: DNS failure",
        route=Route("unresolvable", "media"),
        kept=0,
        rows=BOTH_MISSING,
        message="NameResolutionError",
    ),
    Row(
        "media: link without TLS to another machine",
        route=Route("plain_http", "media"),
        kept=0,
        rows=BOTH_MISSING,
        message="is not https",
    ),
    Row(
        "token: connection refused",
        route=Route("refused", "token"),
        kept=0,
        rows=None,
        message="cannot be reached (ConnectError)",
        requests=0,
        other="fails alike",
    ),
    Row(
        "token: DNS failure",
        route=Route("unresolvable", "token"),
        kept=0,
        rows=None,
        message="cannot be reached (ConnectError)",
        requests=0,
        other="fails alike",
    ),
)

_CLIPS = (
    _lost_clip("400", "bad_request", "400 for clip", ONE_REFUSED),
    _passing("clip", "401 once", "unauthorized:count=1", 1),
    _passing("clip", "401 at the pick-up", "unauthorized:skip=1,count=1", 1),
    _lost_clip("401 for ever", "unauthorized", "The token was refused twice", ONE_REFUSED + 1),
    _lost_clip("403", "forbidden", "403 for clip", ONE_REFUSED),
    _lost_clip("404, deleted after the listing", "not_found", "404 for clip", ONE_REFUSED),
    _passing("clip", "429 once", "rate_limited:count=1", 1),
    _passing("clip", "429 without headers", "rate_limited_no_headers:count=1", 1),
    _passing("clip", "429 five times", "rate_limited_no_headers:count=5", 5),
    _passing("clip", "500 once", "server_error:count=1", 1),
    _passing("clip", "503 four times", f"server_error:status=503,count={RETRIES}", RETRIES),
    _lost_clip("500 for ever", "server_error", "answered 500", ONE_REFUSED + RETRIES),
    _lost_clip("malformed JSON", "malformed_json", "is not what its document says", ONE_REFUSED + RETRIES),
    _lost_clip("truncated JSON", "truncated_json", "is not what its document says", ONE_REFUSED + RETRIES),
    _lost_clip("HTML page with status 200", "html", "is not what its document says", ONE_REFUSED + RETRIES),
    _passing("clip", "unknown fields", "unknown_fields", 0),
    _passing("clip", "unknown status once", "unknown_status:count=1", 1),
    _lost_clip("unknown status", "unknown_status", "status", ONE_REFUSED + RETRIES),
    _passing("clip", "reset once", "reset:count=1", 1),
    _lost_clip("reset for ever", "reset", "cannot be reached", ONE_REFUSED + RETRIES),
    _passing("clip", "stalled once", "stall:count=1", 1),
    _lost_clip("stalled for ever", "stall", "ReadTimeout", ONE_REFUSED + RETRIES),
    _passing("clip", "ERROR once", "clip_error:count=1", 2),
    Row(
        "clip: ERROR for ever",
        (f"clip_error:{CLIP}",),
        kept=1,
        rows=("ERROR", "STORED"),
        message="answered ERROR after attempt 3 of 3",
        requests=FAULTLESS + 4,
    ),
    Row(
        "clip: never ready",
        (f"never_ready:{CLIP}",),
        kept=1,
        rows=("GENERATING", "STORED"),
        message="still GENERATING after 10 requests",
        requests=FAULTLESS + 8,
    ),
    _passing("clip", "link expired once", "expired_link:count=1", 1),
    Row(
        "clip: link always expired",
        (f"expired_link:{CLIP}",),
        kept=1,
        rows=ONE_MISSING,
        message="the link has expired. So did 2 new links",
        requests=FAULTLESS + 2,
    ),
)

_MEDIA = (
    _passing("media", "403 once", "forbidden:count=1", 1),
    _lost_media("403 for ever", "forbidden", "the link has expired", FAULTLESS + 2),
    _lost_media("404", "not_found", "answered 404 instead of the clip"),
    _passing("media", "429 once", "rate_limited:count=1", 0),
    _passing("media", "500 once", "server_error:count=1", 0),
    _passing("media", "503 four times", f"server_error:status=503,count={RETRIES}", 0),
    _lost_media("500 for ever", "server_error", "The media host answered 500"),
    _passing("media", "reset once", "reset:count=1", 0),
    _lost_media("reset for ever", "reset", "broke off before its end"),
    _passing("media", "stalled once", "stall:count=1", 0),
    _lost_media("stalled for ever", "stall", "ReadTimeoutError"),
    _passing("media", "short body once", "short_body:count=1", 0),
    _lost_media("short body for ever", "short_body", "broke off before its end"),
    _passing("media", "chunked body", "chunked_body", 0),
    _passing("media", "chunked body cut once", "chunked_cut:count=1", 0),
    _lost_media("chunked body cut for ever", "chunked_cut", "broke off before its end"),
    _lost_media("body that never ends", "endless_body", "larger than 1048576 bytes"),
    _lost_media("empty body", "empty_body", "empty body"),
    _lost_media("HTML page with status 200", "html", "sent text/html instead of a video"),
    _lost_media("wrong content type", "wrong_content_type", "sent text/html instead of a video"),
    _lost_media("JSON behind a byte order mark", "json_as_video", "sent a page of text (JSON) instead of a video"),
    _lost_media("HTML behind a byte order mark", "html_as_video", "sent a page of text (HTML) instead of a video"),
    _lost_media("picture called a video", "picture_as_video", "sent a PNG picture instead of a video"),
    _lost_media("gzip under aws-chunked,gzip", "compressed", "sent the clip compressed"),
    _passing("media", "aws-chunked among the encodings", "aws_chunked", 0),
    _passing("media", "400 ExpiredToken once", "expired_token:count=1", 1),
    _lost_media("400 ExpiredToken for ever", "expired_token", "the link has expired. So did 2 new", FAULTLESS + 2),
    _passing("media", "410 once", "gone:count=1", 1),
    _passing("media", "slow body", "slow_body:delay_s=0.01", 0),
    _passing("media", "redirect", "redirect", 0),
    _lost_media("redirect to the cloud's metadata service", "redirect_private", "is not https"),
)

_TOKENS = (
    _passing("token", "500 once", "server_error:count=1", 0),
    _passing("token", "503 four times", f"server_error:status=503,count={RETRIES}", 0),
    _no_token("500 for ever", "server_error", "The token endpoint"),
    _passing("token", "429 once", "rate_limited:count=1", 0),
    _passing("token", "reset once", "reset:count=1", 0),
    _passing("token", "stalled once", "stall:count=1", 0),
    _no_token("HTML page with status 200", "html", "its answer is no token"),
    _no_token("malformed JSON", "malformed_json", "its answer is no token"),
    Row(
        "token: wrong secret",
        special="wrong_secret",
        kept=0,
        rows=None,
        message="gave no token (status 401). Check USERTESTING_CLIENT_ID",
        requests=0,
        other="fails alike",
    ),
)

_DIRECTORY = (
    Row("no failure at all"),
    Row("archive: bytes of a killed run are there", special="same_bytes_there"),
    Row("archive: another file has the name", special="other_bytes_there"),
    Row(
        "archive: damaged document",
        special="damaged_document",
        kept=0,
        rows=None,
        message="clip_list.json in",
        requests=3,
    ),
    Row("archive: hard links are refused", special="no_hard_links"),
    Row(
        "archive: disk full",
        special="disk_full_for_a",
        kept=0,
        rows=BOTH_MISSING,
        message="No space left on device",
    ),
    Row(
        "archive: not writable",
        special="root_is_a_file",
        kept=0,
        rows=None,
        message="Check UT_CLIPS_ARCHIVE",
        requests=0,
        other="not started",
    ),
)

_A_FILES: Final = "clips/"
_GCS = (
    Row("no failure at all", store="gcs"),
    Row("the clip is there already", store="gcs", special="same_bytes_there"),
    Row("other bytes have the name", store="gcs", special="other_bytes_there"),
    Row(
        "412, and nothing is there",
        store="gcs",
        gcs=(GcsFault("status_412", None),),
        kept=1,
        rows=ONE_MISSING,
        message="but it is not there",
    ),
    Row("429 twice", store="gcs", gcs=(GcsFault("status_429", 2),)),
    Row("503 twice", store="gcs", gcs=(GcsFault("status_503", 2),)),
    Row(
        "503 for ever",
        store="gcs",
        gcs=(GcsFault("status_503", None),),
        kept=1,
        rows=ONE_MISSING,
        message="(503). It is tried again",
    ),
    Row("upload cut once", store="gcs", gcs=(GcsFault("cut_upload"),)),
    Row(
        "upload cut for ever",
        store="gcs",
        gcs=(GcsFault("cut_upload", None),),
        kept=1,
        rows=ONE_MISSING,
        message="Cannot store clips/",
    ),
    Row("stored, but answered 503", store="gcs", gcs=(GcsFault("ambiguous"),)),
    Row("stored, but the answer is lost", store="gcs", gcs=(GcsFault("ambiguous_reset"),)),
    Row(
        "no permission for one clip",
        store="gcs",
        gcs=(GcsFault("forbidden", None),),
        kept=1,
        rows=ONE_MISSING,
        message="grant them Storage Object User",
    ),
    Row(
        "document written, but answered 503",
        store="gcs",
        gcs=(GcsFault("ambiguous", 2, contains="sessions/{a}"),),
    ),
    Row(
        "no permission for one session's documents",
        store="gcs",
        gcs=(GcsFault("forbidden", None, contains="sessions/{a}"),),
        kept=0,
        rows=None,
        message="grant them Storage Object User",
        requests=NOTHING_LISTED,
    ),
    Row("table: 503 twice", store="gcs", gcs=(GcsFault("status_503", 2, contains="clip_metadata", api="xml"),)),
    Row(
        "table: no permission",
        store="gcs",
        gcs=(GcsFault("forbidden", None, contains="clip_metadata", api="xml"),),
        rows=None,
        message="Cannot write the table",
        other="fails alike",
    ),
    Row(
        "missing bucket",
        store="gcs",
        special="missing_bucket",
        kept=0,
        rows=None,
        message="The bucket or object does not exist",
        requests=0,
        other="not started",
    ),
    Row(
        "no permission at all",
        store="gcs",
        gcs=(GcsFault("forbidden", None, contains="archive/"),),
        kept=0,
        rows=None,
        message="grant them Storage Object User",
        requests=0,
        other="not started",
    ),
)


def _in_s3(row: Row) -> Row:
    """The same failure in S3: it has one API, and its own names of permissions."""
    faults = tuple(replace(fault, api="xml") for fault in row.gcs)
    message = row.message.replace("(503)", "(503 ServiceUnavailable)").replace("Storage Object User", "s3:ListBucket")
    return replace(row, store="s3", gcs=faults, message=message)


_S3 = (
    *(_in_s3(row) for row in _GCS if row.name != "429 twice"),  # S3 says 503 to who is too fast
    Row("409 twice", store="s3", gcs=(GcsFault("status_409", 2, api="xml"),)),
    Row(
        "409 for ever",
        store="s3",
        gcs=(GcsFault("status_409", None, api="xml"),),
        kept=1,
        rows=ONE_MISSING,
        message="(409 ConditionalRequestConflict). It is tried again",
    ),
)

MATRIX: Final[tuple[Row, ...]] = (*_DIRECTORY, *_LISTS, *_ROUTES, *_CLIPS, *_MEDIA, *_TOKENS, *_GCS, *_S3)
