"""What BigQuery answers, in words."""

from __future__ import annotations

from concurrent.futures import TimeoutError as JobTimeoutError
from typing import Any

import pytest
from google.api_core.exceptions import Forbidden, ServiceUnavailable
from requests.exceptions import ConnectionError as NoConnectionError

from ut_clips_dagster.errors import WarehouseError
from ut_clips_dagster.warehouse.dataset import Dataset, is_conflict

UPLOAD = "PUT https://bigquery.googleapis.com/upload/bigquery/v2/projects/p/jobs?uploadType=resumable&upload_id=s3cret"


class Failing:
    """A client of which every request fails so."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def __getattr__(self, _name: str) -> Any:
        def fail(*_args: Any, **_kwargs: Any) -> Any:
            raise self._error

        return fail


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (Forbidden(f"{UPLOAD}: Access Denied: Dataset p:d\nLocation: EU"), "Access Denied: Dataset p:d"),
        (ServiceUnavailable(f"{UPLOAD}: "), "ServiceUnavailable"),
        (NoConnectionError(f"Max retries exceeded with url: {UPLOAD}"), "ConnectionError"),
        (JobTimeoutError(), "TimeoutError"),
    ],
)
def test_a_failure_is_told_without_the_address_which_may_let_others_in(error: Exception, told: str) -> None:
    dataset = Dataset(Failing(error), "p.d")  # type: ignore[arg-type]
    for ask in (lambda: dataset.has("clips"), lambda: dataset.query("SELECT 1"), lambda: dataset.transaction([])):
        with pytest.raises(WarehouseError) as raised:
            ask()
        assert str(raised.value).startswith(f"BigQuery did not do it for p.d: {told}. Check UT_CLIPS_BIGQUERY_DATASET")
        assert "s3cret" not in str(raised.value)
        assert not is_conflict(error)
