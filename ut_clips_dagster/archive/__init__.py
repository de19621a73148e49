"""Scheduling and the archiving pipeline, session documents, metadata rows. Knows nothing of Dagster."""
