"""A client that keeps its connection, and comes back when the server does.

$ ginkgo reconnect.Listener
$ ginkgo quickstart.HelloWorldServer    in another terminal: stop it, start it
"""

from ginkgo import Service, Setting
from ginkgo.async_.gevent import StreamClient


class Listener(Service):
    address: str = Setting("address", default="127.0.0.1:7000", help="The server to listen to")

    def __init__(self):
        self.add_service(StreamClient(self.address, self.listen))

    def listen(self, socket):
        print("connected")
        for line in socket.makefile():
            print(line.strip())
        print("the server has hung up")
