"""The secret values that STS gave out of late, in all their writings."""

import re
import threading
from collections import OrderedDict

from sandbox.writings import writings

_SECRETS = re.compile(rb"<(?:SecretAccessKey|SessionToken)>([^<]+)<")


class Minted:
    """Hears STS's answers; see `FaultProxy.overhear`."""

    def __init__(self, kept: int = 400) -> None:
        """So many values are `kept`, the last ones."""
        self._kept = kept
        self._lock = threading.Lock()
        self._values: OrderedDict[str, frozenset[str]] = OrderedDict()

    def hear(self, answer: bytes) -> None:
        """Learn what is in an answer."""
        new = {value.decode() for value in _SECRETS.findall(answer)}
        with self._lock:
            for value in new:
                self._values[value] = writings(value)
            while len(self._values) > self._kept:
                self._values.popitem(last=False)

    @property
    def values(self) -> list[str]:
        """As STS gave them out."""
        with self._lock:
            return list(self._values)

    def writings(self) -> frozenset[str]:
        """All of them, in all their writings."""
        with self._lock:
            return frozenset().union(*self._values.values())
