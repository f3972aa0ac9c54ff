"""Echo on a bare `gevent.server.StreamServer`: what our StreamServer is held against."""

from gevent.server import StreamServer

from benchmarks.servers.handlers import echo

server = StreamServer(("127.0.0.1", 0), echo)
server.start()
print("port", server.server_port, flush=True)
server.serve_forever()
