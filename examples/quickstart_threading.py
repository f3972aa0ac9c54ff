"""The quickstart on threads: a server, a client of it, and a web page.

$ ginkgo quickstart_threading.HelloWorld
$ nc localhost 7000
$ curl http://localhost:8000
"""

from ginkgo import Service, Setting
from ginkgo.async_.threading import StreamClient, StreamServer, WSGIServer


class HelloWorldServer(Service):
    port: int = Setting("port", default=7000, help="Port of the server")

    def __init__(self):
        self.add_service(StreamServer(("127.0.0.1", self.port), self.handle))

    def handle(self, socket, address):
        while True:
            socket.sendall(b"Hello World\n")
            self.async_.sleep(1)


class HelloWorldClient(Service):
    port: int = Setting("port", default=7000, help="Port of the server")

    def __init__(self):
        self.add_service(StreamClient(("127.0.0.1", self.port), self.handle))

    def handle(self, socket):
        for line in socket.makefile():
            print(line.strip())


class HelloWorldWebServer(Service):
    port: int = Setting("web_port", default=8000, help="Port of the web server")

    def __init__(self):
        self.add_service(WSGIServer(("127.0.0.1", self.port), self.handle))

    def handle(self, environ, start_response):
        start_response("200 OK", [("Content-Type", "text/html")])
        return [b"<strong>Hello World</strong>\n"]


class HelloWorld(Service):
    def __init__(self):
        self.add_service(HelloWorldServer())
        self.add_service(HelloWorldClient())
        self.add_service(HelloWorldWebServer())
