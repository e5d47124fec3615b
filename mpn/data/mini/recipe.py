"""The recipe of the embedded base model, and where the model of a recipe is kept."""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from mpn.data.mini.claims import mini_corpus
from mpn.training import AlignmentSettings, TrainingSettings

CODE_VERSION = 1
"""To be raised whenever a change to this module or ``mpn.training`` changes the weights."""


@dataclass(frozen=True, kw_only=True)
class MiniRecipe:
    """Everything that decides the weights of the base model.

    Attributes:
        seed: Selects the world of the corpus, the initial weights and the batches.
        d_model: Width of the encoder.
        n_layers: Its depth.
        n_heads: Attention heads per layer.
        d_ffn: Width of the feed-forward networks.
        initial_std: Standard deviation of all initial matrices; larger than BERT's 0.02, which
            at this width would leave the first hundreds of steps without a signal.
        vocabulary_size: Tokens of the BPE vocabulary.
        max_tokens: Longest input; longer ones are truncated.
        alignment: Contrastive training on parallel texts, without labels.
        classification: Supervised training on what the corpus says the model is trained on.
    """

    seed: int = 0
    d_model: int = 128
    n_layers: int = 2
    n_heads: int = 4
    d_ffn: int = 512
    initial_std: float = 0.06
    vocabulary_size: int = 3000
    max_tokens: int = 64
    alignment: AlignmentSettings = field(
        default_factory=lambda: AlignmentSettings(n_steps=200, learning_rate=3.5e-3)
    )
    classification: TrainingSettings = field(default_factory=lambda: TrainingSettings(n_steps=800))

    @property
    def identity(self) -> str:
        """Hash of the recipe, the corpus it is trained on and the version of the code."""
        content = {
            "recipe": asdict(self),
            "corpus": mini_corpus(self.seed).fingerprint,
            "code_version": CODE_VERSION,
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def base_model_path(directory: Path, recipe: MiniRecipe = MiniRecipe()) -> Path:
    """Return where the base model of a recipe is, or would be, among ``directory``'s models."""
    return directory / f"mini-{recipe.identity[:12]}"
