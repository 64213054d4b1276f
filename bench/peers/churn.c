/* churn: connects, exchanges one line, closes, and repeats, C connections at a time.
 *
 *   churn --port P [--connections 50] [--seconds 3] [--prefix 'Echo: ']
 *
 * Every byte of a reply is compared. A connection ends with RST after its reply was read, so that
 * a long run does not use up the ports. Prints one line of JSON. Exits with 1 after any error. */
#include "loopback.h"

#include <getopt.h>
#include <sys/epoll.h>

#define GRACE (5 * NANOSECONDS)
#define CONNECT_SECONDS 5
#define EVENTS 256

struct slot {
    int fd;          /* -1 if the slot is empty */
    uint32_t number; /* of the connection; its line contains it */
    size_t received;
};

static struct endpoint server;
static const char *prefix = "";
static int poller;
static uint32_t next_number;
static uint64_t connections_done, errors;
static size_t slots_open;

static size_t message_of(const struct slot *slot, char *message, size_t room, const char *before)
{
    return (size_t)snprintf(message, room, "%sconnection-%010u\n", before, slot->number);
}

static void fail(const struct slot *slot, const char *what)
{
    if (errors++ == 0)
        fprintf(stderr, "connection %u: %s\n", slot->number, what);
}

static void end(struct slot *slot)
{
    reset_and_close(slot->fd);
    slot->fd = -1;
    slots_open--;
}

static void begin(struct slot *slot)
{
    char message[64];
    slot->number = next_number++;
    slot->received = 0;
    slot->fd = connect_to(&server, CONNECT_SECONDS);
    if (slot->fd < 0) {
        /* Retrying at full speed does not help, so this slot stays empty. */
        fail(slot, strerror(errno));
        return;
    }
    slots_open++;
    size_t length = message_of(slot, message, sizeof message, "");
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = slot};
    if (send(slot->fd, message, length, MSG_NOSIGNAL) != (ssize_t)length
        || epoll_ctl(poller, EPOLL_CTL_ADD, slot->fd, &event) != 0) {
        fail(slot, strerror(errno));
        end(slot);
    }
}

/* Reads the available bytes. Returns true if the connection is finished, after the reply or an
 * error. */
static bool read_reply(struct slot *slot)
{
    char expected[256], got[256];
    size_t length = message_of(slot, expected, sizeof expected, prefix);
    ssize_t count = recv(slot->fd, got, sizeof got, MSG_DONTWAIT);
    if (count < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    if (count <= 0) {
        fail(slot, count < 0 ? strerror(errno) : "the server closed before its reply");
        return true;
    }
    if ((size_t)count > length - slot->received
        || memcmp(got, expected + slot->received, (size_t)count) != 0) {
        fail(slot, "the reply is wrong");
        return true;
    }
    slot->received += (size_t)count;
    if (slot->received < length)
        return false;
    connections_done++;
    return true;
}

/* Runs connections until `to`, and returns the number of those that ended before it. */
static uint64_t drive(struct slot *slots, size_t count, uint64_t to)
{
    uint64_t in_time = 0;
    for (size_t i = 0; i < count; i++)
        begin(&slots[i]);
    while (slots_open > 0) {
        uint64_t now = now_ns();
        if (now >= to + GRACE)
            break;
        struct epoll_event events[EVENTS];
        int ready = epoll_wait(poller, events, EVENTS, (int)((to + GRACE - now) / 1000000 + 1));
        for (int i = 0; i < ready; i++) {
            struct slot *slot = events[i].data.ptr;
            if (!read_reply(slot))
                continue;
            end(slot);
            if (now_ns() < to) {
                in_time = connections_done;
                begin(slot);
            }
        }
    }
    for (size_t i = 0; i < count; i++)
        if (slots[i].fd >= 0)
            fail(&slots[i], "no reply came");
    return in_time;
}

int main(int argc, char **argv)
{
    static const struct option known[] = {
        {"port", 1, 0, 'p'}, {"connections", 1, 0, 'c'}, {"seconds", 1, 0, 't'},
        {"prefix", 1, 0, 'x'}, {0},
    };
    unsigned port = 0;
    size_t count = 50;
    double seconds = 3;
    for (int option; (option = getopt_long(argc, argv, "", known, NULL)) != -1;)
        switch (option) {
        case 'p': port = (unsigned)number_between("--port", optarg, 1, 65535); break;
        case 'c': count = (size_t)number_between("--connections", optarg, 1, 10000); break;
        case 't': seconds = number_between("--seconds", optarg, 0.01, 3600); break;
        case 'x': prefix = optarg; break;
        default: die("the options are explained at the top of churn.c");
        }
    if (port == 0 || optind != argc || strlen(prefix) > 200)
        die("usage: churn --port P [options]; the prefix has at most 200 bytes");

    raise_descriptor_limit();
    server = loopback_endpoint("127.0.0.1", (uint16_t)port);
    poller = epoll_create1(EPOLL_CLOEXEC);
    struct slot *slots = calloc(count, sizeof *slots);
    if (poller < 0 || !slots)
        die("cannot start: %s", strerror(errno));
    uint64_t to = now_ns() + (uint64_t)(seconds * (double)NANOSECONDS);
    uint64_t in_time = drive(slots, count, to);
    printf("{\"connections\":%llu,\"connections_all\":%llu,\"seconds\":%.3f,"
           "\"per_second\":%.1f,\"errors\":%llu}\n",
           (unsigned long long)in_time, (unsigned long long)connections_done, seconds,
           (double)in_time / seconds, (unsigned long long)errors);
    return errors > 0;
}
