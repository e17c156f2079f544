"""How a server listens."""

from __future__ import annotations

import socket

from denizen.serve.server import _listening
from denizen.serve.settings import Serving


def test_no_connection_waits_for_the_word_of_its_client_on_what_was_sent_before() -> None:
    with _listening(Serving(port=0)) as listening, socket.create_connection(listening.getsockname()):
        accepted, _ = listening.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
