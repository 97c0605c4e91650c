"""Draws the dashboard as an SVG, from what a Prometheus has: what Grafana would show, for the documentation."""

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sandbox.dashboard import ROWS, WIDTH, Panel

COLUMN, LINE = 46, 26
"""Pixels of a cell of Grafana's grid."""
_COLORS = ("#5794f2", "#73bf69", "#f2cc0c", "#ff780a", "#e02f44", "#b877d9", "#56a64b", "#8ab8ff")
_LEGENDS = 5

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Series:
    """One line: what it is called, and its points (seconds since the epoch, value)."""

    name: str
    points: Points


def draw(data: Mapping[str, Sequence[Series]], start: float, end: float, caption: str) -> str:
    """The dashboard; `data` has each panel's series by its title."""
    parts: list[str] = []
    y = LINE
    for title, row in ROWS:
        parts.append(_text(8, y + 16, title, size=14, color="#ccccdc"))
        x, y = 0, y + LINE
        for panel in row:
            if x + panel.width > WIDTH:
                x, y = 0, y + panel.height * LINE
            parts.append(_panel(panel, data.get(panel.title, ()), start, end, (x * COLUMN, y)))
            x += panel.width
        y += row[-1].height * LINE
    width, height = WIDTH * COLUMN, y + LINE
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif">'
    ground = f'<rect width="{width}" height="{height}" fill="#111217"/>'
    return "\n".join([head, ground, _text(8, 18, caption, size=12, color="#8e8e9e"), *parts, "</svg>"]) + "\n"


def _panel(panel: Panel, series: Sequence[Series], start: float, end: float, at: tuple[int, int]) -> str:
    x, y = at
    width, height = panel.width * COLUMN - 6, panel.height * LINE - 6
    frame = f'<rect x="{x + 3}" y="{y + 3}" width="{width}" height="{height}" rx="3" fill="#181b1f" stroke="#2c3038"/>'
    title = _text(x + 11, y + 21, panel.title, size=11, color="#d8d9da")
    inner = _number(series, x, y, width, height) if panel.kind == "stat" else ""
    if panel.kind != "stat":
        inner = _lines(series, start, end, (x + 44, y + 32, width - 56, height - 62), panel.unit)
    return "\n".join([frame, title, inner])


def _number(series: Sequence[Series], x: int, y: int, width: int, height: int) -> str:
    total = sum(one.points[-1][1] for one in series if one.points)
    return _text(x + width // 2, y + height - 22, f"{total:g}", size=30, color="#73bf69", anchor="middle")


def _lines(series: Sequence[Series], start: float, end: float, box: tuple[int, int, int, int], unit: str) -> str:
    x, y, width, height = box
    shown = sorted(series, key=lambda one: -max((value for _, value in one.points), default=0))[: len(_COLORS)]
    top = max((value for one in shown for _, value in one.points), default=0) or 1
    parts = [f'<path d="M{x} {y}V{y + height}H{x + width}" fill="none" stroke="#2c3038"/>']
    parts.append(_text(x - 4, y + 8, _shown(top, unit), size=9, color="#8e8e9e", anchor="end"))
    parts.append(_text(x - 4, y + height, "0", size=9, color="#8e8e9e", anchor="end"))
    left = x
    for index, one in enumerate(shown):
        color = _COLORS[index]
        places = [
            f"{x + (at - start) / (end - start) * width:.0f},{y + height - value / top * height:.1f}"
            for at, value in one.points
        ]
        parts.append(f'<polyline points="{" ".join(places)}" fill="none" stroke="{color}" stroke-width="1.4"/>')
        if index < _LEGENDS and left < x + width - 30:
            parts.append(_text(left, y + height + 16, one.name[:26], size=9, color=color))
            left += 12 + 5 * len(one.name[:26])
    return "\n".join(parts)


def _shown(value: float, unit: str) -> str:
    if unit == "bytes":
        return f"{value / 2**20:.0f} MiB"
    return f"{value:.3g}{' s' if unit == 's' else '/s' if unit in ('ops', 'reqps') else ''}"


def _text(x: int, y: int, words: str, *, size: int, color: str, anchor: str = "start") -> str:
    place = f'x="{x}" y="{y}" font-size="{size}" fill="{color}" text-anchor="{anchor}"'
    return f"<text {place}>{html.escape(words)}</text>"
