"""Settings in groups: two services of one class, each with a group of its own.

$ ginkgo groups.conf.py
"""

from ginkgo import Service, settings


class Greeter(Service):
    def __init__(self, group):
        self.settings = settings.group(group)

    def do_start(self):
        self.every(self.settings.seconds or 1.0, self.greet)

    def greet(self):
        print(self.settings.message)


class Greeters(Service):
    def __init__(self):
        self.add_service(Greeter("english"))
        self.add_service(Greeter("french"))
