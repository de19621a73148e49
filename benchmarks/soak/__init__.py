"""Half a day of operation in a quarter of an hour, with everything going wrong: `python -m benchmarks.soak`."""
