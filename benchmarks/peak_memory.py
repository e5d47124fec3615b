"""Memory of a fresh process that loads a model, edits it once and evaluates it.

``python -m benchmarks.peak_memory MODEL CACHE N_EXAMPLES`` prints JSON: bytes at the peak, less
those before the model was loaded, and bytes of the model's weights and of the query cache's files.
"""

import json
import subprocess
import sys
from pathlib import Path

import torch
import transformers

from benchmarks.shapes import Site, parallel_texts
from mpn.backbones import Backbone
from mpn.editors.settings import StopSettings, TransformerPatcherSettings
from mpn.editors.transformer_patcher import TransformerPatcher
from mpn.memory import MemoryBank
from mpn.pairing import PairingSettings

_STATUS = Path("/proc/self/status")


def measure(model: Path, cache: Path, n_examples: int) -> dict[str, int]:
    """Measure this process, which must have done nothing else before.

    Args:
        model: The model's folder.
        cache: An empty folder for queries.
        n_examples: Examples to evaluate, in all languages; their queries are the memory too.
    """
    torch.set_num_threads(1)
    texts = parallel_texts(n_examples)
    before = _resident("VmRSS")
    backbone = Backbone(model)
    site = Site("last", backbone, texts, cache)
    bank = MemoryBank.of(site.fast.token_queries(site.texts, "cls"), held_out_share=0.1)
    editor = TransformerPatcher(
        TransformerPatcherSettings(stop=StopSettings(min_steps=125)), PairingSettings()
    )
    outcome = editor.edit(site.fast, site.edits(1, languages=0), bank)
    site.fast.predictions(site.evaluated(len(texts)), outcome.patches)
    return {
        "peak_bytes": _resident("VmHWM") - before,
        "model_bytes": sum(t.nbytes for t in backbone.model.state_dict().values()),
        "cache_bytes": sum(path.stat().st_size for path in cache.rglob("*") if path.is_file()),
    }


class MeasuredApart:
    """A measurement in a process of its own."""

    def __init__(self, model: Path, cache: Path, n_examples: int) -> None:
        """Start it; the arguments are those of :func:`measure`."""
        self._process: subprocess.Popen[str] | None = None
        if _STATUS.exists():
            arguments = [str(model), str(cache), str(n_examples)]
            self._process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.peak_memory", *arguments],
                stdout=subprocess.PIPE,
                text=True,
            )

    def result(self) -> dict[str, int]:
        """Wait for it; nothing where the system does not say."""
        if self._process is None:
            return {}
        found: dict[str, int] = json.loads(self._process.communicate()[0])
        return found


def _resident(name: str) -> int:
    """Return resident memory now (VmRSS) or at its highest (VmHWM), in bytes."""
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    transformers.utils.logging.disable_progress_bar()
    print(json.dumps(measure(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))))
