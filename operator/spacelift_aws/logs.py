"""What the process logs, and what it never does: no body of a request or an answer, at any level."""

import json
import logging
from datetime import UTC, datetime

from spacelift_aws.aws.sts import silence_wire_logs
from spacelift_aws.settings import Settings

_KOPF = ("kopf", "aiohttp", "asyncio")
"""Kopf's debug lines print whole objects, asyncio's whole tasks."""


def configure_logging(settings: Settings) -> None:
    """Log to standard error in the chosen form."""
    handler = logging.StreamHandler()
    if settings.log_format == "json":
        handler.setFormatter(JsonFormatter())
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s"))
    logging.basicConfig(level=settings.log_level, handlers=[handler], force=True)
    for name in _KOPF:
        logging.getLogger(name).setLevel(logging.WARNING)
    silence_wire_logs()


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)
