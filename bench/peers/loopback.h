/* The common part of the programs in this folder: a clock, loopback sockets, numeric arguments.
 *
 * Every function is `static inline`, so that one call of gcc builds a program from one file. */
#ifndef LOOPBACK_H
#define LOOPBACK_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <arpa/inet.h>
#include <errno.h>
#include <math.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define NANOSECONDS 1000000000ull

__attribute__((format(printf, 1, 2)))
static inline _Noreturn void die(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(2);
}

static inline uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * NANOSECONDS + (uint64_t)now.tv_nsec;
}

/* The usual soft limit is 1,024, for programs that call select(). These programs do not. */
static inline void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        die("cannot read the descriptor limit: %s", strerror(errno));
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
        die("cannot raise the descriptor limit: %s", strerror(errno));
}

/* Parses a decimal number between two bounds, or prints the reason and exits. */
static inline double number_between(const char *name, const char *text, double low, double high)
{
    char *end = NULL;
    double value = text ? strtod(text, &end) : NAN;
    if (!text || end == text || *end != '\0' || !(value >= low && value <= high))
        die("%s needs a number from %.10g to %.10g", name, low, high);
    return value;
}

struct endpoint {
    struct sockaddr_storage address;
    socklen_t length;
};

/* These programs send at full speed, so they accept only loopback addresses. */
static inline struct endpoint loopback_endpoint(const char *host, uint16_t port)
{
    struct endpoint endpoint = {0};
    if (strcmp(host, "127.0.0.1") == 0) {
        struct sockaddr_in *v4 = (struct sockaddr_in *)&endpoint.address;
        v4->sin_family = AF_INET;
        v4->sin_port = htons(port);
        v4->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        endpoint.length = sizeof *v4;
    } else if (strcmp(host, "::1") == 0) {
        struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&endpoint.address;
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(port);
        v6->sin6_addr = in6addr_loopback;
        endpoint.length = sizeof *v6;
    } else {
        die("%s is refused: this program loads servers at 127.0.0.1 and ::1 only", host);
    }
    return endpoint;
}

/* The sizes of buffers and segments of a connection. 0 is the default of the system. */
struct narrow {
    int buffer_bytes, segment_bytes;
};

/* Returns a connected blocking socket whose waits last at most `seconds`. After an error it returns
 * -1 and sets errno. On loopback, connect() completes the handshake at once, so it may block. */
static inline int connect_narrow(const struct endpoint *endpoint, int seconds,
                                 struct narrow narrow)
{
    int fd = socket(endpoint->address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    struct timeval limit = {.tv_sec = seconds};
    int on = 1;
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit); /* also limits connect() */
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (narrow.buffer_bytes > 0)
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &narrow.buffer_bytes, sizeof narrow.buffer_bytes);
    if (narrow.segment_bytes > 0)
        setsockopt(fd, IPPROTO_TCP, TCP_MAXSEG, &narrow.segment_bytes,
                   sizeof narrow.segment_bytes);
    if (connect(fd, (const struct sockaddr *)&endpoint->address, endpoint->length) != 0) {
        int reason = errno;
        close(fd);
        errno = reason;
        return -1;
    }
    return fd;
}

static inline int connect_to(const struct endpoint *endpoint, int seconds)
{
    return connect_narrow(endpoint, seconds, (struct narrow){0});
}

/* Binds a socket, prints its port, and listens. Port 0 is any free port. */
static inline int listen_on(uint16_t port)
{
    struct endpoint endpoint = loopback_endpoint("127.0.0.1", port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&endpoint.address, endpoint.length) != 0)
        die("bind to port %u: %s", port, strerror(errno));
    if (listen(fd, 4096) != 0)
        die("listen: %s", strerror(errno));
    struct sockaddr_in bound;
    socklen_t length = sizeof bound;
    getsockname(fd, (struct sockaddr *)&bound, &length);
    printf("%u\n", ntohs(bound.sin_port));
    fflush(stdout);
    return fd;
}

/* Returns the next waiting connection as a non-blocking socket, or -1 if there is none. */
static inline int accept_from(int listener)
{
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            int on = 1;
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
            return fd;
        }
        if (errno == EAGAIN)
            return -1;
        /* Probably no descriptor is free. An exit is better than a server that seems slow. */
        if (errno != EINTR && errno != ECONNABORTED)
            die("accept: %s", strerror(errno));
    }
}

/* Ends a connection with RST, so that its port is free at once, not only after a minute. */
static inline void reset_and_close(int fd)
{
    struct linger none = {.l_onoff = 1, .l_linger = 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof none);
    close(fd);
}

#endif
