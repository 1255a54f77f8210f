# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The report as one page of HTML that needs no network; on the control node, with plotly.

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

import jinja2
from ansible.errors import AnsibleFilterError

# Pixels of a bar with what is around it, and of a chart's axis and legend.
_BAR, _FRAME = 26, 130
# Told apart by those who see colours otherwise (Okabe and Ito), on a light and on a dark ground.
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00")
FREE = "rgba(128,128,128,0.25)"
_LOOK = {
    "margin": {"l": 8, "r": 8, "t": 8, "b": 40},
    "paper_bgcolor": "rgba(0,0,0,0)",
    "plot_bgcolor": "rgba(0,0,0,0)",
    "font": {"family": "system-ui, sans-serif", "size": 12},
    "legend": {"orientation": "h", "traceorder": "normal", "y": 1.02, "yanchor": "bottom"},
}


def page(facts, template, at):
    """The page (str). facts: dict of _report.facts(). template: of Jinja (str). at: when it was (str).

    Raises AnsibleFilterError where plotly is missing.
    """
    try:
        from plotly import offline
    except ImportError:
        raise AnsibleFilterError("The report needs plotly on the control node: pip install plotly") from None

    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    charts = {
        "timeline": _chart(timeline(facts["steps"])),
        "memory": _chart(memory(facts["memory"])),
        "benchmarks": _chart(benchmarks(facts["benchmarks"])),
    }
    library = offline.get_plotlyjs() if any(charts.values()) else ""
    return environment.from_string(template).render(facts, at=at, charts=charts, library=library)


def timeline(steps):
    """The chart (plotly's Figure, None without steps) of the last runs: a bar a host, from a run's first second on."""
    import plotly.graph_objects as go

    figure = go.Figure()
    for colour, step in zip(_colours(), dict.fromkeys(one["step"] for one in steps)):
        ours = [one for one in steps if one["step"] == step]
        figure.add_bar(
            name=step,
            orientation="h",
            y=[f"{one['run_at']}  {one['host']} {one['model']}" for one in ours],
            x=[one["seconds"] for one in ours],
            base=[one["begin"] for one in ours],
            customdata=[one["release"] for one in ours],
            hovertemplate=step + " of %{customdata}: %{x:.0f} s<extra></extra>",
            marker_color=colour,
        )
    return _laid_out(figure, "seconds since the run's first step") if steps else None


def memory(rows):
    """The chart (plotly's Figure, None without GPUs) of each GPU's memory: by release, by others, free."""
    figure = None
    if rows:
        import plotly.graph_objects as go

        names = [f"{row['host']} {row['gpu']}" for row in rows]
        figure = go.Figure()
        held = dict.fromkeys(name for row in rows for name in row["held"])
        parts = [(name, colour, [row["held"].get(name, 0) for row in rows]) for name, colour in zip(held, _colours())]
        parts += [("others", "#999999", [row["other_mib"] for row in rows])]
        parts += [("free", FREE, [row["free_mib"] for row in rows])]
        for name, colour, values in parts:
            gib = [value / 1024 for value in values]
            figure.add_bar(name=name, orientation="h", y=names, x=gib, marker_color=colour)
        _laid_out(figure, "GiB")
        figure.update_layout(barmode="stack")
    return figure


def benchmarks(points):
    """The chart (plotly's Figure, None without any) of tokens per second and of time to first token, over clients.

    A host's model has a colour of its own, and the release before the present one is dotted.
    """
    if not points:
        return None
    from plotly.subplots import make_subplots

    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.08)
    colours, last = {}, {}
    names = dict.fromkeys((one["host"], one["model"], one["release"]) for one in points)
    unused = _colours()
    for host, model, release in names:
        colours[host, model] = colours.get((host, model)) or next(unused)
        last[host, model] = release
    for name in names:
        ours = [one for one in points if (one["host"], one["model"], one["release"]) == name]
        clients, present = [one["concurrency"] for one in ours], last[name[:2]] == name[2]
        line = {"x": clients, "name": " ".join(name), "mode": "lines+markers"}
        line.update(marker_color=colours[name[:2]], line_dash="solid" if present else "dot")
        figure.add_scatter(y=[one["throughput"] for one in ours], row=1, col=1, **line)
        figure.add_scatter(y=[one["ttft"][0] for one in ours], row=2, col=1, showlegend=False, **line)
    figure.update_layout(template="none", height=480, **_LOOK)
    figure.update_xaxes(
        type="log", tickvals=sorted({one["concurrency"] for one in points}), gridcolor=FREE, automargin=True
    )
    figure.update_xaxes(title="clients at the same time", row=2, col=1)
    figure.update_yaxes(rangemode="tozero", gridcolor=FREE, automargin=True)
    figure.update_yaxes(title="tokens/s", row=1, col=1)
    figure.update_yaxes(title="first token, ms (p50)", row=2, col=1)
    return figure


def _colours():
    while True:
        yield from COLOURS


def _laid_out(figure, unit):
    rows = len(dict.fromkeys(name for part in figure.data for name in part.y))
    figure.update_layout(
        barmode="overlay",
        template="none",
        height=_FRAME + _BAR * rows,
        **_LOOK,
        xaxis={"title": unit, "rangemode": "tozero", "gridcolor": FREE, "zeroline": False},
        yaxis={"automargin": True, "autorange": "reversed", "ticksuffix": " ", "type": "category"},
    )
    return figure


def _chart(figure):
    options = {"displaylogo": False, "responsive": True, "displayModeBar": False}
    return figure.to_html(full_html=False, include_plotlyjs=False, config=options) if figure else ""
