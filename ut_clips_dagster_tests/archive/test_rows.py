"""Two sets of rows, compared by session: what a killed run, or damage, left between documents and table."""

from __future__ import annotations

import pandas as pd
import pytest

from ut_clips_dagster.archive.rows import differing_sessions, same_rows
from ut_clips_dagster_tests.storage.test_metadata_table import rows

EXPECTED = pd.concat([rows("a", 2), rows("b", 1), rows("c", 3)], ignore_index=True)
OF_B = EXPECTED["session_id"] == "b"


def test_the_order_of_rows_and_columns_does_not_matter() -> None:
    found = EXPECTED.sample(frac=1, random_state=1)[list(reversed(EXPECTED.columns))]
    assert differing_sessions(EXPECTED, found) == set()
    assert same_rows(EXPECTED, found)


def test_no_rows_are_the_same_as_no_rows() -> None:
    assert differing_sessions(EXPECTED.iloc[:0], EXPECTED.iloc[:0]) == set()


@pytest.mark.parametrize(
    "found",
    [
        EXPECTED[~OF_B],
        pd.concat([EXPECTED, EXPECTED[OF_B]]),
        EXPECTED.assign(status=EXPECTED["status"].mask(OF_B, "MISSING")),
        EXPECTED.assign(waited_s=EXPECTED["waited_s"].mask(OF_B, pd.NA)),
        EXPECTED.assign(error=EXPECTED["error"].mask(OF_B, "not tried yet")),
    ],
    ids=["missing", "doubled", "changed", "null for a value", "a value for null"],
)
def test_a_session_with_any_other_row_differs_alone(found: pd.DataFrame) -> None:
    assert differing_sessions(EXPECTED, found) == {"b"}


def test_a_doubled_row_in_place_of_another_differs() -> None:
    both, first = EXPECTED.iloc[:2], EXPECTED.iloc[[0]]
    assert differing_sessions(both, pd.concat([first, first])) == {"a"}
