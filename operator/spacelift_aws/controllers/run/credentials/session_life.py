"""How long sessions live, and when they are replaced."""

from datetime import timedelta

SHORTEST_SESSION = timedelta(seconds=900)
"""What STS gives at least (AWS: DurationSeconds of AssumeRole)."""
LONGEST_SESSION = timedelta(hours=12, minutes=5)
"""What STS gives at most, and some clock skew."""
NEAR_EXPIRY = timedelta(minutes=5)
"""Credentials that a container has yet to read are replaced so long before their end: a third of the shortest life."""
