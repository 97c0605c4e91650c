"""The ways in which programs write a value: whoever looks for one in a log has to look for all of them. Pure."""

import base64
import html
import json
from collections.abc import Iterator
from urllib.parse import quote, quote_plus


def writings(value: str) -> frozenset[str]:
    """A value in plain text, JSON, URLs, HTML, base64 (also inside of something, both alphabets) and hexadecimal."""
    data = value.encode()
    return frozenset(
        {
            value,
            json.dumps(value)[1:-1],
            value.replace("/", "\\/"),
            repr(value)[1:-1],
            quote(value),
            quote(value, safe=""),
            quote_plus(value, safe=""),
            quote(quote(value, safe=""), safe=""),
            html.escape(value),
            data.hex(),
            data.hex().upper(),
            data.hex(":"),
            *_base64(data),
            *_base64(base64.b64encode(data)),
        }
    )


def _base64(data: bytes) -> Iterator[str]:
    """Base64 of the value where it begins at each of the three places of a group of bytes: what all of them share."""
    for before in range(3):
        encoded = base64.b64encode(bytes(before) + data).decode()
        first = -(-before * 8 // 6)
        last = (before + len(data)) * 8 // 6
        inside = encoded[first:last]
        yield inside
        yield inside.translate(str.maketrans("+/", "-_"))
