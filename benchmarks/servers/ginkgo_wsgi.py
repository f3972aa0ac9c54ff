"""Hello on Ginkgo's WSGIServer. Of its own, because pywsgi takes its time to import."""

from __future__ import annotations

from benchmarks.servers.handlers import hello
from ginkgo import Service
from ginkgo.async_.gevent import WSGIServer


class Hello(Service):
    """Against gevent_wsgi.py and gunicorn."""

    def __init__(self) -> None:
        self.server = self.add_service(WSGIServer(("127.0.0.1", 0), hello))

    def do_start(self) -> None:
        print("port", self.server.port, flush=True)
