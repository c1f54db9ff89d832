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
