"""The ways in which a container receives credentials."""
