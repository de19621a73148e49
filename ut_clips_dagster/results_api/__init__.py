"""The UserTesting Results API v2: client, authorization, pacing, models. Knows nothing of Dagster."""
