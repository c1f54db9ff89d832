"""Lines over the number of streams as an SVG."""
import html

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
