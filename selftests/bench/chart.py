# SPDX-License-Identifier: GPL-2.0
"""The picture: nanoseconds a packet against flows and against rules, as SVG. Readable on light and dark."""
import math

WIDTH, HEIGHT, GAP = 460, 330, 50
LEFT, TOP, BOTTOM = 62, 46, 44
LINES = [("bridge", "no firewall", "#7d8590", "4 3"), ("nft", "nftables", "#d1742f", ""), ("dfw", "dfw", "#2f81f7", ""),
         ("dfw-fast", "dfw, fast path", "#2da44e", ""), ("dfw-xdp", "dfw, XDP", "#8957e5", "")]
SIZES = {"1": 1, "10": 10, "100": 100, "1k": 1000, "10k": 10000, "100k": 100000, "1M": 1000000}


def points(out, engine, load):
    if engine == "bridge":
        flat = [r["ns"] for r in out["frames"] if r["engine"] == "bridge" and r["load"] == "in"]
        sizes = [SIZES[r["size"]] for r in out["frames"] if r["load"] == load and r["size"]]
        return [(s, flat[0]) for s in (min(sizes), max(sizes))] if flat and sizes else []
    found = [(SIZES[r["size"]], r["ns"]) for r in out["frames"] if (r["engine"], r["load"]) == (engine, load) and r["size"]]
    return sorted(found)


class Panel:
    def __init__(self, out, x, load, title, xlabel):
        self.lines = [(label, color, dash, points(out, engine, load)) for engine, label, color, dash in LINES]
        self.lines = [line for line in self.lines if line[3]]
        every = [p for line in self.lines for p in line[3]]
        self.x0, self.title, self.xlabel = x, title, xlabel
        self.sizes = sorted({p[0] for p in every})
        top, low = max(p[1] for p in every), min(p[1] for p in every)
        self.low, self.top = math.floor(math.log10(low) * 3 - .3) / 3, math.ceil(math.log10(top) * 3 + .3) / 3

    def x(self, size):
        first, last = math.log10(self.sizes[0]), math.log10(self.sizes[-1]) or 1
        return self.x0 + LEFT + (math.log10(size) - first) / ((last - first) or 1) * (WIDTH - LEFT - 12)

    def y(self, ns):
        return TOP + (self.top - math.log10(ns)) / (self.top - self.low) * (HEIGHT - TOP - BOTTOM)

    def text(self, x, y, words, more=""):
        return f'<text x="{x:.1f}" y="{y:.1f}" {more}>{words}</text>'

    def svg(self):
        yield self.text(self.x0 + LEFT, 22, self.title, 'class="title"')
        ticks = [m * 10 ** e for e in range(1, 7) for m in (1, 2, 5) if self.low <= math.log10(m * 10 ** e) <= self.top]
        for ns in ticks:
            yield f'<line class="grid" x1="{self.x0 + LEFT}" x2="{self.x0 + WIDTH - 12}" y1="{self.y(ns):.1f}" y2="{self.y(ns):.1f}"/>'
            yield self.text(self.x0 + LEFT - 8, self.y(ns) + 4, f"{ns:,}", 'text-anchor="end"')
        for size in self.sizes:
            yield self.text(self.x(size), HEIGHT - BOTTOM + 18, f"{size:,}", 'text-anchor="middle"')
        yield self.text(self.x0 + (WIDTH + LEFT) / 2, HEIGHT - 6, self.xlabel, 'text-anchor="middle"')
        for _, color, dash, line in self.lines:
            path = " ".join(f"{'ML'[i > 0]}{self.x(s):.1f} {self.y(ns):.1f}" for i, (s, ns) in enumerate(line))
            yield f'<path d="{path}" fill="none" stroke="{color}" stroke-width="2.2" stroke-dasharray="{dash}"/>'
            if not dash:
                for s, ns in line:
                    yield f'<circle cx="{self.x(s):.1f}" cy="{self.y(ns):.1f}" r="3.4" fill="{color}"/>'


def svg(out):
    panels = [Panel(out, 0, "in", "an established packet, ns", "flows"), Panel(out, WIDTH + GAP, "new", "the first packet of a flow, ns", "rules")]
    width = 2 * WIDTH + GAP
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{HEIGHT + 34}" viewBox="0 0 {width} {HEIGHT + 34}" '
             'font-family="sans-serif" font-size="12">',
             '<style>text{fill:#57606a}.title{font-size:14px;font-weight:600}.grid{stroke:#8c959f;stroke-opacity:.25}'
             '@media(prefers-color-scheme:dark){text{fill:#adbac7}}</style>']
    for panel in panels:
        parts += panel.svg()
    x = LEFT
    for engine, label, color, dash in LINES:
        if any(points(out, engine, load) for load in ("in", "new")):
            parts.append(f'<line x1="{x}" x2="{x + 24}" y1="{HEIGHT + 22}" y2="{HEIGHT + 22}" stroke="{color}" stroke-width="2.2" stroke-dasharray="{dash}"/>')
            parts.append(f'<text x="{x + 30}" y="{HEIGHT + 26}">{label}</text>')
            x += 50 + 8 * len(label)
    return "\n".join(parts + ["</svg>", ""])
