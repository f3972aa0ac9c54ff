"""A configuration file that says what the service consists of: here, as many servers as ports.

$ PORTS="7000 7001" ginkgo factory.conf.py
$ nc localhost 7000
"""

import os

from ginkgo import Service
from ginkgo.async_.gevent import StreamServer

ports = [int(port) for port in os.environ.get("PORTS", "7000 7001").split()]


def say_where(socket, address):
    socket.sendall(b"This is port %d.\n" % socket.getsockname()[1])


def service():
    root = Service()
    for port in ports:
        root.add_service(StreamServer(("127.0.0.1", port), say_where))
    return root
