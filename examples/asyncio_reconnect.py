"""A client on asyncio that keeps its connection, and comes back when the server does.

$ ginkgo asyncio_reconnect.Listener
$ ginkgo quickstart.HelloWorldServer    in another terminal: stop it, start it
"""

from ginkgo import Service, Setting
from ginkgo.async_.asyncio import StreamClient


class Listener(Service):
    address: str = Setting("address", default="127.0.0.1:7000", help="The server to listen to")

    def __init__(self):
        self.add_service(StreamClient(self.address, self.listen))

    async def listen(self, reader, writer):
        print("connected")
        async for line in reader:
            print(line.decode().strip())
        print("the server has hung up")
