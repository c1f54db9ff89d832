"""Rows of the speed table: medians, ratios, the share of the hardware's limit, and whether the goals are reached."""
import statistics

LOWER_IS_BETTER = {"TTFT p50, ms", "hit / cold", "hit, ms", "mean error", "ms", "MiB"}


def median(samples, key, measure):
    values = samples.get(key, {}).get(measure)
    return statistics.median(values) if values else None


def judge(goal, samples, case, names, share):
    """{text, have, reached} of one goal; reached is None where what it compares with is absent."""
    ours = median(samples, case.servers[0], goal.measure)
    have, text = ours, ""
    if goal.to == "limit":
        have, text = share, " of the limit"
    elif goal.to:
        rivals = [value for value in (median(samples, key, goal.measure) for key in goal.to) if value is not None]
        best = min if goal.measure in LOWER_IS_BETTER else max
        have = ours / best(rivals) if rivals else None
        text = " x " + " and ".join(dict.fromkeys(names[key] for key in goal.to))
    bound = f"{'>=' if goal.least is not None else '<='} {goal.least if goal.least is not None else goal.most:g}{text}"
    return {"text": bound, "have": have, "reached": None if have is None else goal.reached(have)}


def rows_of(model, case, names, samples, bandwidths):
    """One row per measure of a case; `samples` is {server key: {measure: [values]}}, `names` {server key: what to call it}, `bandwidths` in GB/s as
    measured beside (empty: memory does not bound the case)."""
    rows, ours_key = [], case.servers[0]
    for measure in samples.get(ours_key, {}):
        ours = median(samples, ours_key, measure)
        limit = case.limit(statistics.median(bandwidths) * 1e9) if bandwidths and measure == "tok/s" else None
        share = ours / limit if limit else None
        present = [key for key in case.servers if key in samples]
        row = {"model": model.name, "case": case.key, "what": case.what, "unit": measure, "ours": ours, "limit": limit, "share": share, "bandwidths": bandwidths,
               "values": {names[key]: samples[key][measure] for key in present},
               "ratios": {names[key]: ours / median(samples, key, measure) for key in present[1:]},
               "absent": [names[key] for key in case.servers if key not in samples],
               "goals": [judge(goal, samples, case, names, share) for goal in case.goals if goal.measure == measure]}
        if case.beside and all(key in samples for key in case.beside):
            split, whole = case.beside
            row["beside"] = {f"{names[split]} / {names[whole]}": median(samples, split, measure) / median(samples, whole, measure)}
        rows.append(row)
    return rows


def goal_text(goal):
    if goal["reached"] is None:
        return f"{goal['text']}: not measured"
    return f"{goal['text']}: {'yes' if goal['reached'] else 'NO'} ({goal['have']:.3g})"


def row_text(row):
    rivals = [f"{name} {statistics.median(values):.4g} ({row['ratios'][name]:.2f})" for name, values in row["values"].items() if name in row["ratios"]]
    rivals += [f"{name} absent" for name in row["absent"]] + [f"{name} {ratio:.2f}" for name, ratio in row.get("beside", {}).items()]
    share = f"{100 * row['share']:.0f} % of {row['limit']:.0f}" if row["share"] else ""
    what = row["what"] if row["unit"] == "tok/s" else f"{row['what']}, {row['unit']}"
    what += f" (others {100 * row['others']:.0f} % CPU)" if row.get("others", 0) > 0.1 else ""
    return f"{row['case']:<7}{what:<42}{row['ours']:>9.4g}  {share:<13} {', '.join(rivals):<58} {'; '.join(map(goal_text, row['goals']))}".rstrip()


def print_rows(rows):
    for name in dict.fromkeys(row["model"] for row in rows):
        print(f"\n{name}\n{'':<7}{'tok/s unless said':<42}{'ours':>9}  {'of the limit':<13} {'rivals (ours over theirs)':<58} goals")
        for row in rows:
            if row["model"] == name:
                print(row_text(row))
    judged = [goal["reached"] for row in rows for goal in row["goals"]]
    print(f"\n{judged.count(True)} goals reached, {judged.count(False)} not, {judged.count(None)} not measured")


def records_of(rows):
    """(model, program, what, values) of each, as recording.py writes them."""
    measured = [(row["model"], name, f"{row['case']} {row['what']}, {row['unit']}", values) for row in rows for name, values in row["values"].items()]
    return measured + [(row["model"], "memory", f"{row['case']} {row['what']}, read GB/s", row["bandwidths"]) for row in rows if row["limit"]]
