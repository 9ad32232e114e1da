"""Charts as inline SVG that take their colours from the page, so that dark, light and print need no second drawing."""

import io
import re
from typing import TYPE_CHECKING

from gpucert.certificate.payload import Payload, Phase, Series

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH_INCHES = 7.2
PANEL_INCHES = 1.25

_TOKENS = {
    "#010101": "var(--ink)",
    "#020202": "var(--muted)",
    "#030303": "var(--rule)",
    "#040404": "var(--first)",
    "#050505": "var(--second)",
    "#060606": "var(--wash)",
    "#070707": "var(--bad)",
}
"""Colours that no page shows: each is replaced by the variable of the style sheet that it stands for."""
_INK, _MUTED, _RULE, _FIRST, _SECOND, _WASH, _BAD = _TOKENS

_PANELS: tuple[tuple[str, str, tuple[tuple[str, str], ...]], ...] = (
    ("temperature", "°C", (("temperature_c", "core"), ("memory_temperature_c", "memory"))),
    ("power", "W", (("power_w", "board"),)),
    ("clock", "MHz", (("sm_clock_mhz", "SM"), ("memory_clock_mhz", "memory"))),
)


def timeline(payload: Payload) -> str | None:
    """Temperature, power and clocks over the run's time on one axis; None where nothing was sampled.

    Steps are shaded in turn and numbered, events are marked. The text is text, in the page's font.
    """
    panels = [panel for panel in _PANELS if any(name in payload.series for name, _ in panel[2])]
    if not panels:
        return None
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with mpl.rc_context(
        {
            "svg.fonttype": "none",
            "svg.hashsalt": "gpucert",
            "font.size": 8.0,
            "text.color": _INK,
            "axes.edgecolor": _RULE,
            "axes.labelcolor": _MUTED,
            "xtick.color": _MUTED,
            "ytick.color": _MUTED,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.linewidth": 0.6,
            "path.simplify": True,
        }
    ):
        figure = Figure(figsize=(WIDTH_INCHES, PANEL_INCHES * len(panels) + 0.5), layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
        for axis, (title, unit, channels) in zip(axes, panels, strict=True):
            _shade(axis, payload.phases)
            for (name, label), colour in zip(channels, (_FIRST, _SECOND), strict=False):
                if name in payload.series:
                    _line(axis, payload.series[name], label, colour)
            for mark in payload.marks:
                axis.axvline(mark, color=_BAD, linewidth=0.8, linestyle=(0, (2, 2)))
            axis.set_ylabel(f"{title} / {unit}")
            axis.margins(x=0.01, y=0.15)
        _number_steps(axes[0], payload.phases)
        axes[-1].set_xlabel("time of the run / s")
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return _inline(buffer.getvalue(), "Temperature, power and clocks over the run", _words(payload))


def _line(axis: "Axes", series: Series, label: str, colour: str) -> None:
    values = [float("nan") if value is None else value for value in series.values]
    axis.plot(series.at_s, values, color=colour, linewidth=0.9)
    known = [(at, value) for at, value in zip(series.at_s, series.values, strict=True) if value is not None]
    if known:
        axis.annotate(
            label, known[-1], xytext=(3, 0), textcoords="offset points", color=colour, fontsize=7, va="center"
        )


def _shade(axis: "Axes", phases: tuple[Phase, ...]) -> None:
    for number, phase in enumerate(phases):
        if number % 2 and phase.ended_s > phase.began_s:
            axis.axvspan(phase.began_s, phase.ended_s, color=_WASH, linewidth=0)


def _number_steps(axis: "Axes", phases: tuple[Phase, ...]) -> None:
    """The numbers of the steps above the first panel, those of steps wide enough to carry one."""
    whole = max((phase.ended_s for phase in phases), default=0.0)
    for phase in phases:
        if phase.ended_s - phase.began_s > 0.02 * whole:
            middle = (phase.began_s + phase.ended_s) / 2
            axis.annotate(
                str(phase.index + 1), (middle, 1), xycoords=("data", "axes fraction"), xytext=(0, 3),
                textcoords="offset points", ha="center", fontsize=7, color=_MUTED,
            )  # fmt: skip


def _words(payload: Payload) -> str:
    """What the chart shows, for those who cannot see it."""
    parts = []
    for _title, unit, channels in _PANELS:
        for name, label in channels:
            values = [value for value in payload.series.get(name, Series((), ())).values if value is not None]
            if values:
                parts.append(f"{label} {name.rpartition('_')[0]}: {min(values):.0f} to {max(values):.0f} {unit}")
    return "; ".join(parts) + f"; {sum(event.times for event in payload.events)} events."


def _inline(svg: str, title: str, words: str) -> str:
    """The drawing alone, with a title and a description, in the page's colours and font, without a size of its own."""
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", body, count=1)
    body = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", body, count=1)
    body = re.sub(r' xmlns(:xlink)?="[^"]*"', "", body)
    body = body.replace("xlink:href", "href")
    body = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", body)
    body = re.sub(r"<!--.*?-->", "", body, flags=re.DOTALL)
    body = re.sub(r"-?\d+\.\d{3,}", lambda match: f"{float(match[0]):.2f}".rstrip("0").rstrip("."), body)
    for token, variable in _TOKENS.items():
        body = body.replace(token, variable)
    body = re.sub(r"\s*\n\s*", "\n", body)
    head = f'<title id="timeline-title">{title}</title><desc id="timeline-words">{words}</desc>'
    return re.sub(
        r"<svg([^>]*)>",
        rf'<svg\1 role="img" aria-labelledby="timeline-title timeline-words">{head}',
        body,
        count=1,
    )
