"""Whether the platform is well: facts in, findings out, and who is told. Knows nothing of Dagster."""
