"""The run's session and its Secret."""
