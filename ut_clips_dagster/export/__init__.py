"""Takes clips out of an archive, for people and programs that have no archive: knows nothing of Dagster."""
