"""A small untrained BERT for any corpus: to try a study out before the real model is at hand."""

from collections import Counter
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from tokenizers.processors import TemplateProcessing
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

from mpn.data.corpus import Corpus
from mpn.data.model_folders import publish_model
from mpn.seeding import torch_generator

_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
_MAX_TOKENS = 128
_VOCABULARY_SIZE = 8000
_INITIAL_STD = 0.1


def ensure_scratch_model(final: Path, corpus: Corpus) -> Path:
    """Make the model of a corpus, unless it is there.

    BERT with 2 layers of width 64, random weights, and a word-piece tokenizer of the corpus's
    own characters and words. Its predictions mean nothing; what is edited on it is real text.

    Args:
        final: The model's folder; complete if it is there.
        corpus: Gives the texts and the labels.

    Returns:
        ``final``, a Hugging Face directory.
    """
    if final.is_dir():
        return final
    tokenizer = _tokenizer(corpus)
    return publish_model(final, _untrained(corpus, tokenizer), tokenizer)


def _tokenizer(corpus: Corpus) -> Any:
    normalizer = normalizers.BertNormalizer(lowercase=False)
    pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    words = Counter(
        word
        for example in corpus.examples
        for language in corpus.languages
        for segment in example.texts[language]
        for word, _ in pre_tokenizer.pre_tokenize_str(normalizer.normalize_str(segment))
    )
    backend = Tokenizer(models.WordPiece(_vocabulary(words), unk_token="[UNK]"))
    backend.normalizer = normalizer
    backend.pre_tokenizer = pre_tokenizer
    backend.decoder = decoders.WordPiece()
    backend.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(token, _SPECIAL.index(token)) for token in ("[CLS]", "[SEP]")],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_max_length=_MAX_TOKENS,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )


def _vocabulary(words: Counter[str]) -> dict[str, int]:
    """Return every character, alone and inside of words, and the most frequent words.

    The library's own trainer gives another vocabulary at each run.
    """
    characters = sorted({character for word in words for character in word})
    frequent = sorted(words, key=lambda word: (-words[word], word))
    pieces = [*_SPECIAL, *characters, *(f"##{c}" for c in characters), *frequent]
    return {piece: i for i, piece in enumerate(list(dict.fromkeys(pieces))[:_VOCABULARY_SIZE])}


def _untrained(corpus: Corpus, tokenizer: Any) -> Any:
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=256,
        max_position_embeddings=_MAX_TOKENS,
        pad_token_id=tokenizer.pad_token_id,
        id2label=dict(enumerate(corpus.labels)),
        label2id={label: index for index, label in enumerate(corpus.labels)},
    )
    with torch.random.fork_rng(devices=[]):  # the constructor draws weights of its own
        model = BertForSequenceClassification(config)
    generator = torch_generator("scratch model", corpus.fingerprint)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(std=_INITIAL_STD, generator=generator)
    return model
