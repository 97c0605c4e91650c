"""How long to wait before the next try."""

import random


def backoff(failures: int, first: float, last: float) -> float:
    """Seconds until the next try after so many failures: doubled each time, bounded, with up to a fifth of jitter."""
    return float(min(last, first * 2 ** min(failures, 32)) * random.uniform(0.8, 1.0))
