"""The README.md of a model: what it is, its figures with their intervals, data, settings, and how to load it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from denizen.recipes.config import WITHOUT_EFFECT
from denizen.reports.results import (
    BASE_STAYS,
    GATE_LEAVES_BASE,
    baseline_lines,
    gate_lines,
    gate_sentence,
    records,
    result_lines,
)

# paths of the user's machine, and what does not change the model
_NOT_ON_THE_CARD = ("source", "model", "guide", "cross_encoder", "query_log", "general", "neighbour", *WITHOUT_EFFECT)


def title(report: dict[str, Any]) -> str:
    """What a run was, as a title."""
    base, source = _base_name(report["base_model"])[0], Path(report["config"]["source"]).name
    if report["chosen"] == "base":
        return f"{base}, unchanged after an attempt to adapt it to {source}"
    return f"{base}, adapted to {source}"


def model_card(report: dict[str, Any]) -> str:
    """The README.md of the adapted model: data, settings, and the figures with their intervals."""
    config, data = report["config"], report["data"]
    base, on_hub = _base_name(report["base_model"])
    adapted = report["chosen"] != "base"
    how = (
        f"A sentence-transformers model adapted with Denizen {report['versions']['denizen']} by iterative mining "
        f"({report['chosen']} was taken, of {config['rounds']} rounds)."
        if adapted
        else f"{GATE_LEAVES_BASE if report['best_round'] else BASE_STAYS} "
        f"(Denizen {report['versions']['denizen']}, {config['rounds']} rounds)"
    )
    return "\n".join(
        [
            "---",
            _front_matter(report, base if on_hub else None),
            "---",
            "",
            f"# {title(report)}",
            "",
            how,
            "",
            *([f"**{report['warning']}**", ""] if report["warning"] else []),
            f"On {report['queries']} held-out test queries, read once:",
            "",
            *_markdown(result_lines(report)),
            "Intervals: bootstrap over queries; p: paired randomisation test.",
            "",
            *_markdown(baseline_lines(report)),
            *(_markdown(gate_lines(report["gate"])) if report["gate"] else []),
            f"{sentence(gate_sentence(report))}.",
            "",
            "## Data",
            "",
            f"{data['passages']} passages of {data['documents']} documents; queries: {data['queries']['train']} train, "
            f"{data['queries']['dev']} dev, {data['queries']['test']} test; split: {data['split']}; "
            f"rows skipped: {data['skipped_rows']}; queries dropped as leaks: {data['queries_dropped_as_leaks']}.",
            "",
            *([*_taught_by(report), ""] if config["teacher"] != "gold" else []),
            "## Settings",
            "",
            "```yaml",
            *(f"{name}: {value}" for name, value in config.items() if name not in _NOT_ON_THE_CARD),
            f"training arithmetic: {report['arithmetic']}",
            f"encoding backend: {report['backends']['adapted']}",
            *(f"{name}: {version}" for name, version in report["versions"].items()),
            "```",
            "",
            "## Use",
            "",
            "```python",
            "from sentence_transformers import SentenceTransformer",
            "",
            'model = SentenceTransformer("path/to/this/folder")',
            'queries = model.encode_query(["a question"])',
            'documents = model.encode_document(["a passage"])',
            "scores = model.similarity(queries, documents)",
            "```",
            "",
        ]
    )


def _front_matter(report: dict[str, Any], base: str | None) -> str:
    """What hubs read of a model card: tags, the base model, and the results as model-index."""
    from huggingface_hub import EvalResult, ModelCardData

    source = Path(report["config"]["source"]).name
    results = [
        EvalResult(
            task_type="information-retrieval",
            task_name="Information Retrieval",
            # results are grouped by it
            dataset_type=source if row["set"] == "test" else row["set"],
            dataset_name=f"test of {source}" if row["set"] == "test" else row["set"],
            metric_type=row["measure"].lower(),
            metric_name=row["measure"],
            metric_value=round(row["value"], 4),
        )
        for row in records(report)
        if row["system"] == "adapted"
    ]
    data = ModelCardData(
        base_model=base,
        library_name="sentence-transformers",
        pipeline_tag="sentence-similarity",
        tags=["sentence-transformers", "sentence-similarity", "feature-extraction", "denizen"],
        model_name=title(report),
        eval_results=results,
    )
    text: str = data.to_yaml()
    return text


def _markdown(lines: list[list[str]]) -> list[str]:
    if not lines:
        return []
    header, *rows = lines
    return [*(f"| {' | '.join(row)} |" for row in [header, ["---"] * len(header), *rows]), ""]


def _taught_by(report: dict[str, Any]) -> list[str]:
    """What a model card says of the teacher."""
    config = report["config"]
    teacher = config["llm"] if config["teacher"] == "llm" else Path(config["cross_encoder"]).name
    writer = f"queries written by {config['llm']}, " if config["llm"] else ""
    return ["## Teacher", "", f"No labels: {writer}passages graded by {teacher}; test graded by {report['judged_by']}."]


def _base_name(model: str) -> tuple[str, bool]:
    """What to call the base model, and whether that is its name on the hub."""
    if Path(model).expanduser().exists():
        folder = Path(model).expanduser().resolve()
        # the model of a run is called after the run
        return folder.parent.name if folder.name == "model" else folder.name, False
    return (model if "/" in model else f"sentence-transformers/{model}"), True


def sentence(text: str) -> str:
    """The text with a capital at its beginning and nothing else changed."""
    return text[:1].upper() + text[1:]
