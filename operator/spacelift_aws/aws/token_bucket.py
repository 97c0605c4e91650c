"""A rate with a burst, by a clock that others keep."""


class TokenBucket:
    """At most `rate` tokens a second in the long run and `burst` at once. Times are seconds of any steady clock."""

    def __init__(self, rate: float, burst: int) -> None:
        if rate <= 0 or burst < 1:
            raise ValueError("a token bucket needs a positive rate and a burst of at least one")
        self._rate = rate
        self._burst = float(burst)
        self._tokens = float(burst)
        self._filled_at: float | None = None

    def wait(self, now: float) -> float:
        """Seconds until a token is there, 0.0 if one is there now."""
        self._fill(now)
        # A hair below one counts as one: otherwise rounding asks for sleeps too short for any clock to see.
        return 0.0 if self._tokens >= 1 - 1e-6 else (1 - self._tokens) / self._rate

    def left(self, now: float) -> float:
        """How many tokens there are now."""
        elapsed = now - self._filled_at if self._filled_at is not None else 0.0
        return min(self._burst, self._tokens + max(0.0, elapsed) * self._rate)

    def has_half(self, now: float) -> bool:
        """Whether at least half of the burst is left, and a token."""
        self._fill(now)
        return self._tokens >= max(1.0, self._burst / 2)

    def take(self, now: float) -> None:
        """Take one token, which `wait` has said to be there."""
        self._fill(now)
        self._tokens -= 1

    def _fill(self, now: float) -> None:
        if self._filled_at is not None:
            self._tokens = min(self._burst, self._tokens + max(0.0, now - self._filled_at) * self._rate)
        self._filled_at = now
