"""Translates the rows of one shard, batch by batch, so that it can go on behind any batch."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from mpn.edits import ParallelExample, Text
from mpn.translation.checks import chrf, faults, normalised
from mpn.translation.lines import Line, order_of
from mpn.translation.routes import Route, Routes
from mpn.translation.settings import TranslatorSettings
from mpn.translation.translator import Translated, Translator

Translators = Callable[[Route], Translator]
"""Gives the warm model of a direction."""


def translate_rows(
    rows: Sequence[ParallelExample],
    source: str,
    routes: Routes,
    translators: Translators,
    settings: TranslatorSettings,
    *,
    done: int,
) -> Iterator[list[tuple[int, Line]]]:
    """Translate rows, long ones first.

    A batch is made of the same rows wherever the work was interrupted before, so a line does not
    depend on it.

    Args:
        rows: The shard.
        source: The language to translate from.
        routes: The models.
        translators: Gives them, loaded.
        settings: How to decode.
        done: How many rows were yielded by an earlier run: whole batches.

    Yields:
        For each batch, the places in ``rows`` of its lines, and the lines.
    """
    texts = [row.texts[source] for row in rows]
    order = order_of(texts)
    for first in range(done, len(order), settings.batch):
        places = order[first : first + settings.batch]
        batch = _Batch([texts[place] for place in places], routes, translators, settings)
        spare = [not rows[place].rephrases.get(source) for place in places]
        lines = batch.lines([rows[place].example_id for place in places], spare)
        yield list(zip(places, lines, strict=True))


class _Batch:
    """Some texts, and everything that is made of them."""

    def __init__(
        self,
        sources: Sequence[Text],
        routes: Routes,
        translators: Translators,
        settings: TranslatorSettings,
    ) -> None:
        self._sources = sources
        self._routes = routes
        self._translators = translators
        self._settings = settings

    def lines(self, ids: Sequence[str], spare: Sequence[bool]) -> list[Line]:
        """Make the lines; ``spare`` says which rows have no rephrases of their own."""
        routes = self._routes
        forward = _unchanged(self._sources)
        if routes.forward is not None:
            forward = self._through(routes.forward, self._sources)
        texts = [_text_of(forward, source) for source in self._sources]
        scores: list[float | None] = [None] * len(texts)
        if routes.back is not None:
            back = self._through(routes.back, texts)
            scores = [
                _score(s, _text_of(back, t)) for s, t in zip(self._sources, texts, strict=True)
            ]
        if routes.forward is not None:
            spare = [True] * len(texts)
        rephrases = self._rephrases(texts, spare)
        return [
            Line(
                id_,
                text,
                score,
                any(forward[segment].truncated for segment in source),
                tuple(others),
            )
            for id_, source, text, score, others in zip(
                ids, self._sources, texts, scores, rephrases, strict=True
            )
        ]

    def _rephrases(self, texts: Sequence[Text], spare: Sequence[bool]) -> list[list[Text]]:
        found: list[list[Text]] = [[] for _ in texts]
        asked = [place for place, is_spare in enumerate(spare) if is_spare]
        for there, and_back in self._routes.detours:
            out = self._through(there, [texts[place] for place in asked])
            abroad = {place: _text_of(out, texts[place]) for place in asked}
            home = self._through(and_back, abroad.values())
            for place in asked:
                whole = not any(
                    said[segment].truncated
                    for said, text in ((out, texts[place]), (home, abroad[place]))
                    for segment in text
                )
                said = _text_of(home, abroad[place])
                if whole and _says_it_otherwise(said, [texts[place], *found[place]]):
                    found[place].append(said)
        return found

    def _through(self, route: Route, texts: Iterable[Text]) -> Mapping[str, Translated]:
        segments = (segment for text in texts for segment in text)
        return self._translators(route).translate(segments, route, self._settings)


def _says_it_otherwise(text: Text, known: Sequence[Text]) -> bool:
    """Whether a rephrase differs from what is there, and loses nothing of the first."""
    plain = [normalised(segment) for segment in text]
    is_new = all(plain != [normalised(segment) for segment in other] for other in known)
    return is_new and all(plain) and not faults(known[0], text)


def _score(source: Text, returned: Text) -> float:
    return min(chrf(a, b) for a, b in zip(source, returned, strict=True))


def _text_of(said: Mapping[str, Translated], text: Text) -> Text:
    return tuple(said[segment].text for segment in text)


def _unchanged(texts: Iterable[Text]) -> Mapping[str, Translated]:
    return {segment: Translated(segment, False) for text in texts for segment in text}
