"""The run's pod: how it is built, read, and how it ended."""
