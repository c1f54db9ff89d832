"""The speed table as an SVG: for each case a bar of ours, one of each rival and, where there is one, the hardware's limit."""
import html
import statistics

from table import LOWER_IS_BETTER

BAR, GAP, PANEL = 13, 9, 470
COLOURS = {"commissure": "#3c6fb6", "commissure x3": "#3c6fb6", "commissure exact": "#3c6fb6", "llama.cpp": "#b6643c", "vLLM": "#4a9a5b"}
LIMIT = "#ddd"
CASES = ("P1", "P2", "P3", "P4", "P5", "P6", "P7", "P10")
UNITS = ("tok/s", "TTFT p50, ms", "ms")


def bars_of(row):
    """[(label, value, colour)]; in P5 and P6 the rival is ourselves, in another grey."""
    bars = []
    for name, values in row["values"].items():
        rival_is_us = name == "commissure" and row["case"] in ("P5", "P6")
        bars.append((name, statistics.median(values), "#9ab" if rival_is_us else COLOURS.get(name, "#888")))
    return bars


def draw_group(row, x, y, scale_width):
    """One case; its bars share a scale of their own, as long as its largest value or its limit."""
    bars = bars_of(row)
    top = max([value for _, value, _ in bars] + [row["limit"] or 0])
    unit = "tok/s" if row["unit"] == "tok/s" else f"{row['unit'].replace(', ms', '')}, less is better" if row["unit"] in LOWER_IS_BETTER else row["unit"]
    parts = [f"<text x='{x}' y='{y + 11}' font-weight='bold'>{html.escape(row['case'] + ' ' + row['what'])} <tspan font-weight='normal' fill='#666'>{unit}</tspan></text>"]
    y += 17
    for name, value, colour in bars:
        if row["limit"]:
            parts.append(f"<rect x='{x + 105}' y='{y}' width='{row['limit'] / top * scale_width:.1f}' height='{BAR}' fill='{LIMIT}'/>")
        parts.append(f"<text x='{x + 100}' y='{y + 11}' text-anchor='end'>{html.escape(name)}</text>")
        parts.append(f"<rect x='{x + 105}' y='{y}' width='{value / top * scale_width:.1f}' height='{BAR}' fill='{colour}'/>")
        parts.append(f"<text x='{x + 110 + value / top * scale_width:.1f}' y='{y + 11}'>{value:.4g}</text>")
        y += BAR + 2
    return parts, y + GAP


def draw_bars(rows, caption):
    """`rows` as table.py makes them; one column per model."""
    parts, deepest = [], 0
    models = list(dict.fromkeys(row["model"] for row in rows))
    for column, model in enumerate(models):
        x, y = 16 + PANEL * column, 66
        parts.append(f"<text x='{x}' y='{y}' font-size='14'>{html.escape(model)}</text>")
        y += 14
        for row in rows:
            if row["model"] == model and row["case"] in CASES and row["unit"] in UNITS:
                group, y = draw_group(row, x, y, PANEL - 190)
                parts += group
        deepest = max(deepest, y)
    width = 16 + PANEL * max(1, len(models))
    head = [f"<svg xmlns='http://www.w3.org/2000/svg' width='{width}' height='{deepest + 8}' font-family='sans-serif' font-size='11'>",
            "<rect width='100%' height='100%' fill='white'/>",
            "<text x='16' y='24' font-size='15'>Commissure beside its rivals</text>",
            f"<text x='16' y='42' fill='#666'>{html.escape(caption)}; medians, in turn; grey: the memory's limit</text>"]
    return "\n".join([*head, *parts, "</svg>"]) + "\n"
