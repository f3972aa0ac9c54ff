"""Something every so often, something by the clock on the wall, and a check that it still works.

$ ginkgo ticker.Ticker
"""

from ginkgo import Service, Setting


class Ticker(Service):
    seconds: float = Setting("seconds", default=1.0, help="Seconds from one tick to the next")

    check_interval = 5.0

    def do_start(self):
        self.ticks = self.checked = 0
        self.every(self.seconds, self.tick, immediately=True)
        self.at("0 * * * *", print, "a full hour")

    def tick(self):
        self.ticks += 1
        print("tick", self.ticks)

    def check(self):
        before, self.checked = self.checked, self.ticks
        return self.ticks > before
