"""The two tables that a run prints."""

from scenarios import CONTENDERS


def _number(value):
    if value >= 1000:
        return f"{value:,.0f}"
    if value >= 100 or value == int(value):
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _verdict(cell, sign):
    if "target" not in cell:
        return ""
    return f"{sign} {cell['target']:g} {'met' if cell['met'] else 'MISSED'}"


def _lines(header, rows):
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]

    def line(row):
        return "  ".join([row[0].ljust(widths[0]), row[1].ljust(widths[1])] + [cell.rjust(w) for cell, w in zip(row[2:], widths[2:])]).rstrip()

    return "\n".join([line(header), "  ".join("-" * w for w in widths), *map(line, rows)]) + "\n"


def pairs_table(scenarios, summary):
    """Exchanges between two processes: value, ratio against native, target and verdict per contender."""
    others = CONTENDERS[1:]
    header = ["between two processes", "", "native"]
    for contender in others:
        header += [contender, "ratio", "target"]
    rows = []
    for scenario in scenarios:
        cells = summary.get(scenario.key, {})
        row = [scenario.title, scenario.unit, _number(cells["native"]["value"]) if "native" in cells else "-"]
        for contender in others:
            cell = cells.get(contender)
            if cell is None:
                row += ["-", "", ""]
                continue
            row += [_number(cell["value"]), f"{cell['ratio']:.2f}" if "ratio" in cell else "", _verdict(cell, "<=" if scenario.lower else ">=")]
        rows.append(row)
    return _lines(header, rows)


def costs_table(costs, summary):
    """What one process pays by itself."""
    header = ["in one process", ""]
    for contender in CONTENDERS:
        header += [contender, "target"] if contender != "native" else [contender]
    rows = []
    for cost in costs:
        row = [cost.title, cost.unit]
        for contender in CONTENDERS:
            cell = summary.get(cost.key, {}).get(contender)
            row.append(_number(cell["value"]) if cell else "-")
            if contender != "native":
                row.append(_verdict(cell, "<=") if cell else "")
        rows.append(row)
    return _lines(header, rows)
