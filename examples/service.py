"""Settings that may change while the service runs.

$ ginkgo service.conf.py
$ ginkgoctl service.conf.py reload    after a change of service.conf.py
"""

import logging

from ginkgo import Service, Setting

logger = logging.getLogger(__name__)


class HelloWorld(Service):
    message: str = Setting("message", default="Hello World", help="Message to log while running")
    rate: float = Setting("rate_per_minute", default=60.0, help="Messages per minute")

    def do_start(self):
        logger.info("Starting up!")
        self.spawn(self.message_forever)

    def do_stop(self):
        logger.info("Goodbye.")

    def message_forever(self):
        while True:
            logger.info(self.message)
            self.async_.sleep(60.0 / self.rate)
