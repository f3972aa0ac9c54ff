"""An echo server that speaks TLS.

$ ginkgo --set certfile=server.pem tls_echo.Echo
$ openssl s_client -connect localhost:7443
"""

from ginkgo import Service, Setting
from ginkgo.async_.gevent import StreamServer


class Echo(Service):
    address: str = Setting("address", default="127.0.0.1:7443", help="Where to listen")
    certfile: str = Setting("certfile", default="server.pem", help="Certificate and key, PEM")

    def __init__(self):
        self.add_service(StreamServer(self.address, self.echo, certfile=self.certfile))

    def echo(self, socket, address):
        while data := socket.recv(4096):
            socket.sendall(data)
