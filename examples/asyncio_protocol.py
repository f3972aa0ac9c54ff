"""A server with a protocol: the least that can stand between asyncio and your code.

$ ginkgo asyncio_protocol.Echo
$ nc localhost 7000
"""

import asyncio

from ginkgo import Service, Setting
from ginkgo.async_.asyncio import ProtocolServer


class EchoProtocol(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)


class Echo(Service):
    address: str = Setting("address", default="127.0.0.1:7000", help="Where to listen")

    def __init__(self):
        self.add_service(ProtocolServer(self.address, EchoProtocol))
