"""The cached engine against the full model, side by side: ``python -m benchmarks.engine``.

Each number is the median of several rounds, in which the two take turns on one thread.
"""

import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoTokenizer, XLMRobertaConfig, XLMRobertaForSequenceClassification

from mpn.backbones import Backbone
from mpn.data.mini.claims import mini_corpus
from mpn.data.scratch_model import ensure_scratch_model
from mpn.edits import Text
from mpn.engine import CachedEngine, FullEngine
from mpn.patches import Patches
from mpn.queries import QueryCache

SHAPES = {"tiny": (128, 2, 512), "base": (768, 12, 3072)}
REFERENCE_REPEATS = 8
N_EDIT_ROWS = 3
N_EVALUATED = 64
N_ROUNDS = 5

Timed = Callable[[], object]


def make_backbone(shape: str, folder: Path, tokenizer: Any) -> Backbone:
    """Make an XLM-R of a shape; its weights are random, which does not change its speed."""
    width, n_layers, ffn = SHAPES[shape]
    config = XLMRobertaConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        num_hidden_layers=n_layers,
        num_attention_heads=width // 64,
        intermediate_size=ffn,
        max_position_embeddings=130,
        pad_token_id=tokenizer.pad_token_id,
    )
    XLMRobertaForSequenceClassification(config).save_pretrained(folder / shape)
    tokenizer.save_pretrained(folder / shape)
    return Backbone(folder / shape)


def training_step(engine: Any, texts: Sequence[Text]) -> Timed:
    """Return a step on some texts: logits, a loss, and the gradients of a patch neuron."""
    rows, d_model = engine.load(texts), engine.backbone.d_model
    shapes = ((1, 1, d_model), (1, 1), (1, 1, d_model))
    leaves = [torch.zeros(shape, requires_grad=True) for shape in shapes]

    def step() -> object:
        loss = engine.logits(rows, Patches(*leaves)).logsumexp(-1).sum()
        return torch.autograd.grad(loss, leaves)

    return step


def evaluation(engine: Any, texts: Sequence[Text]) -> Timed:
    """Return an evaluation of some texts after an edit."""
    rows, d_model = engine.load(texts), engine.backbone.d_model
    patches = Patches(torch.zeros(1, 1, d_model), torch.zeros(1, 1), torch.zeros(1, 1, d_model))
    return lambda: engine.predictions(rows, patches)


def seconds(call: Timed) -> float:
    """Time one call."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def compare(fast: Timed, slow: Timed) -> tuple[float, float]:
    """Return the median seconds of both, measured in turns after a warm-up."""
    fast()
    slow()
    rounds = [(seconds(fast), seconds(slow)) for _ in range(N_ROUNDS)]
    return statistics.median(r[0] for r in rounds), statistics.median(r[1] for r in rounds)


def measure(folder: Path) -> Iterator[tuple[str, str, str, float, float]]:
    """Yield model, site, what, and the seconds of the full and the cached way."""
    corpus = mini_corpus()
    texts = [text for example in corpus.examples[::60] for text in example.texts.values()]
    tokenizer = AutoTokenizer.from_pretrained(ensure_scratch_model(folder / "scratch", corpus))
    for shape in SHAPES:
        backbone = make_backbone(shape, folder, tokenizer)
        sites = {"last": backbone.n_layers - 1, "middle": backbone.n_layers // 2 - 1}
        for site, layer in sites.items():
            cached = CachedEngine(backbone, layer=layer, cache=QueryCache(folder / "queries"))
            full = FullEngine(backbone, layer=layer)
            rows = texts[:N_EDIT_ROWS]
            fast, slow = training_step(cached, rows), training_step(full, rows * REFERENCE_REPEATS)
            step = f"step, {N_EDIT_ROWS} rows; full: {REFERENCE_REPEATS} repeats"
            yield shape, site, step, *compare(fast, slow)
            rows = texts[:N_EVALUATED]
            fast, slow = evaluation(cached, rows), evaluation(full, rows)
            yield shape, site, f"evaluation, {N_EVALUATED} texts", *compare(fast, slow)


def main() -> None:
    """Print the machine and the table."""
    torch.set_num_threads(1)
    transformers.utils.logging.disable_progress_bar()
    machine = platform.processor() or platform.machine()
    print(f"{machine}, {os.cpu_count()} cores, 1 thread, torch {torch.__version__}\n")
    print("| model | site | what | full s | cached s | ratio |")
    print("| --- | --- | --- | ---: | ---: | ---: |")
    with tempfile.TemporaryDirectory() as folder:
        for model, site, what, fast_s, slow_s in measure(Path(folder)):
            ratio = slow_s / fast_s
            print(f"| {model} | {site} | {what} | {slow_s:.4f} | {fast_s:.5f} | {ratio:.0f} |")


if __name__ == "__main__":
    main()
