"""A program of somebody else's as a service: a web server, which serves this folder.

$ ginkgo command.Files
"""

import sys

from ginkgo import Command, Service, Setting


class Files(Service):
    port = Setting("port", default=8000, help="Where browsers find the files.")

    def __init__(self):
        server = [sys.executable, "-m", "http.server", str(self.port), "--bind", "127.0.0.1"]
        self.add_service(Command(server, ready=f"127.0.0.1:{self.port}", name="server"))
