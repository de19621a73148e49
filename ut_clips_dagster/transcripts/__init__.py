"""What is said in sessions and in their clips: fetched as WebVTT, kept as it came, cut to the clips. No Dagster."""
