"""Which errors say something of a session, and which of what lies between it and us."""

from __future__ import annotations

from ut_clips_dagster import errors


def test_what_is_not_the_sessions_own_fault_costs_it_no_retry() -> None:
    tree = [errors.ClipsError]
    for error in tree:
        tree += error.__subclasses__()
    ours = {error for error in tree if error.__module__ == errors.__name__}

    assert {error.__name__ for error in ours if not error.costs_a_try} == {
        "AuthenticationError",
        "ForbiddenError",
        "BudgetExhaustedError",
        "ApiUnavailableError",
        "MediaUnavailableError",
        "RunEndedError",
        "StorageError",  # its disk is full, or not there
        "TableConflictError",
    }
