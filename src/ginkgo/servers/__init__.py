"""Servers and clients as services, and the parts that those of all backends share.

::

    addresses       what may be written for an address, and how it is printed
    listen          from an address to a listening socket, or to an error that says who has it
    ports           which process holds a port
    tls             from certificate files to a context with today's defaults
    http_fields     the header of an HTTP request, read strictly      http_body: its body
    retry           how long to wait between two attempts

    listening       what all servers have in common: where they listen, and what they count
    serving         how they take in what comes, and stop
    kinds           what those of connections have in common, and those of datagrams
    for_wsgi        what those of WSGI applications have in common on gevent and threads
    reconnecting    what their clients have in common

    threading_*     on threads: server, stream, datagram, client, wsgi

    server          on gevent: what its servers have in common
    stream          the server of streams      connection, tls_connection: what its handler gets
    datagram        the server of datagrams
    wsgi            the web server
    client          the client that keeps its connection
    wrapper         any server of gevent's     backdoor: a prompt inside the process

Those of gevent are shown to users by :mod:`ginkgo.async_.gevent`. Nothing is imported from here: a
backend's module takes what it needs, when it is needed.
"""
