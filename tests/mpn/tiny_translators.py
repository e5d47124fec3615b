"""Tiny translation models in the hub's own layout: real tokenizers, random weights that babble."""

import contextlib
import io
import json
from pathlib import Path

import sentencepiece
import torch
from transformers import (
    GenerationConfig,
    M2M100Config,
    M2M100ForConditionalGeneration,
    M2M100Tokenizer,
    MarianConfig,
    MarianMTModel,
    MarianTokenizer,
    NllbTokenizer,
)

from mpn.data.mini.claims import mini_corpus
from mpn.seeding import torch_generator

_SHAPE = {
    "d_model": 16,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 32,
    "decoder_ffn_dim": 32,
    "max_position_embeddings": 64,
}


def save_tiny_marian(
    folder: Path, *, source: str = "en", target: str = "fr", codes: tuple[str, ...] = ()
) -> Path:
    """Save a Marian model of one direction, or with ``>>code<<`` tokens, of one to several."""
    folder.mkdir(parents=True)
    pieces = _train_pieces(folder / "source.spm")
    (folder / "target.spm").write_bytes((folder / "source.spm").read_bytes())
    special = ["</s>", "<unk>"]
    words = [piece for piece in pieces if piece not in ("<s>", "</s>", "<unk>")]
    tokens = [*special, *(f">>{code}<<" for code in codes), *words, "<pad>"]
    _write_json(folder / "vocab.json", {token: i for i, token in enumerate(tokens)})
    tokenizer = MarianTokenizer(
        str(folder / "source.spm"),
        str(folder / "target.spm"),
        str(folder / "vocab.json"),
        source_lang=source,
        target_lang=target,
        model_max_length=64,
    )
    pad = len(tokens) - 1
    config = MarianConfig(
        vocab_size=len(tokens),
        pad_token_id=pad,
        eos_token_id=0,
        decoder_start_token_id=pad,
        forced_eos_token_id=0,
        **_SHAPE,
    )
    model = MarianMTModel(config)
    model.generation_config = GenerationConfig(
        bad_words_ids=[[pad]],
        decoder_start_token_id=pad,
        eos_token_id=0,
        forced_eos_token_id=0,
        max_length=64,
        num_beams=6,
        pad_token_id=pad,
    )
    return _save(folder, model, tokenizer, f"marian {source} {target}")


def save_tiny_m2m100(folder: Path) -> Path:
    """Save an M2M100 model, which has tokens for a hundred languages."""
    folder.mkdir(parents=True)
    pieces = _train_pieces(folder / "sentencepiece.bpe.model")
    words = [piece for piece in pieces if piece not in ("<s>", "</s>", "<unk>")]
    tokens = ["<s>", "<pad>", "</s>", "<unk>", *words]
    _write_json(folder / "vocab.json", {token: i for i, token in enumerate(tokens)})
    tokenizer = M2M100Tokenizer(
        str(folder / "vocab.json"), str(folder / "sentencepiece.bpe.model"), model_max_length=64
    )
    n_tokens = len(tokens) + len(tokenizer.lang_code_to_id) + tokenizer.num_madeup_words
    return _save(folder, _m2m100(n_tokens), tokenizer, "m2m100")


def save_tiny_nllb(folder: Path) -> Path:
    """Save an NLLB model: M2M100's architecture, a tokenizer of its own, codes like fra_Latn."""
    folder.mkdir(parents=True)
    characters = sorted(set("".join(_texts())) - {" "})
    tokens = ["<s>", "<pad>", "</s>", "<unk>", "▁", *characters]
    tokenizer = NllbTokenizer(vocab={token: i for i, token in enumerate(tokens)}, merges=[])
    return _save(folder, _m2m100(len(tokenizer)), tokenizer, "nllb")


def _m2m100(n_tokens: int) -> M2M100ForConditionalGeneration:
    model = M2M100ForConditionalGeneration(M2M100Config(vocab_size=n_tokens, **_SHAPE))
    model.generation_config = GenerationConfig(
        bos_token_id=0,
        decoder_start_token_id=2,
        early_stopping=True,
        eos_token_id=2,
        max_length=200,
        num_beams=5,
        pad_token_id=1,
    )
    return model


def _texts() -> list[str]:
    """Some of the embedded corpus, in all of its languages."""
    return [
        segment
        for example in mini_corpus().examples[:60]
        for text in example.texts.values()
        for segment in text
    ]


def _train_pieces(path: Path) -> list[str]:
    """Train sentence pieces; return them."""
    trained = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(_texts()),
        model_writer=trained,
        vocab_size=300,
        hard_vocab_limit=False,
        character_coverage=1.0,
        num_threads=1,
        minloglevel=2,
    )
    path.write_bytes(trained.getvalue())
    processor = sentencepiece.SentencePieceProcessor(model_proto=trained.getvalue())
    return [processor.id_to_piece(i) for i in range(processor.get_piece_size())]


def _save(folder: Path, model, tokenizer, name: str) -> Path:
    generator = torch_generator("tiny translator", name)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(std=0.4, generator=generator)
        model.get_input_embeddings().weight[model.config.eos_token_id] *= 10  # some end
    model.save_pretrained(folder)
    with contextlib.suppress(OSError):
        tokenizer.save_pretrained(folder)
    return folder


def _write_json(path: Path, content: dict) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
