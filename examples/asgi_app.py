"""An ASGI application as a service: written by hand, or any framework's. It needs uvicorn.

$ ginkgo asgi_app.Web
$ curl http://localhost:8000
"""

from ginkgo import Service, Setting
from ginkgo.async_.asyncio import ASGIServer


class Web(Service):
    backend = "asyncio"

    port: int = Setting("port", default=8000, help="Port of the web server")
    visits = 0

    def __init__(self):
        self.add_service(ASGIServer(("127.0.0.1", self.port), self.app, lifespan="off"))

    async def app(self, scope, receive, send):
        self.visits += 1
        headers = [(b"content-type", b"text/plain")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"visit %d\n" % self.visits})
