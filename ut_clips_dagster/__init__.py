"""Archive UserTesting clips with Dagster."""
