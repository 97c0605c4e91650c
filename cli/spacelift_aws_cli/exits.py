"""What the commands end with. `run`, `wait` and `logs --follow` end with the run's own exit code instead of 0 and 1."""

from enum import IntEnum


class Exit(IntEnum):
    """Exit codes that scripts can rely on."""

    OK = 0
    NO = 1
    """The answer is no: not verified, not succeeded, something wrong."""
    USAGE = 2
    """The command line makes no sense."""
    TIMED_OUT = 124
    """`--timeout` is over, as with `timeout(1)`."""
    FAILED = 125
    """The plugin could not do it: not reached, not found, not allowed."""
    INTERRUPTED = 130
    """Ctrl-C."""


class UserError(Exception):
    """Ends the command. The text says what is wrong and what to do, in one sentence."""

    def __init__(self, message: str, code: int = Exit.FAILED) -> None:
        super().__init__(message)
        self.code = code
