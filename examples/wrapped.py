"""Any server of gevent becomes a service by ServerWrapper.

$ ginkgo wrapped.Echo
$ nc localhost 7000
"""

from gevent.server import StreamServer

from ginkgo import Service, Setting
from ginkgo.async_.gevent import ServerWrapper


class Echo(Service):
    port: int = Setting("port", default=7000, help="Where to listen")

    def __init__(self):
        self.add_service(ServerWrapper(StreamServer(("127.0.0.1", self.port), self.echo)))

    def echo(self, socket, address):
        while data := socket.recv(4096):
            socket.sendall(data)
