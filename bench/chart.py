"""Bars of ratios as an SVG: how many times as fast as each rival."""
import html

BAR, GAP, LEFT, WIDTH = 16, 10, 290, 760
COLOURS = {"llama.cpp": "#b6643c", "vLLM": "#3c6fb6"}


def draw_ratios(rows, subtitle):
    """`rows` as compare.py makes them; only speed against another program is drawn, on a linear axis from 0."""
    bars = [(f"{row['model']}: {row['what']}", name, ratio) for row in rows for name, ratio in row["ratios"].items()
            if name in COLOURS and "ttft" not in row["what"] and row["case"] not in ("P7", "P8")]
    if not bars:
        return "<svg xmlns='http://www.w3.org/2000/svg'/>"
    longest = max(ratio for _, _, ratio in bars)
    scale = (WIDTH - LEFT - 60) / max(longest, 1.2)
    height = 70 + len(bars) * (BAR + GAP) + 20
    parts = [f"<svg xmlns='http://www.w3.org/2000/svg' width='{WIDTH}' height='{height}' font-family='sans-serif' font-size='12'>",
             f"<rect width='{WIDTH}' height='{height}' fill='white'/>",
             "<text x='12' y='22' font-size='15'>Commissure: times as fast as</text>",
             f"<text x='12' y='40' fill='#666'>{html.escape(subtitle)}; medians, same machine, run and client</text>"]
    for i, (name, colour) in enumerate(COLOURS.items()):
        parts.append(f"<rect x='{230 + 110 * i}' y='11' width='12' height='12' fill='{colour}'/><text x='{247 + 110 * i}' y='22'>{name}</text>")
    y = 60
    for label, name, ratio in bars:
        parts.append(f"<text x='{LEFT - 8}' y='{y + 12}' text-anchor='end'>{html.escape(label)}</text>")
        parts.append(f"<rect x='{LEFT}' y='{y}' width='{ratio * scale:.1f}' height='{BAR}' fill='{COLOURS[name]}'/>")
        parts.append(f"<text x='{LEFT + ratio * scale + 5:.1f}' y='{y + 12}'>{ratio:.2f}</text>")
        y += BAR + GAP
    parts.append(f"<line x1='{LEFT + scale:.1f}' x2='{LEFT + scale:.1f}' y1='52' y2='{y}' stroke='#333' stroke-dasharray='4 3'/>")
    parts.append("</svg>")
    return "\n".join(parts)


LINES = ["#3c6fb6", "#b6643c", "#4a9a5b", "#8a5bb0", "#b0963c", "#3ca3a8"]


def draw_panel(x, y, width, height, title, grown, key):
    """Lines over the number of streams, which doubles from mark to mark; the vertical axis is linear from 0."""
    streams = list(next(iter(grown.values())))
    top = max(point[key] for points in grown.values() for point in points.values()) or 1
    place = lambda i, value: f"{x + width * i / max(1, len(streams) - 1):.1f},{y + height * (1 - value / top):.1f}"  # noqa: E731
    parts = [f"<text x='{x}' y='{y - 10}' font-size='13'>{html.escape(title)}</text>",
             f"<path d='M{x},{y} V{y + height} H{x + width}' fill='none' stroke='#333'/>",
             f"<text x='{x - 6}' y='{y + 4}' text-anchor='end'>{top:.4g}</text><text x='{x - 6}' y='{y + height + 4}' text-anchor='end'>0</text>"]
    for i, n in enumerate(streams):
        at = place(i, 0).split(",")[0]
        parts.append(f"<text x='{at}' y='{y + height + 16}' text-anchor='middle' fill='#666'>{n}</text>")
    for points, colour in zip(grown.values(), LINES):
        places = [place(i, point[key]) for i, point in enumerate(points.values())]
        parts.append(f"<polyline points='{' '.join(places)}' fill='none' stroke='{colour}' stroke-width='1.5'/>")
    return parts


def draw_growth(grown, measures, caption):
    """`grown` is {stages: {streams: {measure: value}}}; one panel per measure, one line per number of stages."""
    width, height = 330, 190
    parts = [f"<svg xmlns='http://www.w3.org/2000/svg' width='880' height='{90 + 260 * ((len(measures) + 1) // 2)}' font-family='sans-serif' font-size='11'>",
             "<rect width='100%' height='100%' fill='white'/>",
             "<text x='60' y='24' font-size='15'>Throughput and latency by streams</text>",
             f"<text x='60' y='42' fill='#666'>{html.escape(caption)}</text>"]
    for i, (stages, colour) in enumerate(zip(grown, LINES)):
        parts.append(f"<rect x='{420 + 75 * i}' y='14' width='10' height='10' fill='{colour}'/><text x='{434 + 75 * i}' y='23'>{stages} stage{'s' * (stages > 1)}</text>")
    for i, (key, title) in enumerate(measures.items()):
        parts += draw_panel(60 + 420 * (i % 2), 90 + 260 * (i // 2), width, height, title, grown, key)
    return "\n".join([*parts, "</svg>"])
