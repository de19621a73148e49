"""What delta-rs says of a failure becomes one line that names the cause, and nothing secret."""

from __future__ import annotations

import pytest

from ut_clips_dagster.storage.delta_failures import reason

ARROW = "\n          \x1b[31m↳\x1b[0m "
ASKED = f"Kernel error -> Generic S3 error{ARROW}Error performing GET http://minio/b/t?X-Amz-Signature=abc in 3ms"

ANSWER = (
    '<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>ExpiredToken</Code><Message>The token'
    f"{ARROW}it has expired.</Message><Token-0>IQoJtoken</Token-0></Error>"
)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("Permission denied (os error 13)", "Permission denied (os error 13)"),
        (
            f"{ASKED}, max_retries{ARROW}10{ARROW}tcp connect error{ARROW}Connection refused (os error 111)\n",
            "Kernel error -> Generic S3 error: Connection refused (os error 111)",
        ),
        (
            f"{ASKED} - Server returned non-2xx status code{ARROW}403 Forbidden{ARROW}{ANSWER}\n",
            "Kernel error -> Generic S3 error: ExpiredToken: The token: it has expired.",
        ),
        (
            f"{ASKED}{ARROW}502 Bad Gateway{ARROW}<html>\n<body>nginx</body>",
            "Kernel error -> Generic S3 error: 502 Bad Gateway",
        ),
        (ASKED, "Kernel error -> Generic S3 error: Error performing GET http://minio/b/t?*** in 3ms"),
        ("", "OSError"),
    ],
)
def test_the_last_cause_is_told(said: str, told: str) -> None:
    assert reason(OSError(said)) == told
