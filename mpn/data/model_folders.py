"""Model folders that are there whole, or not at all."""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from transformers.utils import logging as transformers_logging


def publish_model(
    final: Path, model: Any, tokenizer: Any, beside: Mapping[str, str] | None = None
) -> Path:
    """Save a model and its tokenizer beside their final place, then rename them into it.

    Args:
        final: The folder; where it exists already, it is kept: another process was faster, with
            the same weights.
        model: Anything with ``save_pretrained``.
        tokenizer: Likewise.
        beside: Texts that belong to it, by file name.

    Returns:
        ``final``, a complete Hugging Face directory.
    """
    final.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=final.parent, prefix=f".{final.name}-") as workshop:
        built = Path(workshop) / final.name
        with no_progress_bar():
            model.save_pretrained(built)
            tokenizer.save_pretrained(built)
        for name, text in (beside or {}).items():
            (built / name).write_text(text, encoding="utf-8")
        try:
            built.rename(final)
        except OSError:
            if not final.is_dir():
                raise
    return final


@contextmanager
def no_progress_bar() -> Iterator[None]:
    """Keep transformers from drawing bars of its own over ours."""
    if not transformers_logging.is_progress_bar_enabled():
        yield
        return
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.enable_progress_bar()
