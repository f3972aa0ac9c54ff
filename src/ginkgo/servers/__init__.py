"""Servers and clients as services, and the parts that those of all backends share.

::

    addresses   what may be written for an address, and how it is printed
    listen      from an address to a listening socket, or to an error that says who has the port
    ports       which process holds a port
    tls         from certificate files to a context with today's defaults
    retry       how long to wait between two attempts
    seldom      a log line that may not come too often

    gevent_*    the servers and clients of the gevent backend; `ginkgo.async_.gevent` shows them

Nothing is imported from here: a backend's module takes what it needs, when it is needed.
"""
