"""Logging on the standard library: its format, its configuration, its files.

    settings --> build.py --> a plan --> setup.py --> loggers of the standard library
                (advanced.py) (plan.py)     |               |
                                            |           handler.py    a record becomes one line
                                            |               |         (format.py, tracebacks.py)
                                            |            a sink:
                                            |           files.py      the log file (opening.py)
                                            |           terminal.py   the foreground's stderr
                                            |
                                            +---------> stdio.py      stdout and stderr

    beside.py logs from a native thread, while the application's loop is blocked.
    tail.py reads a log file for `ginkgoctl log` and `logtail`, and imports none of the above.

Nothing is imported here, so that `ginkgoctl` can read a log without paying for `logging`.
"""
