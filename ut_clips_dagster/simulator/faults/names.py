"""Every fault that there is: its name, what it hits, and how it appears to a client."""

from enum import Enum
from typing import NamedTuple

from ut_clips_dagster.simulator.api.calls import API_OPERATIONS, Operation
from ut_clips_dagster.simulator.world.flaws import Flaw


class FaultName(str, Enum):
    """Every fault by name; `describe()` says how it appears."""

    BAD_REQUEST = "bad_request"
    UNAUTHORIZED = "unauthorized"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    RATE_LIMITED = "rate_limited"
    RATE_LIMITED_NO_HEADERS = "rate_limited_no_headers"
    SERVER_ERROR = "server_error"
    MALFORMED_JSON = "malformed_json"
    TRUNCATED_JSON = "truncated_json"
    HTML = "html"
    UNKNOWN_FIELDS = "unknown_fields"
    UNKNOWN_STATUS = "unknown_status"
    REPLACED = "replaced"
    RESET = "reset"
    STALL = "stall"
    SLOW_BODY = "slow_body"
    SHORT_BODY = "short_body"
    ENDLESS_BODY = "endless_body"
    CHUNKED_BODY = "chunked_body"
    CHUNKED_CUT = "chunked_cut"
    EMPTY_BODY = "empty_body"
    WRONG_CONTENT_TYPE = "wrong_content_type"
    JSON_AS_VIDEO = "json_as_video"
    HTML_AS_VIDEO = "html_as_video"
    PICTURE_AS_VIDEO = "picture_as_video"
    COMPRESSED = "compressed"
    AWS_CHUNKED = "aws_chunked"
    EXPIRED_TOKEN = "expired_token"  # noqa: S105 - a store's name for it
    GONE = "gone"
    REDIRECT = "redirect"
    REDIRECT_PRIVATE = "redirect_private"
    EXPIRED_LINK = "expired_link"
    CLIP_ERROR = "clip_error"
    NEVER_READY = "never_ready"
    COMMA_TIMESTAMPS = "comma_timestamps"
    JSON_STRING = "json_string"
    NO_VIDEO = "no_video"
    WRONG_LENGTH = "wrong_length"
    WRONG_SOUND = "wrong_sound"
    BROKEN_INDEX = "broken_index"
    UNKNOWN_CODEC = "unknown_codec"
    HUGE_PICTURE = "huge_picture"

    def describe(self) -> str:
        """How the fault appears to a client, in one line."""
        return _KINDS[self].appears

    def default_operations(self) -> frozenset[Operation]:
        """The operations that it hits unless the fault names one."""
        return _KINDS[self].operations


class _Kind(NamedTuple):
    operations: frozenset[Operation]
    appears: str


_MEDIA = frozenset({Operation.MEDIA})
_CLIP = frozenset({Operation.GET_CLIP})
_TRANSCRIPT = frozenset({Operation.GET_TRANSCRIPT})
_JSON = API_OPERATIONS - _TRANSCRIPT
_KINDS: dict[FaultName, _Kind] = {
    FaultName.BAD_REQUEST: _Kind(API_OPERATIONS, "400 with a JSON error"),
    FaultName.UNAUTHORIZED: _Kind(API_OPERATIONS, "401 with a JSON error"),
    FaultName.FORBIDDEN: _Kind(API_OPERATIONS, "403 with a JSON error (XML for media)"),
    FaultName.NOT_FOUND: _Kind(API_OPERATIONS, "404 with a JSON error (XML for media)"),
    FaultName.RATE_LIMITED: _Kind(API_OPERATIONS, "429; the window is used up, as if by another process"),
    FaultName.RATE_LIMITED_NO_HEADERS: _Kind(
        API_OPERATIONS, "429 without x-ratelimit headers (retry_after_s adds one)"
    ),
    FaultName.SERVER_ERROR: _Kind(API_OPERATIONS, "500, or the status given"),
    FaultName.MALFORMED_JSON: _Kind(_JSON, "200 with JSON that has a syntax error"),
    FaultName.TRUNCATED_JSON: _Kind(_JSON, "200, complete by HTTP, with the first half of the JSON"),
    FaultName.HTML: _Kind(API_OPERATIONS, "200 with an HTML page"),
    FaultName.UNKNOWN_FIELDS: _Kind(_JSON, "the right answer with fields that no document names"),
    FaultName.UNKNOWN_STATUS: _Kind(_CLIP, "a clip's status that no document names (QUEUED), without a link"),
    FaultName.REPLACED: _Kind(
        API_OPERATIONS,
        "the right answer with another `value` (JSON, as it is) `at` a place such as clips.0.name, or without it; "
        "at header.retry-after: that header",
    ),
    FaultName.RESET: _Kind(API_OPERATIONS | _MEDIA, "half of the answer, then a TCP reset"),
    FaultName.STALL: _Kind(API_OPERATIONS | _MEDIA, "the connection stays open and no answer comes"),
    FaultName.SLOW_BODY: _Kind(_MEDIA, "the body in 16 pieces, delay_s real seconds apart"),
    FaultName.SHORT_BODY: _Kind(_MEDIA, "half of the bytes that Content-Length promises, then the end"),
    FaultName.ENDLESS_BODY: _Kind(_MEDIA, "a chunked body that does not end"),
    FaultName.CHUNKED_BODY: _Kind(_MEDIA, "the right body, chunked, without Content-Length"),
    FaultName.CHUNKED_CUT: _Kind(_MEDIA, "half of the body, chunked, then the end without the last chunk"),
    FaultName.EMPTY_BODY: _Kind(_MEDIA, "200 with Content-Length 0"),
    FaultName.WRONG_CONTENT_TYPE: _Kind(_MEDIA, "the right bytes called text/html"),
    FaultName.JSON_AS_VIDEO: _Kind(_MEDIA, "200 with JSON behind a byte order mark, called video/mp4"),
    FaultName.HTML_AS_VIDEO: _Kind(_MEDIA, "200 with an HTML page behind a byte order mark, called video/mp4"),
    FaultName.PICTURE_AS_VIDEO: _Kind(_MEDIA, "200 with a PNG picture, called video/mp4"),
    FaultName.COMPRESSED: _Kind(_MEDIA, "200 with gzip under Content-Encoding: aws-chunked,gzip, called video/mp4"),
    FaultName.AWS_CHUNKED: _Kind(_MEDIA, "the right body under Content-Encoding: aws-chunked, as S3 keeps it"),
    FaultName.EXPIRED_TOKEN: _Kind(_MEDIA, "400 with the XML of an ExpiredToken: the link died before its time"),
    FaultName.GONE: _Kind(_MEDIA, "410 with a JSON error"),
    FaultName.REDIRECT: _Kind(_MEDIA, "307 to the same media at another path"),
    FaultName.REDIRECT_PRIVATE: _Kind(_MEDIA, "307 to http://169.254.169.254/, a cloud's metadata server"),
    FaultName.EXPIRED_LINK: _Kind(_CLIP, "a link that has expired already when it is issued"),
    FaultName.CLIP_ERROR: _Kind(_CLIP, "a generation that is started ends as ERROR (count: that many generations)"),
    FaultName.NEVER_READY: _Kind(_CLIP, "GENERATING, however long one waits"),
    FaultName.COMMA_TIMESTAMPS: _Kind(_TRANSCRIPT, "a transcript whose times have commas, as SubRip's do"),
    FaultName.JSON_STRING: _Kind(_TRANSCRIPT, "the transcript as one JSON string, in quotes"),
    FaultName.NO_VIDEO: _Kind(_MEDIA, "a file with sound alone"),
    FaultName.WRONG_LENGTH: _Kind(_MEDIA, "a file half as long as the clip"),
    FaultName.WRONG_SOUND: _Kind(_MEDIA, "a file without sound where the clip has some, and with sound where not"),
    FaultName.BROKEN_INDEX: _Kind(_MEDIA, "a file that ends in the midst of its index"),
    FaultName.UNKNOWN_CODEC: _Kind(_MEDIA, "a file whose video is of a kind that nothing knows"),
    FaultName.HUGE_PICTURE: _Kind(_MEDIA, "a file whose picture is 8192 x 4352"),
}
WORLD_FAULTS = frozenset({FaultName.EXPIRED_LINK, FaultName.CLIP_ERROR, FaultName.NEVER_READY})
"""Faults of what the API says, decided where the answer is made; all others befall the answer on its way."""
FILE_FAULTS = frozenset(FaultName(flaw.value) for flaw in Flaw)
"""Faults of a clip's file itself: it arrives whole, and is not what the API lists."""
WIRE_FAULTS = frozenset(FaultName) - WORLD_FAULTS - FILE_FAULTS
