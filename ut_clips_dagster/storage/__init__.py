"""Where the archive lives: clips and documents in a directory or in GCS, and the metadata table. No Dagster."""
