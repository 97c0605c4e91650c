"""Times as people read them."""

from datetime import UTC, datetime


def parse(text: str | None) -> datetime | None:
    """A time of the API; None for none, or for what is no time."""
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def span(seconds: float) -> str:
    """A duration in its two largest units, as kubectl writes ages: `45s`, `12m`, `3h20m`, `5d2h`."""
    total = max(0, int(seconds))
    for unit, size, smaller, less in (("d", 86400, "h", 3600), ("h", 3600, "m", 60), ("m", 60, "s", 1)):
        if total >= size:
            rest = total % size // less
            # Minutes count their seconds only while there are few of them.
            fine = rest and not (unit == "m" and total >= 600)
            return f"{total // size}{unit}" + (f"{rest}{smaller}" if fine else "")
    return f"{total}s"


def age(since: str | None, now: datetime) -> str:
    """How long ago a time of the API was; empty for none."""
    moment = parse(since)
    return span((now - moment).total_seconds()) if moment else ""


def countdown(until: str | None, now: datetime) -> str:
    """How long a time of the API is away: `in 12m`, or `ended`."""
    moment = parse(until)
    if moment is None:
        return ""
    left = (moment - now).total_seconds()
    return f"in {span(left)}" if left > 0 else "ended"
