"""What a server tells Prometheus of itself."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


class Measures:
    """The counters of one server, apart from those of any other in the process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter("denizen_requests", "Requests.", ("route", "status"), registry=self.registry)
        self.seconds = Histogram("denizen_request_seconds", "Seconds of a request.", ("route",), registry=self.registry)
        self.tokens = Counter("denizen_tokens", "Tokens that were read.", ("model",), registry=self.registry)
        self.waiting = Gauge("denizen_waiting_tokens", "Tokens that wait.", registry=self.registry)
        self.said = Counter("denizen_answer_tokens", "Tokens of answers.", ("model", "expert"), registry=self.registry)
        self.answers = Gauge("denizen_answers", "Answers that are given or wait.", registry=self.registry)
        self.loaded = Gauge("denizen_loaded_models", "Models in memory.", registry=self.registry)
        self.hits = Gauge("denizen_cache_hits", "Texts whose embedding was known.", registry=self.registry)
        self.misses = Gauge("denizen_cache_misses", "Texts whose embedding was not.", registry=self.registry)
