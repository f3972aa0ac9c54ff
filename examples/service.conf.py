"""A configuration file is Python: DAEMONIZE=yes ginkgo service.conf.py runs a daemon."""

import os

daemon = bool(os.environ.get("DAEMONIZE", False))
logfile = "service.log"
message = "Services all the way down."
rate_per_minute = 180
service = "service.HelloWorld"
