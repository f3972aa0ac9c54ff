"""Datagrams: a server that tells the time over UDP.

$ ginkgo datagram.Clock
$ echo | nc -u -w1 localhost 7000
"""

import time

from ginkgo import Service, Setting
from ginkgo.async_.gevent import DatagramServer


class Clock(Service):
    address: str = Setting("address", default="127.0.0.1:7000", help="Where to listen")

    def __init__(self):
        self.server = self.add_service(DatagramServer(self.address, self.tell))

    def tell(self, data, address):
        self.server.sendto(time.strftime("%H:%M:%S\n").encode(), address)
