"""A study as one self-contained HTML page: no network, no verdict."""

from collections import Counter
from collections.abc import Iterator
from html import escape

from plotly.offline import get_plotlyjs

from dashboards.figures import FIGURES, Plate
from dashboards.html_table import footnote, render_html_table
from dashboards.look import note_of, words
from dashboards.stylesheet import STYLESHEET
from orchestrator.results import StudyResults, TrialResult

_CONFIG = {
    "responsive": True,
    "displaylogo": False,
    "modeBarButtonsToRemove": ["select2d", "lasso2d", "autoScale2d"],
}
_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"
)
_SEEN = (
    "A language counts as <em>seen</em> for an edit if the pairing drew it, so that the editor "
    "trained on the edit’s own translation into that language; <em>unseen</em> languages took no "
    "part. Both are measured on that same translation: a seen value says how well training was "
    "fitted, and only an unseen value, or a rephrase, says what carried over by itself. "
    "Which languages are seen differs between trials and between streams, so seen and unseen "
    "means are taken over different sets of languages."
)


def render_report(results: StudyResults) -> str:
    """Render a study: question, facts, table and figures.

    The same results give the same page, to the byte.

    Args:
        results: The study; trials may be missing or have failed.

    Returns:
        A whole HTML document that loads nothing from anywhere.
    """
    title = f"{results.study}: {results.question}"
    has_rows = bool(results.rows())
    sections = [_notice(results), *(_findings(results) if has_rows else ()), _unfinished(results)]
    script = f"<script>{get_plotlyjs()}</script>\n" if has_rows else ""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLESHEET}</style>\n{script}</head>\n<body>\n"
        f"{_header(results)}\n<main>\n{''.join(sections)}</main>\n{_footer(results)}\n"
        "</body>\n</html>\n"
    )


def _header(results: StudyResults) -> str:
    expect = ""
    if results.expect:
        expect = f'<p class="expect"><b>Expected beforehand:</b> {escape(results.expect)}</p>\n'
    facts = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>"
        for name, value in _facts(results)
    )
    return (
        f'<header class="page"><div>\n<p class="study">{escape(results.study)}</p>\n'
        f'<h1>{escape(results.question)}</h1>\n{expect}<dl class="facts">{facts}</dl>\n'
        "</div></header>"
    )


def _facts(results: StudyResults) -> Iterator[tuple[str, str]]:
    """Yield what a reader should know before any number."""
    trials = results.trials
    states = Counter(trial.state for trial in trials)
    n_complete = states["complete"]
    yield (
        ("trials", str(len(trials)))
        if n_complete == len(trials)
        else (
            "trials complete",
            f"{n_complete} of {len(trials)}",
        )
    )
    for state in ("pruned", "failed"):
        if states[state]:
            yield f"trials {state}", str(states[state])
    rows = results.rows()
    if rows:
        counts = sorted({len(row.trial.streams) for row in rows})
        yield (
            "streams per trial",
            " to ".join(str(n) for n in dict.fromkeys((counts[0], counts[-1]))),
        )
    memory = results.ledger.study(results.study) or {}
    units = sum(block["units"] for trial in memory.get("trials", ()) for block in trial["blocks"])
    if units:
        yield f"{memory['unit']} in all", f"{units:,}".replace(",", " ")
    if rows and any(len(row.trial.streams) > 1 for row in rows):
        yield "interval over streams", f"{results.level * 100:g} %"
    yield "primary metric", words(results.measure["primary"])


def _notice(results: StudyResults) -> str:
    if any(trial.state == "complete" for trial in results.trials):
        return ""
    text = "No trial of this study is complete yet."
    if results.rows():
        text += " What follows shows the streams that are."
    return f'<section aria-label="State"><p class="note">{text}</p></section>\n'


def _findings(results: StudyResults) -> Iterator[str]:
    yield (
        '<section aria-labelledby="table-heading">\n<h2 id="table-heading">Results</h2>\n'
        f'<p class="caption">{escape(footnote(results))}</p>\n'
        '<div class="scroll" role="region" aria-labelledby="table-heading" tabindex="0">\n'
        f"{render_html_table(results)}\n</div>\n</section>\n"
    )
    yield (
        '<section aria-labelledby="seen-heading">\n<h2 id="seen-heading">Seen and unseen '
        f'languages</h2>\n<p class="caption">{_SEEN}</p>\n</section>\n'
    )
    for plate in FIGURES:
        yield _figure(results, plate)


def _figure(results: StudyResults, plate: Plate) -> str:
    figure = plate.draw(results)
    note = note_of(figure)
    if note is not None:
        content = f'<p class="note">{escape(note)}</p>'
    else:
        plot = figure.to_html(
            full_html=False, include_plotlyjs=False, div_id=plate.name, config=_CONFIG
        )
        content = (
            f'<p class="caption">{escape(plate.caption)}</p>\n'
            "<noscript><p class='note'>Figures need JavaScript; the table holds the means and "
            "intervals.</p></noscript>\n"
            f'<div class="scroll"><div class="plot" role="figure" '
            f'aria-labelledby="{plate.name}-heading">{plot}</div></div>'
        )
    return (
        f'<section aria-labelledby="{plate.name}-heading">\n'
        f'<h2 id="{plate.name}-heading">{escape(plate.title)}</h2>\n{content}\n</section>\n'
    )


def _unfinished(results: StudyResults) -> str:
    items = [_unfinished_item(trial) for trial in results.trials if trial.state != "complete"]
    if not items:
        return ""
    return (
        '<section aria-labelledby="unfinished-heading">\n<h2 id="unfinished-heading">Trials that '
        f'are not complete</h2>\n<ul class="trials">{"".join(items)}</ul>\n</section>\n'
    )


def _unfinished_item(trial: TrialResult) -> str:
    name = f"<b>{trial.number} {escape(trial.label)}</b>: {escape(trial.state)}"
    reason, _, details = (trial.failure or "").partition("\n")
    if reason:
        name += f", {escape(reason)}"
    if trial.pruned_at is not None:
        name += " at step {step}, at a running value of {value:.4g}".format(**trial.pruned_at)
    if details.strip():
        name += f"<details><summary>Details</summary><pre>{escape(details)}</pre></details>"
    return f"<li>{name}</li>"


def _footer(results: StudyResults) -> str:
    """Say what the numbers stand on, as far as the ledger knows."""
    memory = results.ledger.study(results.study) or {}
    facts: dict[str, str] = {}
    if "definition" in memory:
        facts["definition"] = memory["definition"]
    facts |= {name: str(value) for name, value in memory.get("provenance", {}).items()}
    blocks = [block for trial in results.trials for block in trial.block_ids]
    attempts = results.ledger.attempts(blocks)
    for name in ("device", "python"):
        values = {str(attempt[name]) for attempt in attempts if name in attempt}
        if values:
            facts[name] = ", ".join(sorted(values))
    said = " · ".join(f"{escape(name)} {escape(value)}" for name, value in facts.items())
    origin = f"<p>{said}</p>\n" if said else ""
    ledger = "<p>Drawn from the study’s ledger, which holds every value.</p>"
    return f"<footer>\n{ledger}\n{origin}</footer>"
