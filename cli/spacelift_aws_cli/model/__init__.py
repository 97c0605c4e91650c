"""Decisions and wording: pure functions over objects as the API server gives them. No clock, no file, no network."""
