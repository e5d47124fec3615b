"""Model folders that are there whole, or not at all."""

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock
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


def built_once(final: Path, build: Callable[[], Path], *, origin: Path | None = None) -> Path:
    """Return a model folder; the first process of a machine to ask builds it, the others wait.

    Args:
        final: The folder; complete if it is there.
        build: Makes it.
        origin: The same folder elsewhere; if that is there, it is copied.

    Returns:
        ``final``.
    """
    if final.is_dir():
        return final
    final.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(final.parent / f".{final.name}.lock"):
        if final.is_dir():
            return final
        if origin is None or not origin.is_dir():
            return build()
        with tempfile.TemporaryDirectory(dir=final.parent, prefix=f".{final.name}-") as workshop:
            copied = Path(workshop) / final.name
            shutil.copytree(origin, copied)
            copied.rename(final)
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
