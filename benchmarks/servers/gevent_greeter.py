"""A hello server as a script that patches the standard library and uses gevent directly."""

from gevent import monkey

monkey.patch_all()

from gevent.server import StreamServer  # noqa: E402

from benchmarks.servers.handlers import greet  # noqa: E402

server = StreamServer(("127.0.0.1", 0), greet)
server.start()
print("port", server.server_port, flush=True)
server.serve_forever()
