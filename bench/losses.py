"""Which loss pays with few labels: InfoNCE against what a reranker of the same labels says of mined passages.

A part is a set and a seed: 240 of the set's train queries, each with one of its passages, and 100 of its dev queries,
which measure; the test is not read. The corpus is their passages and 200 others. Every text is cut to 64 tokens, for
training, reranking and search alike: what is compared is the loss.

The reranker is cross-fitted: two of them, each trained from the base on half of the labels, in lists of an answer and
the two best mined passages (`adapt --reranker` has all labels and lists of five), and each says what it thinks of six
mined passages of the queries of the other half. All ways train from the base on the same queries, and see as many
passages (three for each query), which takes about the same time. Differences are paired by query, against InfoNCE with
one mined negative.

    python bench/losses.py --part SET/SEED [--part SET/SEED ...] [--way WAY ...]
    python bench/losses.py --stages SET/SEED [--stages SET/SEED ...]
    python bench/losses.py

The first writes the part into bench/results/losses.json; the second, beside it, what the mean of both rerankers makes
of the best 50 of InfoNCE's student, for the first 25 dev queries; the third prints the tables. What was trained is kept
under runs/bench/losses, and a part that was stopped goes on.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor, nn

from denizen.data.near_duplicates import clusters
from denizen.data.relatedness import not_negatives
from denizen.data.tables import each, rows_table, texts, texts_by_id, with_column
from denizen.engine.files import json_digest
from denizen.engine.progress import Silent
from denizen.measuring.fusion import CONVEX, fused_runs
from denizen.measuring.keywords import by_words_and_pairs
from denizen.measuring.provenance import machine
from denizen.measuring.reranking import SHARES
from denizen.measuring.retrieval import measure, per_query
from denizen.measuring.significance import mean_differences, paired_difference
from denizen.retrievers.bi_encoder import BiEncoder, Encoders
from denizen.retrievers.cross_encoder import Reranker
from denizen.retrievers.encoding import Encoding
from denizen.retrievers.loading import load_encoder, locate
from denizen.retrievers.reranked import RESCORED, mixed, scored
from denizen.supervision import mining
from denizen.training import bi_encoder, cross_encoder
from denizen.training.losses import LOSSES, InfoNCE, Loss
from denizen.training.train import Pass, Training
from few_labels import SETS as ALL_SETS
from few_labels import Labelled, draw_labels, read_labelled
from measuring import RESULTS, RUNS, chosen_of, data, shown

_FOLDER, _BASE = "losses", "all-MiniLM-L6-v2"
_SETS, _SEEDS = ("tatqa", "obliqa", "policyqa"), (1, 2)
_LABELS, _DEV, _OTHERS, _TOKENS = 240, 100, 200, 64
# passages that a row sees over a whole training
_SEEN = 3
# mined passages of a query that the reranker looks at; and of a list of it beside the answer
_LOOKED_AT, _LIST = 6, 2
_DEPTH, _WINDOW, _CEILING = 100, (1, 15), 0.95
_STAGE_QUERIES, _TIMED = 25, 5
_MEASURES = ("MRR@5", "nDCG@10", "Recall@100")
_AGAINST = "infonce"
_SECONDS = "seconds.json"
# of a negative's weight exp(beta * cosine), mean 1 over its row's (Robinson et al., arXiv 2010.04592, who take .5 to 2)
_HARDNESS = 1.0


@dataclass(frozen=True)
class Part:
    """One set with one draw of labels."""

    data_set: str
    seed: int

    @property
    def asked(self) -> str:
        """As it is asked for."""
        return f"{self.data_set}/{self.seed}"

    @property
    def name(self) -> str:
        """As it is kept."""
        return self.asked


PARTS = [Part(name, seed) for seed in _SEEDS for name in _SETS]


@dataclass(frozen=True)
class Tables:
    """What a part works on; each training query has one answer."""

    corpus: pa.Table
    qrels: pa.Table
    train: Mapping[str, str]
    dev: Mapping[str, str]
    answer: Mapping[str, str]


@dataclass(frozen=True)
class Mined:
    """Of each training query the mined passages, best first, and what a reranker that has not seen it says.

    Attributes:
        passages: Query to passages that are no answer by the labels.
        values: Query and passage to what lists go by: the answer 1, as it is labelled, and what was mined by the score,
            spread to [0, 1] over a query's answer and passages. As they are, scores of so little training differ by
            less than the teacher's temperature, and a list says nothing.
        above: Query to passages that score above the answer.
    """

    passages: Mapping[str, Sequence[str]]
    values: Mapping[tuple[str, str], float]
    above: Mapping[str, Sequence[str]]


class _Hardness(InfoNCE):
    """InfoNCE whose negatives count by exp(beta cos), detached and of mean 1 over a query's negatives."""

    def mean(self, columns: Sequence[Tensor], rows: Sequence[int]) -> Tensor:
        """The mean loss of rows."""
        queries, documents = (
            nn.functional.normalize(part.float(), dim=1) for part in (columns[0], torch.cat(list(columns[1:])))
        )
        scores = queries @ documents.T
        mask = torch.from_numpy(self.relevance.mask(rows))
        own = torch.zeros_like(mask)
        own.fill_diagonal_(True)
        weights = (_HARDNESS * scores.detach()).masked_fill(mask | own, -torch.inf)
        count = (~(mask | own)).sum(dim=1, keepdim=True).log()
        weights = (weights.log_softmax(dim=1) + count).masked_fill(own, 0.0)
        logits = (scores / self.temperature + weights).masked_fill(mask, -torch.inf)
        return (torch.logsumexp(logits, dim=1) - logits.diagonal()).mean()


@contextlib.contextmanager
def _as_infonce(make: Callable[..., nn.Module] | None) -> Iterator[None]:
    """While it lasts the name infonce means another loss."""
    before = LOSSES["infonce"]
    if make is not None:
        LOSSES["infonce"] = Loss(make, masks=True)
    try:
        yield
    finally:
        LOSSES["infonce"] = before


@dataclass(frozen=True)
class Way:
    """A way to train.

    Attributes:
        loss: The loss.
        row: A query and what was mined for it to rows of passages, the positive first.
        instead: What infonce means.
        taught: Whether a list goes by the reranker; else by the label alone, which tells the loss from the teacher.
    """

    loss: str
    row: Callable[[str, str, Mined], Sequence[Sequence[str]]]
    instead: Callable[..., nn.Module] | None = None
    taught: bool = True


def _mined(query: str, answer: str, mined: Mined) -> Sequence[Sequence[str]]:
    return [[answer, *mined.passages[query][:1]]]


def _listed(query: str, answer: str, mined: Mined) -> Sequence[Sequence[str]]:
    return [[answer, *mined.passages[query][:_LIST]]]


def _dropped(query: str, answer: str, mined: Mined) -> Sequence[Sequence[str]]:
    below = [doc_id for doc_id in mined.passages[query] if doc_id not in mined.above[query]]
    return [[answer, *below[:1]]]


def _promoted(query: str, answer: str, mined: Mined) -> Sequence[Sequence[str]]:
    (row,) = _dropped(query, answer, mined)
    return [row, *([best, *row[1:]] for best in mined.above[query][:1])]


WAYS: dict[str, Way] = {
    "infonce": Way("infonce", _mined),
    "listwise": Way("listwise", _listed),
    "graded-bce": Way("graded-bce", _listed),
    "listwise by labels": Way("listwise", _listed, taught=False),
    "dropped": Way("infonce", _dropped),
    "promoted": Way("infonce", _promoted),
    "hardness": Way("infonce", _mined, lambda given: _Hardness(given.model, given.relevance, given.temperature)),
}


def measured(part: Part, base: Path, ways: Sequence[str]) -> dict[str, Any]:
    """The figures of a part, of InfoNCE and of some ways."""
    place, tables, encoders = RUNS / _FOLDER / part.asked, tables_of(part, base), Encoders(RUNS / _FOLDER / "store")
    rerankers, mined = looked_at(part, tables, base, encoders)
    keywords = by_words_and_pairs(tables.corpus)
    words = keywords.search(keywords.index(tables.corpus, Silent()), tables.dev, _DEPTH, Silent())
    found = {"base": measures_of(base, tables, words, encoders)}
    seconds = {}
    for name in dict.fromkeys((_AGAINST, *ways)):
        way = WAYS[name]
        folder = trained(way, part.seed, tables, mined, base, place / name)
        seconds[name] = _seconds(folder)
        found[name] = measures_of(folder, tables, words, encoders)
        print(f"  {part.asked} {name}: " + ", ".join(f"{key} {of.mean():.3f}" for key, of in found[name].items()))
    asked = [name for name, own in mined.passages.items() if own]
    return {
        "set": part.data_set,
        "seed": part.seed,
        "labels": len(tables.train),
        "dev": len(tables.dev),
        "passages": len(tables.corpus),
        "above": sum(map(len, mined.above.values())) / sum(map(len, mined.passages.values())),
        "mined_for": len(asked),
        "reranker_MRR": float(np.mean([1 / (1 + len(mined.above[name])) for name in asked])),
        "chance_MRR": float(np.mean([np.mean(1 / np.arange(1, len(mined.passages[name]) + 2)) for name in asked])),
        "seconds_of_rerankers": [_seconds(folder) for folder in rerankers],
        "seconds": seconds,
        "values": {name: {key: of.tolist() for key, of in own.items()} for name, own in found.items()},
    }


def tables_of(part: Part, base: Path) -> Tables:
    """A part of a set, its texts cut."""
    source, built = ALL_SETS[part.data_set]
    found: Labelled = built(read_labelled(data(source)))
    drawn = sorted(
        draw_labels(found, str(_LABELS), part.seed)["train"] + draw_labels(found, str(_LABELS), part.seed)["dev"]
    )
    dev = sorted(found.links["dev"], key=lambda name: json_digest([name]))[:_DEV]
    links = {name: found.links[side][name] for side, names in (("train", drawn), ("dev", dev)) for name in names}
    wanted = {doc_id for judged in links.values() for doc_id in judged}
    others = sorted(set(found.passages) - wanted, key=lambda name: json_digest([name]))[:_OTHERS]
    cut = _cutter(base)
    rows = []
    for key in sorted({*wanted, *others}):
        row = found.passages[key]
        rows.append((key, "", cut(f"{row.get('title') or ''} {row['text']}".strip()), "", "", key))
    corpus = rows_table("corpus", rows)
    alike = clusters(texts(corpus), 0.9)
    corpus = with_column(with_column(corpus, "cluster", alike), "parent_cluster", alike)
    qrels = rows_table("qrels", [(name, *link) for name in links for link in sorted(links[name].items())])
    question = {name: cut(found.queries[name]["text"]) for name in links}
    answer = {name: min(links[name]) for name in drawn}
    return Tables(
        corpus, qrels, {name: question[name] for name in drawn}, {name: question[name] for name in dev}, answer
    )


def _cutter(base: Path) -> Callable[[str], str]:
    tokenizer = load_encoder(base).tokenizer

    def cut(text: str) -> str:
        ends = tokenizer(text, return_offsets_mapping=True, add_special_tokens=False)["offset_mapping"]
        return text if len(ends) <= _TOKENS else text[: ends[_TOKENS - 1][1]]

    return cut


def looked_at(part: Part, tables: Tables, base: Path, encoders: Encoders) -> tuple[list[Path], Mined]:
    """Two rerankers, each of half of the labels, and what each says of what was mined for the other half."""
    alone = BiEncoder(base, Encoding(backend="torch"), encoders)
    run = alone.search(alone.index(tables.corpus, Silent()), tables.train, _DEPTH, Silent())
    found, _ = mining.mine(
        run, tables.qrels, tables.corpus, list(tables.train), [_WINDOW], retriever="base", positive_ceiling=_CEILING
    )
    passages: dict[str, list[str]] = {name: [] for name in tables.train}
    for query_id, doc_id, role in each(found, "query_id", "doc_id", "role"):
        if role == "negative":
            passages[query_id].append(doc_id)
    text_of, names = texts_by_id(tables.corpus), np.array(sorted(tables.train))
    order = np.random.default_rng(part.seed).permutation(len(names))
    halves = [names[order[at::2]].tolist() for at in (0, 1)]
    folders, scores = [], {}
    for at, half in enumerate(halves):
        lists = [
            cross_encoder.AnswerList(
                tables.train[name], [text_of[doc_id] for doc_id in (tables.answer[name], *passages[name][:_LIST])]
            )
            for name in half
            if len(passages[name]) >= _LIST
        ]
        folder = RUNS / _FOLDER / part.asked / f"reranker-{at}"
        _once(
            folder,
            lambda out, lists=lists: cross_encoder.train(out, base, lists, Pass(seed=part.seed), out / "scratch"),
        )
        folders.append(folder)
        pairs = [
            (name, doc_id) for name in halves[1 - at] for doc_id in (tables.answer[name], *passages[name][:_LOOKED_AT])
        ]
        given = [(tables.train[name], doc_id) for name, doc_id in pairs]
        said = _kept_scores(folder / "said.json", Reranker(folder), given, tables.corpus)
        scores |= dict(zip(pairs, said, strict=True))
    seen = {name: own[:_LOOKED_AT] for name, own in passages.items()}
    above = {
        name: [doc_id for doc_id in own if scores[name, doc_id] > scores[name, tables.answer[name]]]
        for name, own in seen.items()
    }
    best_first = {name: sorted(own, key=lambda doc_id, name=name: -scores[name, doc_id]) for name, own in above.items()}
    values: dict[tuple[str, str], float] = {}
    for name, own in seen.items():
        said = np.array([scores[name, doc_id] for doc_id in (tables.answer[name], *own)])
        spread = (said - said.min()) / max(float(np.ptp(said)), 1e-12)
        values |= {(name, doc_id): float(value) for doc_id, value in zip(own, spread[1:], strict=True)}
        values[name, tables.answer[name]] = 1.0
    return folders, Mined(seen, values, best_first)


def _kept_scores(path: Path, scorer: Reranker, pairs: Sequence[tuple[str, str]], corpus: pa.Table) -> list[float]:
    """What a reranker says of pairs, through a sigmoid; computed once."""
    if not path.is_file():
        said = np.array(scorer.scores(pairs, corpus, Silent()))
        path.write_text(json.dumps((1 / (1 + np.exp(-said))).tolist()))
    found: list[float] = json.loads(path.read_text())
    return found


def _once(folder: Path, make: Callable[[Path], Any]) -> None:
    """Makes a folder unless it is there, and keeps the seconds of processor time, not of what went on."""
    if (folder / _SECONDS).is_file():
        return
    goes_on, began = folder.is_dir(), time.process_time()
    folder.mkdir(parents=True, exist_ok=True)
    make(folder)
    (folder / _SECONDS).write_text(json.dumps(None if goes_on else round(time.process_time() - began, 1)))


def _seconds(folder: Path) -> float | None:
    found: float | None = json.loads((folder / _SECONDS).read_text())
    return found


def trained(way: Way, seed: int, tables: Tables, mined: Mined, base: Path, folder: Path) -> Path:
    """A student."""
    made = []
    for query, answer in tables.answer.items():
        for ids in way.row(query, answer, mined):
            scores = [mined.values[query, doc_id] for doc_id in ids] if LOSSES[way.loss].lists and way.taught else None
            row = {"query_id": query, "positive_id": ids[0], "negative_ids": list(ids[1:]), "teacher_scores": scores}
            made.append({**row, "kind": "hard", "round": 0})
    rows = rows_table("examples", made)
    queries = rows_table("queries", [(name, text, "", "train") for name, text in tables.train.items()])
    related = dict(not_negatives(tables.qrels, None, tables.corpus, list(tables.train)))
    if way.row in (_dropped, _promoted):
        related = {name: own.union(mined.above[name]) for name, own in related.items()}
    given = bi_encoder.training_set(rows, tables.corpus, queries, related, fill=True)
    width = sum(name not in ("anchor", "label") for name in given.columns)
    epochs = _SEEN * len(tables.answer) / (len(made) * width)
    settings = Training(loss=way.loss, seed=seed, epochs=epochs, near_base=0.0, batches="length")

    def make(out: Path) -> None:
        with _as_infonce(way.instead):
            bi_encoder.train(out, base, given, settings.on_this_machine(), None, None, out / "scratch")

    _once(folder, make)
    return folder


def measures_of(folder: Path, tables: Tables, words: pa.Table, encoders: Encoders) -> dict[str, np.ndarray]:
    """Measure to its value for each dev query, alone and with BM25 at the weight that is best for dev."""
    student = BiEncoder(folder, Encoding(backend="torch"), encoders)
    run = student.search(student.index(tables.corpus, Silent()), tables.dev, _DEPTH, Silent())
    alone = _values(run, tables)
    both = max(
        (_values(found, tables) for found in fused_runs(CONVEX, student, words, run)),
        key=lambda of: float(of["MRR@5"].mean()),
    )
    return {**alone, **{f"{key} with BM25": both[key] for key in ("MRR@5", "nDCG@10")}}


def _values(run: pa.Table, tables: Tables, names: Sequence[str] = ()) -> dict[str, np.ndarray]:
    found = per_query(measure(run, tables.qrels, list(names or tables.dev)))
    return {key: np.array(found[key]) for key in _MEASURES}


def stages(part: Part, base: Path) -> dict[str, Any]:
    """InfoNCE's student alone, and its best 50 in the order of both rerankers' mean, at each share."""
    tables, encoders = tables_of(part, base), Encoders(RUNS / _FOLDER / "store")
    rerankers, mined = looked_at(part, tables, base, encoders)
    folder = trained(WAYS[_AGAINST], part.seed, tables, mined, base, RUNS / _FOLDER / part.asked / _AGAINST)
    student = BiEncoder(folder, Encoding(backend="torch"), encoders)
    asked = dict(list(tables.dev.items())[:_STAGE_QUERIES])
    index = student.index(tables.corpus, Silent())
    run = student.search(index, asked, _DEPTH, Silent())
    scorers = [Reranker(path) for path in rerankers]
    one, other = (scored(scorer, run, asked, tables.corpus, Silent()) for scorer in scorers)
    said = {pair: (one[pair] + other[pair]) / 2 for pair in one}
    values = {"alone": _values(run, tables, list(asked))}
    for share in SHARES:
        values[f"reranked, {share:.0%}"] = _values(mixed(run, said, share, _DEPTH), tables, list(asked))
    times: dict[str, list[float]] = {"first": [], "second": []}
    for name, text in list(asked.items())[:_TIMED]:
        began = time.process_time()
        found = student.search(index, {name: f"{text} "}, _DEPTH, Silent())
        between = time.process_time()
        scored(scorers[0], found, {name: text}, tables.corpus, Silent())
        times["first"].append(between - began)
        times["second"].append(time.process_time() - between)
    return {
        "queries": len(asked),
        "rescored": RESCORED,
        "milliseconds": {key: round(1000 * float(np.median(own)), 1) for key, own in times.items()},
        "values": {name: {key: of.tolist() for key, of in own.items()} for name, own in values.items()},
    }


def summary(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Means and differences to InfoNCE, of each set by queries' means of its seeds, and of the sets, which count once
    each.
    """
    of_set: dict[str, dict[str, dict[str, np.ndarray]]] = {}
    for name in dict.fromkeys(part["set"] for part in parts):
        own = [part["values"] for part in parts if part["set"] == name]
        of_set[name] = {
            way: {key: np.mean([of[way][key] for of in own], axis=0) for key in own[0][way]}
            for way in own[0]
            if all(way in of for of in own)
        }
    keys = ("MRR@5", "nDCG@10", "MRR@5 with BM25", "nDCG@10 with BM25")
    made: dict[str, Any] = {}
    for name, found in of_set.items():
        made[name] = {
            way: {
                "means": {key: float(of[key].mean()) for key in keys},
                "over": {key: asdict(paired_difference(of[key], found[_AGAINST][key])) for key in keys},
            }
            for way, of in found.items()
        }
    everywhere = [way for way in ("base", *WAYS) if of_set and all(way in found for found in of_set.values())]
    made["mean"] = {}
    for way in everywhere:
        pairs = [[(found[way][key], found[_AGAINST][key]) for key in keys] for found in of_set.values()]
        alone = [list(range(len(found[way]["MRR@5"]))) for found in of_set.values()]
        made["mean"][way] = {
            "means": {key: float(np.mean([found[way][key].mean() for found in of_set.values()])) for key in keys},
            "over": {key: asdict(of) for key, of in zip(keys, mean_differences(pairs, alone), strict=True)},
        }
    return made


def table(result: Mapping[str, Any]) -> str:
    """A row a set and way, and one a set and share of the second stage."""
    rows = [["set", "way", "MRR@5", f"- {_AGAINST}", "with BM25", f"- {_AGAINST}"]]
    for name, ways in result["summary"].items():
        for way, found in ways.items():
            cells = []
            for key in ("MRR@5", "MRR@5 with BM25"):
                cells += [f"{found['means'][key]:.3f}", "" if way == _AGAINST else shown(found["over"][key])]
            rows.append([name, way, *cells])
    lines = [_padded(rows)]
    staged = [["set", "second stage", *_MEASURES, "ms a query"]]
    for asked, found in result["stages"].items():
        for way, own in found["values"].items():
            times = found["milliseconds"]
            taken = times["first"] + (0 if way == "alone" else times["second"])
            staged.append([asked, way, *(f"{np.mean(own[key]):.3f}" for key in _MEASURES), f"{taken:.0f}"])
    return "\n\n".join([*lines, *([_padded(staged)] if len(staged) > 1 else [])])


def _padded(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def main() -> None:
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reader.add_argument("--part", action="append", default=[], metavar="SET/SEED")
    reader.add_argument("--way", action="append", choices=list(WAYS), default=[], help="all, if none is given")
    reader.add_argument("--stages", action="append", default=[], metavar="SET/SEED")
    given = reader.parse_args()
    path = RESULTS / "losses.json"
    kept = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {"parts": {}, "stages": {}}
    base, ways = locate(_BASE), given.way or list(WAYS)
    wanted = [("parts", part) for part in chosen_of(PARTS, given.part)]
    wanted += [("stages", part) for part in chosen_of(PARTS, given.stages)]
    for kind, part in wanted:
        kept[kind][part.asked] = measured(part, base, ways) if kind == "parts" else stages(part, base)
        kept |= {"machine": machine(), "summary": summary([*kept["parts"].values()])}
        path.write_text(json.dumps(kept) + "\n", encoding="utf-8")
    if kept["parts"]:
        print(table(kept))
    if missing := [part.asked for part in PARTS if part.asked not in kept["parts"]]:
        print(f"missing: {', '.join(missing)}")


if __name__ == "__main__":
    main()
