/* epoll_echo PORT: the smallest TCP echo. A comparison with it shows the cost of a runtime.
 *
 * It has one thread, level-triggered epoll, and one shared buffer of 64 KiB. If a client does not
 * read its replies, the server keeps the unsent bytes, and reads no more until they are sent. */
#include "loopback.h"

#include <sys/epoll.h>

#define BUFFER_BYTES (64 * 1024)
#define EVENTS 256

/* The unsent bytes of one connection. Most connections never have any, so this memory is allocated
 * on demand. An idle connection costs this program only one pointer. */
struct rest {
    size_t sent, length;
    char bytes[];
};

static char buffer[BUFFER_BYTES];
static struct rest **rests; /* by descriptor */
static int poller;

static void watch(int operation, int fd, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.fd = fd};
    if (epoll_ctl(poller, operation, fd, &event) != 0)
        die("epoll_ctl: %s", strerror(errno));
}

static void end(int fd)
{
    free(rests[fd]);
    rests[fd] = NULL;
    close(fd); /* also removes it from epoll */
}

static void accept_all(int listener)
{
    for (int fd; (fd = accept_from(listener)) >= 0;)
        watch(EPOLL_CTL_ADD, fd, EPOLLIN);
}

static void keep_rest(int fd, const char *bytes, size_t length)
{
    struct rest *rest = malloc(sizeof *rest + length);
    if (!rest)
        die("out of memory");
    rest->sent = 0;
    rest->length = length;
    memcpy(rest->bytes, bytes, length);
    rests[fd] = rest;
    watch(EPOLL_CTL_MOD, fd, EPOLLOUT); /* no EPOLLIN: read nothing before this is sent */
}

static void echo(int fd)
{
    ssize_t got = recv(fd, buffer, sizeof buffer, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got <= 0) {
        end(fd);
        return;
    }
    ssize_t sent = send(fd, buffer, (size_t)got, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN && errno != EINTR) {
        end(fd);
        return;
    }
    if (sent < 0)
        sent = 0;
    if (sent < got)
        keep_rest(fd, buffer + sent, (size_t)(got - sent));
}

static void send_rest(int fd)
{
    struct rest *rest = rests[fd];
    ssize_t sent = send(fd, rest->bytes + rest->sent, rest->length - rest->sent, MSG_NOSIGNAL);
    if (sent < 0) {
        if (errno != EAGAIN && errno != EINTR)
            end(fd);
        return;
    }
    rest->sent += (size_t)sent;
    if (rest->sent == rest->length) {
        free(rest);
        rests[fd] = NULL;
        watch(EPOLL_CTL_MOD, fd, EPOLLIN);
    }
}

int main(int argc, char **argv)
{
    if (argc != 2)
        die("usage: epoll_echo PORT");
    uint16_t port = (uint16_t)number_between("PORT", argv[1], 0, 65535);
    raise_descriptor_limit();
    rests = calloc((size_t)sysconf(_SC_OPEN_MAX), sizeof *rests);
    poller = epoll_create1(EPOLL_CLOEXEC);
    if (!rests || poller < 0)
        die("cannot start: %s", strerror(errno));
    int listener = listen_on(port);
    watch(EPOLL_CTL_ADD, listener, EPOLLIN);

    for (;;) {
        struct epoll_event events[EVENTS];
        int ready = epoll_wait(poller, events, EVENTS, -1);
        for (int i = 0; i < ready; i++) {
            int fd = events[i].data.fd;
            if (fd == listener)
                accept_all(listener);
            else if (rests[fd])
                send_rest(fd);
            else
                echo(fd);
        }
    }
}
