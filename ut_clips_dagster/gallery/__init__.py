"""The gallery: find a clip by what is said in it, and watch it, in a browser. No Dagster."""
