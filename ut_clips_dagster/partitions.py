"""The one partitions definition: a partition is a session, its key the session's UUID in lower case."""

from __future__ import annotations

from dagster import DynamicPartitionsDefinition

SESSIONS = "sessions"

sessions = DynamicPartitionsDefinition(name=SESSIONS)
