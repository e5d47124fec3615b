"""What all trials on one model and corpus share: roles, edits, memory, panels, caches."""

import functools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor

from mpn.backbones import Backbone, Positions
from mpn.data.corpus import Corpus
from mpn.data.labels import label_key
from mpn.data.settings import EditChoice
from mpn.data.splits import Roles, choose_edits, deal_stream, permutation, split_roles
from mpn.editors.hypernetworks.lessons import Lessons
from mpn.editors.hypernetworks.settings import HypernetworkSettings
from mpn.editors.reach import Remembers
from mpn.edits import ParallelEdit, ParallelExample
from mpn.engines.opening import Changes, EngineName, open_engine
from mpn.engines.protocol import Engine
from mpn.errors import MpnInputError
from mpn.memory import MemoryBank, MemoryTexts
from mpn.metrics.audience import Panel
from mpn.pairing import PairingSettings, inverse_accuracies
from mpn.queries import QueryCache
from mpn.streams.data import StreamData

_PROBES = 8


class Workbench:
    """A model and a corpus, made ready for edits; kept warm from trial to trial.

    Attributes:
        backbone: The model.
        languages: The corpus's, source first.
        roles: Who is edited, remembered, evaluated on.
    """

    def __init__(
        self,
        backbone: Backbone,
        corpus: Corpus,
        *,
        source_language: str,
        seed: int,
        evaluation_examples: int | Literal["all"] = "all",
        evaluation_sample: int = 48,
        neighbours: int,
        edits: EditChoice = "mistakes",
        cache: QueryCache,
    ) -> None:
        """Split the corpus.

        Args:
            backbone: The model.
            corpus: The corpus; its labels are some of the model's, in any order and spelling.
            source_language: Language of the edit requests.
            seed: Of the data.
            evaluation_examples: Examples that locality is measured on, in every language.
            evaluation_sample: How many of them, at layers below the last.
            neighbours: Examples near each edit that near locality is measured on.
            edits: Which examples are edited.
            cache: Keeps FFN inputs.

        Raises:
            MpnInputError: If the corpus has no such language, or a label that the model lacks.
        """
        if source_language not in corpus.languages:
            raise MpnInputError(
                "streams.source_language",
                f"{source_language} is not in {corpus.name}",
                f"it has {' '.join(corpus.languages)}",
            )
        self.backbone = backbone
        self.languages = (
            source_language,
            *sorted(set(corpus.languages) - {source_language}),
        )
        numbers = _model_labels(corpus, backbone)
        numbered = corpus.relabelled(backbone.labels, numbers)
        self.roles: Roles = split_roles(numbered, seed=seed)
        self._labels = sorted(numbers)
        self._choice: EditChoice = edits
        self._seed, self._n_neighbours = seed, neighbours
        n_all = len(self.roles.evaluation)
        self._n_evaluation = n_all if evaluation_examples == "all" else evaluation_examples
        self._n_sample = min(evaluation_sample, self._n_evaluation)
        self._cache = cache
        self._remembered: dict[int, Panel] = {}
        self._engines: dict[tuple[int, Positions, EngineName, Changes], Any] = {}

    def engine(
        self,
        layer: int | Literal["last"],
        positions: Positions,
        name: EngineName,
        changes: Changes = "neurons",
    ) -> Any:
        """Open a site; its split is checked against the whole model once.

        Returns:
            An :class:`mpn.engines.protocol.Engine`.
        """
        index = self.backbone.layer_index(layer)
        key = (index, positions, name, changes)
        if key not in self._engines:
            if name == "cached" and changes != "model":
                self.backbone.verify_split(self.evaluation_sample.texts[:_PROBES], index)
            self._engines[key] = open_engine(
                name,
                self.backbone,
                layer=index,
                positions=positions,
                changes=changes,
                cache=self._cache,
            )
        return self._engines[key]

    @functools.cached_property
    def edits(self) -> tuple[ParallelEdit, ...]:
        """All edits that streams are dealt from."""
        source = self.languages[0]
        texts = [example.texts[source] for example in self.roles.edit]
        engine = self.engine("last", "all", "cached")
        predictions = engine.predictions(engine.load(texts))[0].tolist()
        return choose_edits(
            self.roles.edit,
            predictions,
            source_language=source,
            seed=self._seed,
            choice=self._choice,
            labels=self._labels,
        )

    @functools.cached_property
    def evaluation(self) -> Panel:
        """Unrelated texts in every language, balanced over languages."""
        return self._panel(self._n_evaluation)

    @functools.cached_property
    def evaluation_sample(self) -> Panel:
        """The part of :attr:`evaluation` that is measured on below the last layer."""
        return self._panel(self._n_sample)

    def _panel(self, n_examples: int) -> Panel:
        order = permutation(len(self.roles.evaluation), self._seed, "evaluation")
        chosen = [self.roles.evaluation[i] for i in order[:n_examples]]
        return Panel.of([(example, language) for example in chosen for language in self.languages])

    def remembered(self, size: int) -> Panel:
        """Return up to ``size`` texts for the memory, of all languages, in random order.

        Where the corpus says what the model was trained on, only such texts are taken.
        """
        if size not in self._remembered:
            pairs = [(e, language) for e in self.roles.memory for language in self.languages]
            trained = [(e, language) for e, language in pairs if language in e.trained_languages]
            pairs = trained or pairs
            order = permutation(len(pairs), self._seed, "memory")
            self._remembered[size] = Panel.of([pairs[i] for i in order[:size]])
        return self._remembered[size]

    def memory(self, engine: Engine[Any], wanted: Remembers | None) -> MemoryBank:
        """Return the memory bank at an engine's site; an empty one if nothing is wanted."""
        bank = MemoryBank.none(self.backbone.d_model)
        if wanted is not None and wanted.queries:
            queries = self._memory_queries(engine, wanted.queries, wanted.positions)
            bank = MemoryBank.of(queries, held_out_share=wanted.held_out_share)
        if wanted is not None and wanted.texts:
            rows = engine.load(self.remembered(wanted.texts).texts)
            with torch.no_grad():
                reference = engine.logits(rows)[0].log_softmax(-1)
            bank = replace(bank, texts=MemoryTexts(rows, reference))
        return bank

    def lessons(self, settings: HypernetworkSettings) -> Lessons:
        """Return what a hypernetwork is trained on: the memory's examples.

        Raises:
            MpnInputError: See :class:`mpn.editors.hypernetworks.lessons.Lessons`.
        """
        reach = settings.reach
        engine = self.engine(reach.layer, reach.positions, "cached", reach.changes)
        return Lessons(engine, self.roles.memory, self.languages, self._labels, settings)

    def _memory_queries(self, engine: Engine[Any], size: int, positions: Positions) -> Tensor:
        queries = engine.token_queries(self.remembered(size).texts, positions)
        if positions == "all":
            order = permutation(len(queries), self._seed, "memory positions")
            queries = queries[order[:size]]
        return queries

    def stream_data(
        self,
        engine: Engine[Any],
        stream: int,
        n_edits: int,
        pairing: PairingSettings,
        *,
        seed: int,
    ) -> StreamData:
        """Return what one stream edits and measures on.

        Raises:
            MpnInputError: If there are too few examples to edit, or the pairing asks for
                languages that are not there.
        """
        evaluation = self.evaluation_at(engine)
        edits = deal_stream(self.edits, stream=stream, n_edits=n_edits, choice=self._choice)
        source, *targets = self.languages
        weights = self._drawing_weights(pairing)
        drawn_from = pairing.drawn_from(
            targets, source=source, seed=seed, stream=stream, weights=weights
        )
        if weights is not None:
            candidates = pairing.may_draw(targets)
            weights = weights[[candidates.index(language) for language in drawn_from]]
        return StreamData(
            stream,
            edits,
            self.languages,
            drawn_from,
            tuple(
                pairing.seen(drawn_from, seed=seed, stream=stream, edit=position, weights=weights)
                for position in range(n_edits)
            ),
            self._neighbours(edits),
            evaluation,
            self.remembered(len(evaluation.texts)),
            weights,
        )

    @functools.cached_property
    def accuracies(self) -> dict[str, float]:
        """The base model's accuracy on :attr:`evaluation`, in each language."""
        panel, engine = self.evaluation, self.engine("last", "all", "cached")
        right = engine.predictions(engine.load(panel.texts))[0] == torch.tensor(panel.labels)
        names, numbers = panel.by_language
        return {name: right[numbers == i].double().mean().item() for i, name in enumerate(names)}

    def _drawing_weights(self, pairing: PairingSettings) -> Tensor | None:
        """Return how often each candidate is drawn; None: all alike."""
        candidates = pairing.may_draw(self.languages[1:])
        if pairing.weights == "uniform":
            return None
        accuracies = [self.accuracies[language] for language in candidates]
        return inverse_accuracies(accuracies, self._n_evaluation)

    def evaluation_at(self, engine: Engine[Any]) -> Panel:
        """Return unrelated texts to measure on: all, but for sites where each costs a lot."""
        is_cheap = self.backbone.reads_cls_only(engine.layer)
        return self.evaluation if is_cheap else self.evaluation_sample

    def _neighbours(self, edits: Sequence[ParallelEdit]) -> tuple[tuple[ParallelExample, ...], ...]:
        """Choose, for each edit, examples near it that are neither edited nor remembered."""
        edited = {edit.example.group for edit in edits}
        found = []
        for edit in edits:
            near = [
                example
                for example in (*self.roles.edit, *self.roles.evaluation)
                if edit.example.neighbourhood is not None
                and example.neighbourhood == edit.example.neighbourhood
                and example.group not in edited
            ]
            order = permutation(len(near), self._seed, "neighbours", edit.edit_id)
            found.append(tuple(near[i] for i in order[: self._n_neighbours]))
        return tuple(found)


def _model_labels(corpus: Corpus, backbone: Backbone) -> list[int]:
    """Return the model's number of each label of the corpus, however both spell it.

    Raises:
        MpnInputError: If the model lacks one.
    """
    numbers = {label_key(label): number for number, label in enumerate(backbone.labels)}
    if any(label_key(label) not in numbers for label in corpus.labels):
        raise MpnInputError(
            f"{backbone.directory}",
            f"the model's labels are {', '.join(backbone.labels)}, those of {corpus.name} "
            f"{', '.join(corpus.labels)}",
            "name the model's labels in the order of its logits, as in backbone.labels: "
            f"[{', '.join(corpus.labels)}]",
        )
    return [numbers[label_key(label)] for label in corpus.labels]
