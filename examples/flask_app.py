"""An application of a web framework, as a service. It needs Flask.

$ ginkgo flask_app.AppServer
$ curl http://localhost:8000
"""

from flask import Flask

from ginkgo import Setting
from ginkgo.async_.gevent import WSGIServer

app = Flask(__name__)


@app.route("/")
def hello():
    return "Hello World!"


class AppServer(WSGIServer):
    port: int = Setting("port", default=8000, help="Port of the web server")

    def __init__(self):
        super().__init__(("127.0.0.1", self.port), app)
