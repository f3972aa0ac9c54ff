"""A stop that loses nothing: what was taken in is finished before the process ends.

$ ginkgo graceful.Counter
$ curl http://localhost:8000    and Ctrl+C on the server before it has answered
"""

import logging

from ginkgo import Service, Setting
from ginkgo.async_.gevent import WSGIServer

logger = logging.getLogger(__name__)


class Counter(Service):
    port: int = Setting("port", default=8000, help="Port of the web server")
    seconds: float = Setting("seconds", default=3.0, help="How long a request takes")
    total = 0

    def __init__(self):
        self.add_service(WSGIServer(("127.0.0.1", self.port), self.count, drain_timeout=10.0))

    def count(self, environ, start_response):
        logger.info("A request has come in.")
        self.async_.sleep(self.seconds)
        self.total += 1
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"You are number %d.\n" % self.total]

    def do_stop(self):
        # The children stop after their parent: here the server still takes requests.
        logger.info("Answered so far: %d. The server finishes what it has.", self.total)
