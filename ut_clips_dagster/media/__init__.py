"""What a clip's file is and shows: facts read off it, and a poster. No Dagster."""
