"""The examples of the manual of Ginkgo 0.6 run, changed only where Python 3 forces it.

They are here as they were, apart from: `print(...)`, bytes on sockets, `async_` for `async`; and a
parenthesis that the composed one had in the wrong place.
"""

from __future__ import annotations

import pytest
from tests.docs.clients import connect, get
from tests.docs.session import quiet_port
from tests.workshop import Workshop

HELLO = """
from ginkgo import Service

class HelloWorld(Service):
    def do_start(self):
        self.spawn(self.hello_forever)

    def hello_forever(self):
        while True:
            print("Hello World")
            self.async_.sleep(1)
"""

QUICKSTART = """
from ginkgo import Service
from ginkgo.async_.gevent import StreamServer
from ginkgo.async_.gevent import StreamClient
from ginkgo.async_.gevent import WSGIServer

class HelloWorldServer(Service):
    def __init__(self):
        self.add_service(StreamServer(('0.0.0.0', 7000), self.handle))

    def handle(self, socket, address):
        while True:
            socket.send(b"Hello World\\n")
            self.async_.sleep(1)

class HelloWorldClient(Service):
    def __init__(self):
        self.add_service(StreamClient(('0.0.0.0', 7000), self.handle))

    def handle(self, socket):
        fileobj = socket.makefile()
        while True:
            print(fileobj.readline().strip())

class HelloWorldWebServer(Service):
    def __init__(self):
        self.add_service(WSGIServer(('0.0.0.0', 8000), self.handle))

    def handle(self, environ, start_response):
        start_response('200 OK', [('Content-Type', 'text/html')])
        return [b"<strong>Hello World</strong>"]

class HelloWorld(Service):
    def __init__(self):
        self.add_service(HelloWorldServer())
        self.add_service(HelloWorldClient())
        self.add_service(HelloWorldWebServer())
"""

FLASK = """
from flask import Flask
from ginkgo.async_.gevent import WSGIServer

app = Flask(__name__)

@app.route("/")
def hello():
    return "Hello World!"

def AppServer():
    return WSGIServer(('0.0.0.0', 8000), app)
"""

MODEL = """
import logging
from ginkgo import Service, Setting

class AnotherService(Service):
    pass

class ExampleService(Service):
    setting = Setting("example.setting", default="Foobar")

    def __init__(self):
        logging.info("Service is initializing.")

        self.child_service = AnotherService()
        self.add_service(self.child_service)

    def do_start(self):
        logging.info("Service is starting.")

        self.spawn(self.something_async)

    def do_stop(self):
        logging.info("Service is stopping.")

    def do_reload(self):
        logging.info("Service is reloading.")

    def something_async(self):
        logging.info("The setting is %s.", self.setting)
"""

CONFIGURED = """
import logging
from ginkgo import Service, Setting

logger = logging.getLogger(__name__)

class HelloWorld(Service):
    message = Setting("message", default="Hello World",
                     help="Message to print out while running")

    rate = Setting("rate_per_minute", default=60,
                  help="Rate at which to emit message")

    def do_start(self):
        logger.info("Starting up!")
        self.spawn(self.message_forever)

    def do_stop(self):
        logger.info("Goodbye.")

    def message_forever(self):
        while True:
            logger.info(self.message)
            self.async_.sleep(60.0 / self.rate)
"""

CONFIGURATION = """
import os
daemon = bool(os.environ.get("DAEMONIZE", False))
message = "Services all the way down."
rate_per_minute = 180
service = "service.HelloWorld"
"""

SETTINGS = """
daemon group logconfig logfile loglevel pidfile rundir umask user
"""


def test_hello_world(place: Workshop) -> None:
    place.write("hello.py", HELLO)
    hello = place.begin("ginkgo", "hello.HelloWorld")
    hello.wait_for("^Hello World$", count=2)
    assert hello.stops() == 0


@pytest.mark.parametrize("target", ["HelloWorldServer", "HelloWorld"])
def test_the_server_of_the_quickstart(place: Workshop, target: str) -> None:
    port, web_port = str(quiet_port()), str(quiet_port())
    place.write("quickstart.py", QUICKSTART.replace("7000", port).replace("8000", web_port))
    server = place.begin("ginkgo", f"quickstart.{target}")
    with connect(int(port)) as client, client.makefile() as lines:
        assert lines.readline() == lines.readline() == "Hello World\n"
    if target == "HelloWorld":
        server.wait_for("^Hello World$")
        assert get(int(web_port)) == "<strong>Hello World</strong>"
    assert server.stops() == 0


def test_the_application_of_flask(place: Workshop) -> None:
    port = quiet_port()
    place.write("web.py", FLASK.replace("8000", str(port)))
    server = place.begin("ginkgo", "web.AppServer")
    assert get(port) == "Hello World!"
    assert server.stops() == 0


def test_the_service_that_shows_the_model(place: Workshop) -> None:
    place.write("example.py", MODEL)
    example = place.begin("ginkgo", "example.ExampleService")
    example.wait_for("INFO example: Service is starting.")
    example.wait_for("INFO example: The setting is Foobar.")
    assert place.ctl("example.ExampleService", "reload").returncode == 0
    example.wait_for("INFO example: Service is reloading.")
    assert example.stops() == 0
    example.wait_for("INFO example: Service is stopping.")


def test_the_settings_that_are_built_in(place: Workshop) -> None:
    place.write("service.py", CONFIGURED)
    shown = place.ginkgo("service.HelloWorld", "-h").stdout
    _, settings = shown.split("config settings:", 1)
    first_words = [line.split()[0] for line in settings.splitlines() if line.strip()]
    for name in (*SETTINGS.split(), "message", "rate_per_minute"):
        assert name in first_words, settings
    assert "[/tmp/HelloWorld.log]" in settings


def test_the_configured_service_and_its_reload(place: Workshop) -> None:
    place.write("service.py", CONFIGURED)
    file = place.write("service.conf.py", CONFIGURATION)
    service = place.begin("ginkgo", "service.conf.py")
    service.wait_for("^Starting process with service.conf.py...$")
    service.wait_for("^[-0-9]{10} [:,0-9]{12}      INFO service: Starting up!$")
    service.wait_for("INFO service: Services all the way down.$", count=2)
    file.write_text(file.read_text().replace("180", "6000"))
    assert place.ctl("service.conf.py", "reload").returncode == 0
    service.wait_for("Services all the way down.$", count=50)
    assert service.stops() == 0
    service.wait_for("INFO service: Goodbye.$")
    service.wait_for("INFO runner: Stopping.$")


def test_the_daemon_that_the_environment_asks_for(place: Workshop) -> None:
    place.write("service.py", CONFIGURED)
    log = place.folder / "service.log"
    place.write("service.conf.py", f"{CONFIGURATION}\nlogfile = {str(log)!r}\n")
    assert place.ginkgo("service.conf.py", env={"DAEMONIZE": "yes"}).returncode == 0
    assert place.ctl("service.conf.py", "status").returncode == 0
    assert place.ctl("service.conf.py", "restart").returncode == 0
    assert "Starting up!" in place.ctl("service.conf.py", "log").stdout
    assert place.ctl("service.conf.py", "stop").returncode == 0
    assert place.ctl("service.conf.py", "status").returncode == 3
