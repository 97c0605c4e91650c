"""What the process logs, and what it never does: no body of a request or an answer, at any level."""

import json
import logging
import os
import time
from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime

from spacelift_aws.aws.sts import silence_wire_logs
from spacelift_aws.settings import Settings

_KOPF = ("kopf", "aiohttp", "asyncio")
"""Kopf's debug lines print whole objects, asyncio's whole tasks."""

REPEATED_AFTER = 60.0
"""Seconds for which the same line is not written again."""
REMEMBERED = 1000
"""Different lines whose repetition is noticed."""


def configure_logging(settings: Settings) -> None:
    """Log to standard error in the chosen form."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if _is_json(settings.log_format) else PlainFormatter())
    handler.addFilter(OnceAMinute())
    logging.basicConfig(level=settings.log_level, handlers=[handler], force=True)
    for name in _KOPF:
        logging.getLogger(name).setLevel(logging.WARNING)
    silence_wire_logs()


def about(**fields: str) -> dict[str, dict[str, str]]:
    """What a line is about, as a logging call's `extra`: namespace, run, run_id, integration."""
    return {"about": fields}


def _is_json(form: str) -> bool:
    return form == "json" or (form == "auto" and "KUBERNETES_SERVICE_HOST" in os.environ)


class OnceAMinute(logging.Filter):
    """Drops a line that was written less than a minute ago; the next one tells how often it was dropped.

    Numbers with a fraction, durations and delays, make no line another one.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._written: OrderedDict[object, tuple[float, int]] = OrderedDict()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line is written."""
        key, now = _key(record), self._clock()
        at, dropped = self._written.get(key, (None, 0))
        if at is not None and now - at < REPEATED_AFTER:
            self._written[key] = (at, dropped + 1)
            return False
        self._written[key] = (now, 0)
        self._written.move_to_end(key)
        if len(self._written) > REMEMBERED:
            self._written.popitem(last=False)
        if dropped:
            record.msg = f"{record.msg} ({dropped} times more since)"
        return True


def _key(record: logging.LogRecord) -> object:
    arguments = record.args if isinstance(record.args, tuple) else (record.args,)
    said = tuple(str(argument) for argument in arguments if not isinstance(argument, float))
    return record.name, record.levelno, record.msg, said, str(getattr(record, "about", ""))


class PlainFormatter(logging.Formatter):
    """For a terminal: what a line is about stands at its end."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - of the library
        """The line without an exception that may follow."""
        fields: dict[str, str] = getattr(record, "about", {})
        about = "".join(f" {name}={value}" for name, value in fields.items())
        return super().formatMessage(record) + about


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "about", {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)
