"""Real threads, for libraries that block in their own way: a line in, its number of words out.

$ ginkgo threads.WordCounter
"""

from ginkgo import Service, Setting
from ginkgo.async_.threading import StreamServer


class WordCounter(Service):
    backend = "threading"

    port = Setting("port", default=7000, help="Where clients connect.")

    def __init__(self):
        self.jobs = self.async_.queue(maxsize=100)
        self.add_service(StreamServer(("127.0.0.1", self.port), self.handle))

    def do_start(self):
        self.spawn(self.count_forever)

    def handle(self, socket, address):
        with socket.makefile("r") as lines:
            for line in lines:
                self.jobs.put((socket, line))

    def count_forever(self):
        while True:
            socket, line = self.jobs.get()  # ends at once when the service stops
            socket.sendall(b"%d\n" % len(line.split()))
