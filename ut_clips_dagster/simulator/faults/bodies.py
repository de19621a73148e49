"""Whole answers that a media host gives in place of a clip."""

import gzip

from ut_clips_dagster.simulator.faults.names import FaultName
from ut_clips_dagster.simulator.faults.wire import Reply, xml_error

_MARK = b"\xef\xbb\xbf"
HTML = b"<!DOCTYPE html><html><head><title>Maintenance</title></head><body>We will be back soon.</body></html>"
_PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000a49444154789c6360000002000100"
)
_BOX = b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom"

REPLIES = {
    FaultName.HTML: Reply(200, HTML, "text/html; charset=utf-8"),
    FaultName.JSON_AS_VIDEO: Reply(200, _MARK + b'{"message": "Internal error", "code": 17}', "video/mp4"),
    FaultName.HTML_AS_VIDEO: Reply(200, _MARK + HTML, "video/mp4"),
    FaultName.PICTURE_AS_VIDEO: Reply(200, _PNG, "video/mp4"),
    FaultName.COMPRESSED: Reply(
        200, gzip.compress(_BOX, mtime=0), "video/mp4", (("Content-Encoding", "aws-chunked,gzip"),)
    ),
    FaultName.EXPIRED_TOKEN: xml_error(400, "ExpiredToken", "The provided token has expired."),
    FaultName.GONE: Reply(410, b'{"error": "gone"}'),
}
