"""The base model of the embedded corpus: a small XLM-R, trained once and kept on disk."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from tokenizers.processors import TemplateProcessing
from transformers import (
    PreTrainedTokenizerFast,
    XLMRobertaConfig,
    XLMRobertaForSequenceClassification,
)

from mpn.data.corpus import Corpus
from mpn.data.mini.claims import mini_corpus
from mpn.data.mini.recipe import MiniRecipe, base_model_path
from mpn.data.model_folders import publish_model
from mpn.edits import Text
from mpn.seeding import torch_generator
from mpn.training import (
    align_parallel_texts,
    train_classifier,
)

StageProgress = Callable[[str, int, int], None]
"""Called with the stage ("align" or "classify"), the steps done in it and all its steps."""

SPECIAL_TOKENS = ("<s>", "<pad>", "</s>", "<unk>")
"""In XLM-R's own order, which gives XLM-R's own ids."""


def ensure_base_model(
    directory: Path,
    recipe: MiniRecipe = MiniRecipe(),
    progress: StageProgress | None = None,
) -> Path:
    """Return the trained base model of a recipe, training it where it is not there yet.

    The model is built beside its final place and renamed into it: if the directory exists, it is
    complete. Two processes at once may both train; the first to finish wins, and both return the
    same valid model. Training runs on one thread, so that the number of cores does not change
    the weights.

    Args:
        directory: Where models are kept; made if it does not exist.
        recipe: What to train; another recipe is another model with another path.
        progress: Told about every training step; not called where the model exists.

    Returns:
        A Hugging Face directory, ready for ``AutoModelForSequenceClassification`` and
        ``AutoTokenizer``.
    """
    final = base_model_path(directory, recipe)
    if final.is_dir():
        return final
    with _single_thread():
        model, tokenizer = _train(recipe, progress)
    return publish_model(final, model, tokenizer)


def _train(recipe: MiniRecipe, progress: StageProgress | None) -> tuple[Any, Any]:
    corpus = mini_corpus(recipe.seed)
    tokenizer = _tokenizer(corpus, recipe)
    model = _untrained_model(corpus, recipe, tokenizer)
    meanings = [
        {
            language: (example.texts[language], *example.rephrases[language])
            for language in corpus.languages
        }
        for example in corpus.examples
        if example.example_id.endswith("/t0")
    ]
    align_parallel_texts(
        model,
        tokenizer,
        meanings,
        recipe.alignment,
        torch_generator(recipe.seed, "mini", "alignment"),
        _stage(progress, "align"),
    )
    covered: list[tuple[Text, int]] = [
        (example.texts[language], example.label)
        for example in corpus.examples
        for language in sorted(example.trained_languages)
    ]
    train_classifier(
        model,
        tokenizer,
        [text for text, _ in covered],
        [label for _, label in covered],
        recipe.classification,
        torch_generator(recipe.seed, "mini", "classification"),
        _stage(progress, "classify"),
    )
    return model, tokenizer


def _stage(progress: StageProgress | None, stage: str) -> Callable[[int, int], None] | None:
    if progress is None:
        return None
    return lambda done, total: progress(stage, done, total)


def _tokenizer(corpus: Corpus, recipe: MiniRecipe) -> Any:
    """Train a BPE tokenizer on all texts of the corpus, in the manner of XLM-R's."""
    bos, pad, eos, unknown = SPECIAL_TOKENS
    backend = Tokenizer(models.BPE(unk_token=unknown))
    backend.normalizer = normalizers.NFKC()
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.decoder = decoders.Metaspace()
    backend.train_from_iterator(
        (text for example in corpus.examples for (text,) in example.texts.values()),
        trainers.BpeTrainer(
            vocab_size=recipe.vocabulary_size,
            special_tokens=list(SPECIAL_TOKENS),
            show_progress=False,
        ),
    )
    backend.post_processor = TemplateProcessing(
        single=f"{bos} $A {eos}",
        pair=f"{bos} $A {eos} {eos} $B {eos}",
        special_tokens=[(token, SPECIAL_TOKENS.index(token)) for token in (bos, eos)],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token=bos,
        cls_token=bos,
        eos_token=eos,
        sep_token=eos,
        pad_token=pad,
        unk_token=unknown,
        model_max_length=recipe.max_tokens,
        model_input_names=["input_ids", "attention_mask"],
    )


def _untrained_model(corpus: Corpus, recipe: MiniRecipe, tokenizer: Any) -> Any:
    config = XLMRobertaConfig(
        vocab_size=len(tokenizer),
        hidden_size=recipe.d_model,
        num_hidden_layers=recipe.n_layers,
        num_attention_heads=recipe.n_heads,
        intermediate_size=recipe.d_ffn,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        # XLM-R counts positions from the padding id + 1
        max_position_embeddings=recipe.max_tokens + tokenizer.pad_token_id + 1,
        type_vocab_size=1,
        initializer_range=recipe.initial_std,
        bos_token_id=tokenizer.bos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        id2label=dict(enumerate(corpus.labels)),
        label2id={label: index for index, label in enumerate(corpus.labels)},
    )
    with torch.random.fork_rng(devices=[]):  # the constructor draws weights of its own
        model = XLMRobertaForSequenceClassification(config)
    generator = torch_generator(recipe.seed, "mini", "weights")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1:
                parameter.normal_(std=recipe.initial_std, generator=generator)
            else:
                parameter.fill_(1.0 if name.endswith("LayerNorm.weight") else 0.0)
        model.base_model.embeddings.word_embeddings.weight[tokenizer.pad_token_id].zero_()
    return model


@contextmanager
def _single_thread() -> Iterator[None]:
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(n_threads)
