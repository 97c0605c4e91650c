"""How long sessions live (AWS: DurationSeconds of AssumeRole). Pure."""

from datetime import datetime, timedelta

SHORTEST_SESSION = timedelta(seconds=900)
"""What STS gives at least."""
LONGEST_SESSION = timedelta(hours=12, minutes=5)
"""What STS gives at most, and some clock skew."""


def life_told(created: datetime, expires_at: datetime | None) -> timedelta:
    """How long the first session of a pod lived, which was made with it. Anybody who changes pods may have written it.

    Without a word, the shortest.
    """
    told = expires_at - created if expires_at is not None else SHORTEST_SESSION
    return min(max(told, SHORTEST_SESSION), LONGEST_SESSION)
