"""The results as a table, as JSON and as a plot: medians of all rounds, with the least and the greatest beside them."""

import html
import json
import statistics

import cases
import kinds
import peers
import system


def median(rounds, key):
    """The median of one number over the rounds."""
    return statistics.median(one[key] for one in rounds)


def cell(rounds, key, digits, divisor):
    """Median and spread, as `33.2 (32.8–34.0)`; the median alone where there is no spread to see."""
    values = [one[key] / divisor for one in rounds]
    middle, low, high = (f"{value:,.{digits}f}" for value in (statistics.median(values), min(values), max(values)))
    return middle if low == high else f"{middle} ({low}–{high})"


def reference(by_peer):
    """The CPU per request of the better of Debian's nginx and HAProxy; none if neither ran."""
    return min((median(by_peer[name], "cpu_us") for name in peers.DEBIAN if by_peer.get(name)), default=None)


def is_load(case):
    """Whether the case's first figure is CPU per request."""
    return any(key == "cpu_us" for _, key, *_ in kinds.KINDS[case.kind].columns)


def case_table(case, by_peer, versions):
    """One case's table as lines of Markdown."""
    columns = kinds.KINDS[case.kind].columns
    base = reference(by_peer) if is_load(case) else None
    titles = ["proxy", *([] if base is None else ["ratio"]), *(title for title, *_ in columns), "errors"]
    lines = ["| " + " | ".join(titles) + " |", "|" + "---|" * len(titles)]
    for name in peers.NAMES:
        rounds = by_peer.get(name)
        if not rounds:
            continue
        label = f"{name.removesuffix('-current')} {versions[name]}"
        row = [f"**{label}**" if name == "ringway" else label]
        if base is not None:
            row.append(f"{median(rounds, 'cpu_us') / base:.2f}")
        row += [cell(rounds, key, digits, divisor) for _, key, digits, divisor in columns]
        row.append(str(sum(one["errors"] for one in rounds)))
        lines.append("| " + " | ".join(row) + " |")
    return lines


def verdicts(case, by_peer):
    """What the bars say of Ringway; nothing where there is no bar, no Ringway, or nobody to be compared with."""
    rounds = by_peer.get("ringway")
    for bar in case.bars if rounds else ():
        if not bar.peers:
            figure = max(median(rounds, "bare_kib"), median(rounds, "asked_kib"))
            text = f"{bar.limit:g} KiB per idle connection"
        else:
            beside = [name for name in bar.peers if by_peer.get(name)]
            if not beside:
                continue
            figure = median(rounds, "cpu_us") / min(median(by_peer[name], "cpu_us") for name in beside)
            text = f"{bar.limit:g} × {'the best of ' if len(beside) > 1 else ''}{', '.join(beside)}"
        yield f"Bar: at most {text}; {figure:.2f}: {'met' if figure <= bar.limit else 'missed'}."


def noise(results):
    """How many measurements were repeated because of other processes, and how many were kept in spite of them."""
    thrown = results["thrown_away"]
    rounds = [one for by_peer in results["cases"].values() for all_of in by_peer.values() for one in all_of]
    kept = sum(one["others"] > system.NOISE_LIMIT for one in rounds)
    text = f"Of {len(rounds) + thrown} measurements {thrown} were thrown away because other processes used more than "
    text += f"{system.NOISE_LIMIT:.0%} of a core meanwhile"
    return text + (f"; **{kept} were kept in spite of that, after all repeats were as noisy**." if kept else ".")


def markdown(results):
    """The whole report."""
    about = results["machine"] | results["settings"]
    lines = [
        f"{about['date']}, {about['cpu']}, {about['cores']} cores, Linux {about['kernel']}; "
        f"{about['rounds']} interleaved rounds of {about['seconds']} s each after {about['warmup']} s of warm-up; "
        "median (least–greatest). *ratio*: CPU per request to the better of Debian's nginx and HAProxy.",
        "",
        noise(results),
    ]
    for failure in results["failures"]:
        lines += ["", f"**Failed**: {failure.splitlines()[0]}"]
    for case in cases.CASES:
        by_peer = results["cases"].get(case.name)
        if not any((by_peer or {}).values()):
            continue
        rate = f", {about['rate']} requests/s" if "rate" in case.options else ""
        lines += ["", f"**{case.title}{rate}**", "", *case_table(case, by_peer, results["versions"])]
        for judged in verdicts(case, by_peer):
            lines += ["", judged]
    return "\n".join(lines) + "\n"


# The plot: a panel a case, a bar a proxy.
WIDTH, LABEL, BAR, GAP, HEAD = 760, 150, 18, 6, 34
COLORS = {"ringway": "#c2410c", "nginx": "#475569", "haproxy": "#475569"}
OTHER_COLOR = "#94a3b8"


def panel(title, rows, top):
    """A title and a bar for each (name, label, values); returns its SVG and its height."""
    scale = (WIDTH - LABEL - 150) / max(max(values) for _, _, values in rows)
    parts = [f'<text x="10" y="{top + 20}" font-weight="bold">{html.escape(title)}</text>']
    y = top + HEAD
    for name, label, values in rows:
        middle, low, high = (LABEL + scale * v for v in (statistics.median(values), min(values), max(values)))
        center = y + BAR / 2
        parts += [
            f'<text x="{LABEL - 8}" y="{y + 14}" text-anchor="end">{html.escape(label)}</text>',
            f'<rect x="{LABEL}" y="{y}" width="{middle - LABEL:.1f}" height="{BAR}" fill="{COLORS.get(name, OTHER_COLOR)}"/>',
            f'<path d="M{low:.1f} {center}H{high:.1f}M{low:.1f} {center - 4}v8M{high:.1f} {center - 4}v8" stroke="#000" fill="none"/>',
            f'<text x="{high + 8:.1f}" y="{y + 14}">{statistics.median(values):.1f}</text>',
        ]
        y += BAR + GAP
    return parts, y - top + 8


def plot(results):
    """CPU per request of every load case, and memory per idle connection, as an SVG picture."""
    parts, top = [], 6
    for case in cases.CASES:
        by_peer = results["cases"].get(case.name)
        plotted = kinds.KINDS[case.kind].plotted
        if not any((by_peer or {}).values()) or plotted is None:
            continue
        key, unit = plotted
        rows = [
            (name, f"{name.removesuffix('-current')} {results['versions'][name]}", [max(0.0, one[key]) for one in by_peer[name]])
            for name in peers.NAMES
            if by_peer.get(name)
        ]
        drawn, height = panel(f"{case.title}: {unit}", rows, top)
        parts += drawn
        top += height
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{top}" font-family="sans-serif" font-size="13">'
    return "\n".join([head, '<rect width="100%" height="100%" fill="#fff"/>', *parts, "</svg>", ""])


def as_json(results):
    """All numbers of all rounds."""
    return json.dumps(results, indent=1) + "\n"
