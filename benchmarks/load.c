/* load.c: the load generator of the benchmarks.
 *
 * One thread, one epoll instance, non-blocking sockets: about 5 us of CPU a message, so that the
 * Python server on the other core is the limit and not this program. What it prints says how much
 * of its own core it used ("cpu"): from 0.9 on, it was the limit.
 *
 *     load MODE PORT CONNECTIONS SIZE WARMUP SECONDS COUNT
 *
 *     echo      CONNECTIONS stay open; each sends SIZE bytes and waits for the same bytes back
 *     connrate  connect, send SIZE bytes, get them back, close; CONNECTIONS at a time
 *     http      CONNECTIONS stay open; each sends GET / and waits for the whole response
 *     idle      opens CONNECTIONS, one exchange of SIZE bytes on each, prints a line, and holds
 *               them until its standard input ends
 *
 * WARMUP and SECONDS are seconds (fractions allowed); COUNT is the most exchanges it makes, 0 for
 * no such bound. It ends after WARMUP + SECONDS or COUNT, whichever comes first, and an alarm ends
 * it in any case. Everything stays on 127.0.0.0/8.
 *
 * Source addresses and ports are dealt out here. A client that closes first leaves its address and
 * port in TIME_WAIT for a minute, and a connect() that has to search for a free port among tens of
 * thousands of those becomes the thing that is measured. With 250 source addresses there are ten
 * million pairs, and each run begins at another place.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum mode { ECHO, CONNRATE, HTTP, IDLE };

enum {
    FIRST_SOURCE = 2,    /* 127.0.0.2 .. 127.0.0.251: 127.0.0.1 is left to everybody else */
    SOURCES = 250,
    FIRST_PORT = 10000,  /* above what services listen on */
    PORTS = 50000,
    BUFFER = 65536,      /* bytes: the longest message or response */
    SLOWEST = 1 << 22,   /* us: latencies above four seconds are counted as that */
    OPENING = 64,        /* connections that idle opens at a time */
    MOST_ERRORS = 1000,
    EVENTS = 512,
};

struct connection {
    int fd;
    size_t sent;         /* bytes of the request that the kernel has taken */
    size_t got;          /* bytes of the response that have come */
    uint64_t began;      /* ns */
    char *response;      /* http only: the response so far */
};

static enum mode mode;
static struct sockaddr_in server;
static char request[BUFFER], scratch[BUFFER];
static size_t request_size;
static int epoll;
static struct connection *connections;
static uint32_t *latencies;                    /* a count for each microsecond */
static uint64_t count, total, most, errors, reopened, measured_from, longest;
static uint64_t source;                        /* the next pair of address and port */
static char first_error[200];

static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static double cpu_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void die(const char *what, const char *why) {
    fprintf(stderr, "load: %s: %s\n", what, why);
    exit(1);
}

static void too_long(int signal_number) {
    (void)signal_number;
    static const char message[] = "load: not done in time: the server does not answer\n";
    if (write(STDERR_FILENO, message, sizeof message - 1) < 0) _exit(3);
    _exit(3);
}

static void note_error(const char *what, const char *why) {
    if (!errors++) snprintf(first_error, sizeof first_error, "%s: %s", what, why);
    if (errors > MOST_ERRORS) die(first_error, "and a thousand more");
}

static struct sockaddr_in next_source(void) {
    struct sockaddr_in address = {.sin_family = AF_INET};
    uint64_t pair = source++ % ((uint64_t)SOURCES * PORTS);
    address.sin_addr.s_addr = htonl(0x7f000000u + FIRST_SOURCE + (uint32_t)(pair / PORTS));
    address.sin_port = htons((uint16_t)(FIRST_PORT + pair % PORTS));
    return address;
}

/* Edge triggered: one epoll_ctl() for the life of a connection. */
static void open_connection(struct connection *c) {
    int on = 1;
    c->sent = c->got = 0;
    c->began = now();
    for (int tries = 0; ; tries++) {
        c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (c->fd < 0) die("socket", strerror(errno));
        setsockopt(c->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
        setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        struct sockaddr_in from = next_source();
        if (bind(c->fd, (struct sockaddr *)&from, sizeof from) == 0 &&
            (connect(c->fd, (struct sockaddr *)&server, sizeof server) == 0 ||
             errno == EINPROGRESS))
            break;
        int why = errno;
        close(c->fd);
        if ((why != EADDRINUSE && why != EADDRNOTAVAIL) || tries == PORTS)
            die("connect", strerror(why));
    }
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET};
    event.data.ptr = c;
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &event) < 0) die("epoll_ctl", strerror(errno));
}

static void reopen_connection(struct connection *c) {
    close(c->fd);
    open_connection(c);
}

static void fail_connection(struct connection *c, const char *what, const char *why) {
    note_error(what, why);
    reopen_connection(c);
}

static bool send_request(struct connection *c) {
    while (c->sent < request_size) {
        ssize_t n = send(c->fd, request + c->sent, request_size - c->sent, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN) return true;
        if (n < 0) {
            fail_connection(c, "send", strerror(errno));
            return false;
        }
        c->sent += (size_t)n;
    }
    return true;
}

/* The size of the whole response in c->response, 0 while its header is not complete. */
static size_t http_response_size(struct connection *c, bool *closes) {
    c->response[c->got] = 0;
    char *end = strstr(c->response, "\r\n\r\n");
    if (!end) return 0;
    if (strncmp(c->response, "HTTP/1.1 200", 12) != 0) {
        c->response[strcspn(c->response, "\r\n")] = 0;
        die("not the response that was expected", c->response);
    }
    end[2] = 0;
    char *length = strcasestr(c->response, "\r\ncontent-length:");
    if (!length) die("response", "it has no Content-Length");
    *closes = strcasestr(c->response, "\r\nconnection: close\r\n") != NULL;
    end[2] = '\r';
    return (size_t)(end + 4 - c->response) + strtoul(length + 17, NULL, 10);
}

/* Whether the whole response is there. For echo, every byte is compared with what was sent. */
static bool complete(struct connection *c, bool *closes) {
    if (mode != HTTP) return c->got == request_size;
    size_t size = http_response_size(c, closes);
    if (size && c->got > size) die("response", "it is longer than its Content-Length");
    return size && c->got == size;
}

static void finish_exchange(struct connection *c, bool closes) {
    uint64_t t = now();
    total++;
    if (t >= measured_from) {
        uint64_t us = (t - c->began) / 1000;
        latencies[us < SLOWEST ? us : SLOWEST - 1]++;
        if (us > longest) longest = us;
        count++;
    }
    if (mode == IDLE) return;
    if (mode == CONNRATE || closes) {
        if (closes) reopened++;
        reopen_connection(c);
        return;
    }
    c->sent = c->got = 0;
    c->began = t;
    send_request(c);
}

/* Edge triggered: reads until the response is whole or the kernel has no more. */
static void receive_response(struct connection *c) {
    for (;;) {
        char *into = mode == HTTP ? c->response + c->got : scratch;
        size_t room = mode == HTTP ? BUFFER - 1 - c->got : request_size - c->got;
        if (room == 0) {
            if (mode == HTTP) die("response", "it is longer than 64 KiB");
            return; /* idle: nothing more is expected on this connection */
        }
        ssize_t n = recv(c->fd, into, room, 0);
        if (n < 0 && errno == EAGAIN) return;
        if (n < 0) {
            fail_connection(c, "recv", strerror(errno));
            return;
        }
        if (n == 0) {
            if (mode == HTTP && c->got == 0 && c->sent) reopened++;
            else note_error("recv", "the server closed the connection");
            reopen_connection(c);
            return;
        }
        if (mode != HTTP && memcmp(scratch, request + c->got, (size_t)n) != 0)
            die("echo", "other bytes came back than were sent");
        c->got += (size_t)n;
        bool closes = false;
        if (complete(c, &closes)) {
            finish_exchange(c, closes);
            return;
        }
    }
}

static void serve_events(uint64_t until) {
    struct epoll_event events[EVENTS];
    int64_t left = (int64_t)(until - now()) / 1000000;
    int n = epoll_wait(epoll, events, EVENTS, left > 0 ? (int)left : 0);
    if (n < 0 && errno != EINTR) die("epoll_wait", strerror(errno));
    for (int i = 0; i < n; i++) {
        struct connection *c = events[i].data.ptr;
        if (c->sent < request_size && !send_request(c)) continue;
        if (events[i].events & (EPOLLIN | EPOLLERR | EPOLLHUP)) receive_response(c);
    }
}

static uint64_t percentile(double share) {
    uint64_t wanted = (uint64_t)((double)count * share), seen = 0;
    for (uint64_t us = 0; us < SLOWEST; us++)
        if ((seen += latencies[us]) > wanted) return us;
    return 0;
}

/* A server may serve a few connections for ever and let the others wait: those have no latency,
 * but they have waited. */
static void note_unanswered(size_t width) {
    uint64_t t = now();
    for (size_t i = 0; i < width; i++) {
        uint64_t us = (t - connections[i].began) / 1000;
        if (us > longest) longest = us;
    }
}

static void run_load(size_t width, double warmup, double seconds) {
    uint64_t began = now();
    measured_from = began + (uint64_t)(warmup * 1e9);
    uint64_t until = measured_from + (uint64_t)(seconds * 1e9);
    for (size_t i = 0; i < width; i++) open_connection(&connections[i]);
    double cpu_before = 0;
    bool measuring = false;
    while (now() < until && (!most || total < most)) {
        serve_events(until);
        if (!measuring && now() >= measured_from) {
            measuring = true;
            cpu_before = cpu_seconds();
        }
    }
    double took = (double)(now() - measured_from) / 1e9;
    note_unanswered(width);
    printf("{\"count\": %llu, \"total\": %llu, \"seconds\": %.6f, \"p50_us\": %llu, "
           "\"p99_us\": %llu, \"longest_us\": %llu, \"errors\": %llu, \"reopened\": %llu, "
           "\"cpu\": %.3f, \"first_error\": \"%s\"}\n",
           (unsigned long long)count, (unsigned long long)total, took,
           (unsigned long long)percentile(0.5), (unsigned long long)percentile(0.99),
           (unsigned long long)longest, (unsigned long long)errors, (unsigned long long)reopened,
           (cpu_seconds() - cpu_before) / took, first_error);
}

static void hold_idle(size_t width, double seconds) {
    uint64_t began = now(), until = began + (uint64_t)(seconds * 1e9);
    measured_from = 0;
    for (size_t opened = 0; total < width;) {
        if (now() >= until) die("idle", "the connections could not be opened in time");
        while (opened < width && opened - total < OPENING) open_connection(&connections[opened++]);
        serve_events(until);
    }
    printf("{\"ready\": %zu, \"seconds\": %.6f, \"errors\": %llu, \"first_error\": \"%s\"}\n",
           width, (double)(now() - began) / 1e9, (unsigned long long)errors, first_error);
    fflush(stdout);
    char ignored[64];
    while (read(STDIN_FILENO, ignored, sizeof ignored) > 0) {}
}

static enum mode parse_mode(const char *name) {
    static const char *const names[] = {"echo", "connrate", "http", "idle"};
    for (enum mode m = ECHO; m <= IDLE; m++)
        if (strcmp(name, names[m]) == 0) return m;
    die("unknown mode", name);
    return ECHO;
}

static void raise_file_limit(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

int main(int argc, char **argv) {
    if (argc != 8) die("usage", "load MODE PORT CONNECTIONS SIZE WARMUP SECONDS COUNT");
    mode = parse_mode(argv[1]);
    server.sin_family = AF_INET;
    server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    server.sin_port = htons((uint16_t)atoi(argv[2]));
    size_t width = strtoul(argv[3], NULL, 10);
    request_size = strtoul(argv[4], NULL, 10);
    double warmup = atof(argv[5]), seconds = atof(argv[6]);
    most = strtoull(argv[7], NULL, 10);
    if (!width || (mode != HTTP && !request_size) || request_size >= BUFFER)
        die("usage", "CONNECTIONS and SIZE have to be positive, and SIZE below 64 KiB");

    signal(SIGALRM, too_long);
    alarm((unsigned)(warmup + seconds) + 15);
    raise_file_limit();
    for (size_t i = 0; i < request_size; i++) request[i] = (char)('!' + i % 90);
    if (mode == HTTP)
        request_size = (size_t)snprintf(request, sizeof request,
                                        "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
    source = now() / 1000 * 7919; /* another beginning for each run */
    connections = calloc(width, sizeof *connections);
    latencies = calloc(SLOWEST, sizeof *latencies);
    if (!connections || !latencies) die("memory", strerror(errno));
    for (size_t i = 0; mode == HTTP && i < width; i++)
        if (!(connections[i].response = malloc(BUFFER))) die("memory", strerror(errno));
    if ((epoll = epoll_create1(EPOLL_CLOEXEC)) < 0) die("epoll_create1", strerror(errno));

    if (mode == IDLE) hold_idle(width, seconds);
    else run_load(width, warmup, seconds);
    return 0;
}
