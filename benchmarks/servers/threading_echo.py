"""Echo on a bare `socketserver.ThreadingTCPServer`: what our server on threads is held against."""

import socketserver

from benchmarks.servers.handlers import echo


class Handler(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        echo(self.request, self.client_address)


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 1024


with Server(("127.0.0.1", 0), Handler) as server:
    print("port", server.server_address[1], flush=True)
    server.serve_forever()
