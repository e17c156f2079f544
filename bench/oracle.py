"""An endpoint that knows the answers: it speaks the chat-completions protocol and replies from a data set's labels.

No language model is behind it. It shows what the loop makes of a perfect judge, and of one that is wrong in a settable
share of its grades; what a real LLM makes of it is another question.

Questions for a passage: those that its labels link to it. Grades: 4 for a labelled pair, 2 for a passage of the same
topic, 1 otherwise. A wrong grade is one of the other three. A passage that it must not be shown is refused and counted.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Oracle:
    """What the endpoint knows.

    Args:
        passages: Passage id to text, of all that it may be shown.
        topics: Passage id to topic.
        labels: (question, passage id) pairs.
        wrong: Share of the grades that are wrong; which ones depends on the pair alone.
    """

    def __init__(
        self,
        passages: Mapping[str, str],
        topics: Mapping[str, str],
        labels: Iterable[tuple[str, str]],
        wrong: float = 0.0,
    ) -> None:
        self.ids = {text: doc_id for doc_id, text in passages.items()}
        self.topics = topics
        self.wrong = wrong
        self.of_passage: dict[str, list[str]] = {}
        self.of_question: dict[str, set[str]] = {}
        for question, doc_id in labels:
            self.of_passage.setdefault(doc_id, []).append(question)
            self.of_question.setdefault(question, set()).add(doc_id)
        self.calls = 0
        self.not_to_be_shown = 0

    def answer(self, body: Mapping[str, Any]) -> str:
        """The reply to a request of ours."""
        self.calls += 1
        system, *_, user = (message["content"] for message in body["messages"])
        passages = _marked(user, "passage")
        if any(text not in self.ids for text in passages):
            self.not_to_be_shown += 1
            return "I cannot answer: this passage is not known here."
        if '"question"' in system:
            questions = self.of_passage.get(self.ids[passages[0]], [])
            return json.dumps({"question": questions[_number(user) % len(questions)] if questions else ""})
        grades = [self.grade(_marked(user, "query")[0], text) for text in passages]
        return json.dumps({"grades": grades} if '"grades"' in system else {"grade": grades[0]})

    def grade(self, question: str, passage: str) -> int:
        """The grade of a pair, right or wrong."""
        doc_id = self.ids[passage]
        known = self.of_question.get(question, set())
        grade = 1
        if doc_id in known:
            grade = 4
        elif self.topics.get(doc_id) in {self.topics.get(other) for other in known}:
            grade = 2
        number = _number(f"{question}\0{passage}")
        if number % 10_000 < self.wrong * 10_000:
            return [other for other in (1, 2, 3, 4) if other != grade][number // 10_000 % 3]
        return grade


class OracleServer:
    """Serves an oracle on 127.0.0.1 as a context manager; `url` is its endpoint."""

    def __init__(self, oracle: Oracle) -> None:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                text = oracle.answer(body)
                reply = {
                    "id": "oracle",
                    "object": "chat.completion",
                    "created": 0,
                    "model": body["model"],
                    "choices": [
                        {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
                    ],
                    "usage": {"prompt_tokens": len(str(body)) // 4, "completion_tokens": 10, "total_tokens": 0},
                }
                payload = json.dumps(reply).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(payload)))
                self.end_headers()
                self.wfile.write(payload)

            def log_message(self, format: str, *args: object) -> None:
                """Nothing is logged."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"

    def __enter__(self) -> OracleServer:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def _marked(user: str, kind: str) -> list[str]:
    """What stands between the markers of a kind, in order."""
    return [text for _, text in re.findall(rf"<({kind}(?: \d+)?)>\n(.*?)\n</\1>", user, re.DOTALL)]


def _number(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
