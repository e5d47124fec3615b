"""Cells as Markdown and as LaTeX."""

from collections.abc import Sequence

Block = tuple[str, Sequence[Sequence[str]]]
"""A title, or "", and the rows under it."""

_LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "_": r"\_",
        "%": r"\%",
        "&": r"\&",
        "#": r"\#",
        "$": r"\$",
        "{": r"\{",
        "}": r"\}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "±": r"$\pm$",
        "Δ": r"$\Delta$",
        "–": "--",
        "−": "$-$",
        "…": r"\dots{}",
    }
)


def markdown(header: Sequence[str], cells: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a Markdown table; the first column is of words, the others numbers."""
    lines = ["| " + " | ".join(_piped(cell) for cell in row) + " |" for row in [header, *cells]]
    rule = "|" + "|".join([" --- "] + [" ---: "] * (len(header) - 1)) + "|"
    return [lines[0], rule, *lines[1:]]


def latex(header: Sequence[str], blocks: Sequence[Block], note: str) -> list[str]:
    """Return the lines of a booktabs ``tabular``, with all text escaped.

    Args:
        header: Titles of the columns.
        blocks: Rows, each group between rules, under its title if it has one.
        note: What the numbers are; a comment behind the table.
    """
    lines = [rf"\begin{{tabular}}{{l{'r' * (len(header) - 1)}}}", r"\toprule", _row(header)]
    for title, cells in blocks:
        lines.append(r"\midrule")
        if title:
            lines.append(rf"\multicolumn{{{len(header)}}}{{l}}{{\emph{{{escaped(title)}}}}} \\")
        lines += [_row(row) for row in cells]
    return [*lines, r"\bottomrule", r"\end{tabular}", f"% {note}"]


def escaped(text: str) -> str:
    """Return text as LaTeX prints it."""
    return text.translate(_LATEX)


def percent(mean: float, half: float | None = None) -> str:
    """Return a rate in percent, with the half width of its interval if it has one."""
    return f"{mean * 100:.1f}" + ("" if half is None else f" ± {half * 100:.1f}")


def _row(cells: Sequence[str]) -> str:
    guard = "{}" if cells[0].startswith("[") else ""  # else an option of the \\ before it
    return guard + " & ".join(map(escaped, cells)) + r" \\"


def _piped(cell: str) -> str:
    return cell.replace("|", r"\|")
