/* blocking_client: one connection to an echo server on loopback, one message in flight.
 *
 *   blocking_client PORT SECONDS WARM_UP
 *
 * The least work that a client can do: write, read until the reply is whole, compare, take the
 * time. It waits in the read, so there is one system call less for each message than with epoll.
 * Each message has its number. Prints one line of JSON like `generator`. Exits with 1 if a reply is
 * wrong or lost. */
#include "loopback.h" /* first: it asks for the GNU extensions */

#include "histogram.h"

#define MESSAGE_BYTES 64
#define NUMBER_DIGITS 8

static struct histogram latencies;

static void write_number(char *at, uint32_t number)
{
    for (int digit = NUMBER_DIGITS; digit-- > 0; number >>= 4)
        at[digit] = "0123456789abcdef"[number & 15];
}

/* Sends one message, and returns whether it came back. */
static bool exchange(int fd, const char *message)
{
    char reply[MESSAGE_BYTES];
    if (send(fd, message, MESSAGE_BYTES, MSG_NOSIGNAL) != MESSAGE_BYTES)
        return false;
    for (size_t received = 0; received < sizeof reply;) {
        ssize_t got = recv(fd, reply + received, sizeof reply - received, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        received += (size_t)got;
    }
    return memcmp(reply, message, sizeof reply) == 0;
}

int main(int argc, char **argv)
{
    if (argc != 4)
        die("usage: blocking_client PORT SECONDS WARM_UP");
    uint16_t port = (uint16_t)number_between("PORT", argv[1], 1, 65535);
    double seconds = number_between("SECONDS", argv[2], 0.01, 3600);
    double warm_up = number_between("WARM_UP", argv[3], 0, 60);
    struct endpoint endpoint = loopback_endpoint("127.0.0.1", port);
    int fd = connect_to(&endpoint, 5);
    if (fd < 0)
        die("connection to port %u: %s", port, strerror(errno));

    char message[MESSAGE_BYTES];
    memset(message, 'x', sizeof message);
    message[sizeof message - 1] = '\n';
    uint64_t now = now_ns(), from = now + (uint64_t)(warm_up * (double)NANOSECONDS);
    uint64_t to = from + (uint64_t)(seconds * (double)NANOSECONDS);
    uint64_t messages = 0, all = 0;
    bool right = true;
    while (right && now < to) {
        write_number(message, (uint32_t)all);
        right = exchange(fd, message);
        uint64_t end = now_ns();
        all++;
        if (now >= from && end < to) {
            messages++;
            record_latency(&latencies, end - now);
        }
        now = end;
    }
    printf("{\"messages\":%llu,\"messages_all\":%llu,\"per_second\":%.1f,\"p50_us\":%.1f,"
           "\"p99_us\":%.1f}\n",
           (unsigned long long)messages, (unsigned long long)all, (double)messages / seconds,
           percentile_us(&latencies, 0.50), percentile_us(&latencies, 0.99));
    return right ? 0 : 1;
}
