"""How long a grade takes of a GGUF file that is served here, by threads and slots.

python bench/local_llm.py teacher.gguf              # a row for each way, added to those of other files
python bench/local_llm.py large.gguf --ways 1x1     # threads x slots
"""

from __future__ import annotations

import argparse
import json
import os
import random
import tempfile
import time
from pathlib import Path
from typing import Any

from denizen.llm import local
from denizen.llm.answer import Answer, Prompt
from denizen.llm.budget import Budget, Prices
from denizen.llm.client import LLM
from denizen.llm.prompts import messages
from denizen.llm.replies import Replies
from denizen.supervision.judging import Grade
from measuring import RESULTS, keep

WORDS = "gout lupus fever drug dose pain colchicine treat child acute adult renal hepatic plasma the of in is and with"


def prompts(count: int) -> list[Prompt]:
    """Grades of passages of 120 words, each another one."""
    draw = random.Random(1)
    passages = [" ".join(draw.choices(WORDS.split(), k=120)) for _ in range(count)]
    texts = [
        messages("grade", {"query": f"what treats gout {at}?", "passage": text}) for at, text in enumerate(passages)
    ]
    return [Prompt(text, Grade, 32) for text in texts]


def measured(file: Path, threads: int, slots: int, calls: int) -> dict[str, Any]:
    """Seconds a call; one for each slot goes before, in which it reads what all begin with."""
    local.threads, local.slots = lambda: threads, lambda: slots
    with tempfile.TemporaryDirectory() as folder:
        llm = LLM(str(file), Replies(Path(folder) / "replies.sqlite", "run"), Budget(prices=Prices(0, 0)))
        asked = prompts(slots + calls)
        llm.ask(asked[:slots], "first")
        load, began = os.getloadavg()[0], time.perf_counter()
        answers = llm.ask(asked[slots:], "grades")
        seconds = (time.perf_counter() - began) / calls
        llm.replies.close()
    local.end_all()
    answered = sum(isinstance(answer, Answer) for answer in answers)
    found = {"model": llm.model, "threads": threads, "slots": slots, "calls": calls, "answered": answered}
    return {**found, "seconds": round(seconds, 2), "load_before": round(load, 1)}


def main() -> None:
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reader.add_argument("file", type=Path)
    reader.add_argument("--ways", nargs="+", default=["1x1", "1x2", "2x1", "2x2"])
    reader.add_argument("--calls", type=int, default=8)
    given = reader.parse_args()
    path = RESULTS / "local_llm.json"
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"] if path.is_file() else []
    for way in given.ways:
        threads, slots = map(int, way.split("x"))
        row = measured(given.file, threads, slots, given.calls)
        print(row, flush=True)
        same = ("model", "threads", "slots")
        rows = [each for each in rows if any(each[name] != row[name] for name in same)] + [row]
        keep("local_llm", {"rows": rows})


if __name__ == "__main__":
    main()
