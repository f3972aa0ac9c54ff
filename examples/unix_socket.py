"""A server on a unix socket: for programs of the same machine, guarded by file permissions.

$ ginkgo unix_socket.Upper
$ echo hello | nc -N -U upper.sock
"""

from ginkgo import Service, Setting
from ginkgo.async_.gevent import StreamServer


class Upper(Service):
    address: str = Setting("address", default="unix:upper.sock", help="Where to listen")

    def __init__(self):
        self.add_service(StreamServer(self.address, self.upper, mode=0o600))

    def upper(self, socket, address):
        while data := socket.recv(4096):
            socket.sendall(data.upper())
