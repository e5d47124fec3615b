"""A translation model in one process: batches of texts in, texts out, always the same."""

import copy
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from mpn.errors import MpnInputError
from mpn.translation.codes import check_target, code_for
from mpn.translation.routes import Kind, Route, kind_of
from mpn.translation.settings import TranslatorSettings

_FLORES_CODE = re.compile(r"[a-z]{3}_[A-Z][a-z]{3}")


@dataclass(frozen=True)
class Translated:
    """A text in another language.

    Attributes:
        text: Without space around it.
        truncated: Whether the model could not take the whole text, or did not end its own.
    """

    text: str
    truncated: bool


class Translator:
    """A model of the Marian or M2M100 architecture (NLLB is one), kept warm.

    Decoding is a beam search without sampling, so equal batches give equal texts.
    """

    def __init__(self, directory: Path, *, device: str) -> None:
        """Load a model folder: safetensors, and no code but the library's.

        Raises:
            MpnInputError: If it cannot be loaded.
        """
        self.directory = directory
        self._kind = kind_of(directory)
        self._tokenizer = load_tokenizer(directory)
        try:
            model: Any = AutoModelForSeq2SeqLM.from_pretrained(
                directory, use_safetensors=True, local_files_only=True
            )
        except (OSError, ValueError) as error:
            raise MpnInputError(
                "translator.name",
                f"{directory} cannot be loaded ({str(error).splitlines()[0]})",
                "give a folder with config.json, a tokenizer and safetensors; weights in another "
                "format are to be converted with save_pretrained first",
            ) from error
        self._device = torch.device(device)
        self._model = model.eval().to(self._device)
        self._pad = model.config.pad_token_id
        is_multilingual = self._kind == "m2m_100"
        self._languages = set(_language_ids(self._tokenizer).values()) if is_multilingual else ()

    def translate(
        self, texts: Iterable[str], route: Route, settings: TranslatorSettings
    ) -> dict[str, Translated]:
        """Translate distinct texts, in batches of similar length.

        Args:
            texts: Whatever; blank ones stay blank.
            route: The direction.
            settings: How to decode.

        Returns:
            Each text, to what became of it.

        Raises:
            MpnInputError: If the model does not know a language.
        """
        distinct = sorted(set(texts), key=lambda text: (len(text), text))
        said = {text: Translated("", False) for text in distinct if not text.strip()}
        waiting = [text for text in distinct if text not in said]
        for first in range(0, len(waiting), settings.batch):
            batch = waiting[first : first + settings.batch]
            said |= zip(batch, self._translated(batch, route, settings), strict=True)
        return said

    def _translated(
        self, texts: Sequence[str], route: Route, settings: TranslatorSettings
    ) -> list[Translated]:
        tokenizer, model = self._tokenizer, self._model
        address = address_of(tokenizer, self._kind, route, settings.codes)
        if address.source_code is not None:
            tokenizer.src_lang = address.source_code
        limit = min(
            settings.max_tokens,
            tokenizer.model_max_length,
            model.config.max_position_embeddings,
        )
        asked = [address.prefix + text for text in texts]
        lengths = [len(ids) for ids in tokenizer(asked, verbose=False)["input_ids"]]
        inputs = tokenizer(
            asked, padding=True, truncation=True, max_length=limit, return_tensors="pt"
        )
        config = copy.deepcopy(model.generation_config)
        config.update(
            num_beams=settings.beams,
            do_sample=False,
            early_stopping=config.early_stopping if settings.beams > 1 else None,
            num_return_sequences=1,
            max_length=limit,
            forced_bos_token_id=address.target_id,
        )
        with torch.inference_mode():
            output = model.generate(**inputs.to(self._device), generation_config=config)
        made = [[token for token in row if token != self._pad] for row in output[:, 1:].tolist()]
        said = tokenizer.batch_decode(
            [[token for token in row if token not in self._languages] for row in made],
            skip_special_tokens=True,
        )
        return [
            Translated(text.strip(), length > limit or len(row) >= limit - 1)
            for text, length, row in zip(said, lengths, made, strict=True)
        ]


@dataclass(frozen=True)
class Address:
    """How a model is told what to translate to what.

    Attributes:
        source_code: What the tokenizer is told, or None if it needs nothing.
        prefix: What stands before each text.
        target_id: Token that every translation begins with, or None.
    """

    source_code: str | None
    prefix: str
    target_id: int | None


def address_of(tokenizer: Any, kind: Kind, route: Route, codes: Mapping[str, str]) -> Address:
    """Find out how a model is told a direction.

    Args:
        tokenizer: The model's.
        kind: Its architecture.
        route: The direction.
        codes: What the user says that it calls languages.

    Raises:
        MpnInputError: If the model does not know one of the languages, or says that it is for
            another.
    """
    source, target, model = route.source, route.target, route.model
    if kind == "m2m_100":
        ids = _language_ids(tokenizer)
        source_code = code_for(source, ids, codes.get(source), model=model)
        target_code = code_for(target, ids, codes.get(target), model=model)
        return Address(source_code, "", ids[target_code])
    known = [token[2:-2] for token in tokenizer.supported_language_codes]
    if known:
        code = code_for(target, known, codes.get(target), model=model)
        return Address(None, f">>{code}<< ", None)
    check_target(target, tokenizer.target_lang, codes.get(target), model=model)
    return Address(None, "", None)


def load_tokenizer(directory: Path) -> Any:
    """Load the tokenizer of a model folder.

    Raises:
        MpnInputError: If it cannot be loaded.
    """
    try:
        return AutoTokenizer.from_pretrained(directory, local_files_only=True)
    except Exception as error:  # tokenizers raise many kinds for damaged files
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise MpnInputError(
            "translator.name",
            f"the tokenizer in {directory} cannot be loaded ({first})",
            "give a folder with the model's own tokenizer files",
        ) from error


def check_languages(routes: Iterable[Route], codes: Mapping[str, str]) -> None:
    """Refuse languages that models do not know, without loading their weights.

    Raises:
        MpnInputError: For the first.
    """
    for route in routes:
        tokenizer = load_tokenizer(route.directory)
        address_of(tokenizer, kind_of(route.directory), route, codes)


def _language_ids(tokenizer: Any) -> dict[str, int]:
    """Return the languages of an M2M100 or NLLB tokenizer, and their tokens."""
    if hasattr(tokenizer, "lang_code_to_id"):
        return dict(tokenizer.lang_code_to_id)
    added: dict[str, int] = tokenizer.get_vocab()
    return {token: number for token, number in added.items() if _FLORES_CODE.fullmatch(token)}
