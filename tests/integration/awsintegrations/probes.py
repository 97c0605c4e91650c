"""The probes among the calls of STS, told from Runs' by their session names."""

from sandbox.faultproxy import Call

MARK = "PR0BEPR0BE"
OWN, NONE, SIBLING, OTHER_INSTALLATION, SPELLING = "0WN", "N0N", "S1B", "0TH", "SPE"
ALL = "*" + MARK
"""The documented pattern of all session names of probes."""


def named(probe: str) -> str:
    """The pattern of one probe's session names."""
    return f"??????????{probe}???{MARK}"


def is_probe(call: Call) -> bool:
    return call.session_name.endswith(MARK)


def probe_of(call: Call) -> str | None:
    return call.session_name[10:13] if is_probe(call) else None


def form_of(call: Call) -> str | None:
    """`B` for bare, `R` for a Run's."""
    return call.session_name[13] if is_probe(call) else None
