"""An echo server that speaks TLS.

$ openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=localhost -keyout key.pem -out cert.pem
$ ginkgo tls_echo.Echo
$ openssl s_client -quiet -connect localhost:7000
"""

from ginkgo import Service, Setting
from ginkgo.async_.gevent import StreamServer


class Echo(Service):
    address: str = Setting("address", default="127.0.0.1:7000", help="Where to listen")
    certfile: str = Setting("certfile", default="cert.pem", help="The certificate, PEM")
    keyfile: str = Setting("keyfile", default="key.pem", help="The key to it, PEM")

    def __init__(self):
        self.add_service(
            StreamServer(self.address, self.echo, certfile=self.certfile, keyfile=self.keyfile)
        )

    def echo(self, socket, address):
        while data := socket.recv(4096):
            socket.sendall(data)
