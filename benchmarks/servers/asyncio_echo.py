"""Echo with bare asyncio: what our servers on asyncio are held against.

asyncio_echo.py protocol|streams uvloop|asyncio
"""

import asyncio
import sys

import uvloop

from benchmarks.servers.asyncio_handlers import EchoProtocol, echo


async def serve(kind: str) -> None:
    if kind == "protocol":
        loop = asyncio.get_running_loop()
        server = await loop.create_server(EchoProtocol, "127.0.0.1", 0, backlog=1024)
    else:
        server = await asyncio.start_server(echo, "127.0.0.1", 0, backlog=1024)
    print("port", server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


run = uvloop.run if sys.argv[2] == "uvloop" else asyncio.run
run(serve(sys.argv[1]))
