"""A server of streams on asyncio: what one client says, the others read.

$ ginkgo asyncio_chat.Chat
$ nc localhost 7000    in two terminals
"""

from ginkgo import Service, Setting
from ginkgo.async_.asyncio import StreamServer


class Chat(Service):
    address: str = Setting("address", default="127.0.0.1:7000", help="Where to listen")

    def __init__(self):
        self.guests = set()
        self.add_service(StreamServer(self.address, self.handle))

    async def handle(self, reader, writer):
        self.guests.add(writer)
        try:
            async for line in reader:
                for guest in self.guests - {writer}:
                    guest.write(line)  # what a guest does not read waits in memory
        finally:
            self.guests.discard(writer)
