"""Where a log was read up to, so that it can be read on after a connection broke: no line lost, none twice. Pure.

The API server gives every line its time and takes `sinceTime` in whole seconds, so after a break the last second comes
again. Its lines are recognised by their times, in order: equal times, as a burst of lines has, count one by one.
"""

import re
from collections import deque

_STAMPED = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\S*) ?")


class Cursor:
    """One container's log. `begin` a connection, then give it each line that comes."""

    def __init__(self) -> None:
        self._second = b""
        self._times: deque[bytes] = deque()
        """Of the lines shown that belong to the last second, or came after it."""
        self._again: deque[bytes] = deque()
        """Those of them that this connection will bring once more."""
        self._skipping = False

    def begin(self) -> dict[str, str]:
        """A new connection begins; the query that it needs."""
        self._again = deque(self._times)
        self._skipping = False
        since = {"sinceTime": self._second.decode() + "Z"} if self._second else {}
        return {"timestamps": "true", **since}

    def take(self, line: bytes) -> bytes | None:
        """The line as the container wrote it, None for one that was shown before.

        A line without a time goes on from the one before: the node cuts very long ones.
        """
        stamped = _STAMPED.match(line)
        if stamped is None:
            return None if self._skipping else line
        time = stamped[1] + stamped[2]
        self._skipping = time in self._again
        if self._skipping:
            while self._again.popleft() != time:
                pass
            return None
        self._again.clear()
        self._remember(stamped[1], time)
        return line[stamped.end() :]

    def _remember(self, second: bytes, time: bytes) -> None:
        if second > self._second:
            self._second = second
            self._times.clear()
        self._times.append(time)
