"""Hello on a bare `gevent.pywsgi.WSGIServer`, with TCP_NODELAY and without a request log.

Accepted sockets inherit TCP_NODELAY from the listening one on Linux. Without it the body of a
kept-alive response waits for the peer's delayed ACK: 44 ms each, and a tenth of the rate.

    gevent_wsgi.py [DRAIN]

With DRAIN it stops on SIGTERM as a careful script does: it waits up to so many seconds for its
connections to end. gevent does that only for a server that has a pool.
"""

import signal
import socket
import sys
from typing import Any

import gevent
from gevent.pool import Pool
from gevent.pywsgi import WSGIServer

from benchmarks.servers.handlers import hello

drain = float(sys.argv[1]) if len(sys.argv) > 1 else None
connections: Any = "default" if drain is None else Pool()
server = WSGIServer(("127.0.0.1", 0), hello, log=None, spawn=connections)
server.init_socket()
server.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
server.start()
if drain is not None:
    server.stop_timeout = drain
    gevent.signal_handler(signal.SIGTERM, server.stop)
print("port", server.server_port, flush=True)
server.serve_forever()
