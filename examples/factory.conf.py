"""A configuration file that says what the service consists of: here, as many servers as ports.

$ ginkgo factory.conf.py
$ nc localhost 7000
"""

from ginkgo import Service, settings
from ginkgo.async_.gevent import StreamServer

ports = [7000, 7001]


def say_where(socket, address):
    socket.sendall(b"This is port %d.\n" % socket.getsockname()[1])


def service():
    root = Service()
    for port in settings.get("ports"):
        root.add_service(StreamServer(("127.0.0.1", port), say_where))
    return root
