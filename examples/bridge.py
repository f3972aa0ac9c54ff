"""The bridge: a service on gevent that uses a client written for asyncio.

$ ginkgo quickstart.HelloWorldServer
$ ginkgo bridge.Relay        in another terminal
$ curl http://localhost:8001
"""

import asyncio

from ginkgo import Service, Setting
from ginkgo.async_.gevent import WSGIServer


async def first_line(port):
    """Ask the server; it might be a library's coroutine as well."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        return await reader.readline()
    finally:
        writer.close()


class Relay(Service):
    port: int = Setting("port", default=7000, help="Port of the server to ask")
    web_port: int = Setting("web_port", default=8001, help="Port of the web server")

    def __init__(self):
        self.add_service(WSGIServer(("127.0.0.1", self.web_port), self.answer))

    def do_start(self):
        self.spawn(self.watch)

    async def watch(self):
        while True:
            try:
                print("the server says", (await first_line(self.port)).decode().strip())
            except OSError as error:
                print("the server is away:", error)
            await self.async_.sleep(1)

    def answer(self, environ, start_response):
        try:
            line = self.async_.run(first_line(self.port), timeout=5)
        except OSError as error:
            start_response("502 Bad Gateway", [("Content-Type", "text/plain")])
            return [f"{error}\n".encode()]
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [line]
