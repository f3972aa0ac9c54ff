"""The quickstart on asyncio: a server, a client of it, and a web page.

$ ginkgo quickstart_asyncio.HelloWorld
$ nc localhost 7000
$ curl http://localhost:8000
"""

from ginkgo import Service, Setting
from ginkgo.async_.asyncio import ASGIServer, StreamClient, StreamServer


class HelloWorldServer(Service):
    port: int = Setting("port", default=7000, help="Port of the server")

    def __init__(self):
        self.add_service(StreamServer(("127.0.0.1", self.port), self.handle))

    async def handle(self, reader, writer):
        while True:
            writer.write(b"Hello World\n")
            await writer.drain()
            await self.async_.sleep(1)


class HelloWorldClient(Service):
    port: int = Setting("port", default=7000, help="Port of the server")

    def __init__(self):
        self.add_service(StreamClient(("127.0.0.1", self.port), self.handle))

    async def handle(self, reader, writer):
        async for line in reader:
            print(line.decode().strip())


class HelloWorldWebServer(Service):
    port: int = Setting("web_port", default=8000, help="Port of the web server")

    def __init__(self):
        self.add_service(ASGIServer(("127.0.0.1", self.port), self.handle))

    async def handle(self, scope, receive, send):
        headers = [(b"content-type", b"text/html")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"<strong>Hello World</strong>\n"})


class HelloWorld(Service):
    def __init__(self):
        self.add_service(HelloWorldServer())
        self.add_service(HelloWorldClient())
        self.add_service(HelloWorldWebServer())
