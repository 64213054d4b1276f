/* generator: loads an echo server on loopback and checks every byte of the replies.
 *
 * It is a closed loop on one thread: each connection sends a round of K messages in one write,
 * waits for all K replies, records the time, and starts the next round. A message contains its
 * connection and its number, so that a lost, wrong or swapped reply is found.
 *
 *   generator --port P [--host 127.0.0.1] [--connections 50] [--size 64] [--in-flight 1]
 *             [--seconds 3] [--warm-up 0.5] [--prefix 'Echo: '] [--eol lf|crlf]
 *             [--skip-lines N] [--busy]
 *
 * A message is SIZE bytes with its '\n'. The reply must be PREFIX, the message, and EOL instead
 * of the '\n'. Prints one line of JSON. Exits with 1 if a reply was wrong or lost. */
#include "loopback.h" /* comes first, because it requests the GNU extensions */

#include "histogram.h"
#include <fcntl.h>
#include <getopt.h>
#include <sys/epoll.h>

#define GRACE (5 * NANOSECONDS) /* the maximum wait for replies after the end */
#define CONNECT_SECONDS 5
#define BUFFER_BYTES (64 * 1024)
#define EVENTS 256

/* A message: "c" + connection, "-m" + number, "-", filler, newline. */
#define NUMBER_AT 7
#define HEADER_BYTES 16
#define SMALLEST_MESSAGE (HEADER_BYTES + 1)
#define MOST_CONNECTIONS 65535 /* four hexadecimal digits */

static struct options {
    const char *host, *prefix, *eol;
    unsigned port;
    size_t connections, size, in_flight;
    double seconds, warm_up;
    int skip_lines;
    bool busy;
} options = {
    .host = "127.0.0.1", .prefix = "", .eol = "\n", .connections = 50, .size = 64,
    .in_flight = 1, .seconds = 3, .warm_up = 0.5,
};

struct connection {
    int fd; /* -1 once it has failed */
    unsigned index;
    int greeting_lines_left;
    bool waiting;  /* whether a round is in progress */
    uint32_t next_message;
    uint64_t started_ns;
    size_t sent, received; /* bytes of this round */
    char *request;
    char *expected; /* the same memory as `request` if a reply equals its message */
};

static struct run {
    uint64_t from_ns, to_ns; /* the measured time, after the warm-up */
    size_t request_bytes, reply_bytes, prefix_bytes; /* the first two are of one round */
    size_t open_connections, rounds_under_way;
    uint64_t messages;     /* answered within the measured time */
    uint64_t messages_all; /* answered at any time, for the server's CPU time */
    uint64_t wrong, errors;
} run;

static char buffer[BUFFER_BYTES];
static struct histogram latencies;

/* ---- Messages ---- */

static void write_hexadecimal(char *at, uint32_t value, int digits)
{
    while (digits-- > 0) {
        at[digits] = "0123456789abcdef"[value & 15];
        value >>= 4;
    }
}

/* The constant parts of a message. The period of the filler is prime and its start depends on the
 * connection, so lost bytes, or bytes of another connection, do not match. */
static void write_body(char *message, unsigned connection)
{
    static const char filler[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz012345678";
    memcpy(message, "c0000-m00000000-", HEADER_BYTES);
    write_hexadecimal(message + 1, connection, 4);
    for (size_t i = HEADER_BYTES; i < options.size - 1; i++)
        message[i] = filler[(i + connection) % (sizeof filler - 1)];
}

static void prepare_messages(struct connection *connection)
{
    size_t eol_bytes = strlen(options.eol), body = options.size - 1;
    bool same = run.prefix_bytes == 0 && strcmp(options.eol, "\n") == 0;
    connection->request = malloc(run.request_bytes);
    connection->expected = same ? connection->request : malloc(run.reply_bytes);
    if (!connection->request || !connection->expected)
        die("out of memory");

    char *request = connection->request, *expected = connection->expected;
    for (size_t i = 0; i < options.in_flight; i++) {
        write_body(request, connection->index);
        request[body] = '\n';
        if (!same) {
            memcpy(expected, options.prefix, run.prefix_bytes);
            memcpy(expected + run.prefix_bytes, request, body);
            memcpy(expected + run.prefix_bytes + body, options.eol, eol_bytes);
            expected += run.prefix_bytes + body + eol_bytes;
        }
        request += options.size;
    }
}

/* Writes the numbers of the next round into both copies of the messages. */
static void number_messages(struct connection *connection)
{
    size_t reply = run.reply_bytes / options.in_flight;
    for (size_t i = 0; i < options.in_flight; i++) {
        uint32_t number = connection->next_message++;
        write_hexadecimal(connection->request + i * options.size + NUMBER_AT, number, 8);
        if (connection->expected != connection->request) {
            char *copy = connection->expected + i * reply + run.prefix_bytes;
            write_hexadecimal(copy + NUMBER_AT, number, 8);
        }
    }
}

/* ---- One connection ---- */

/* After a wrong or lost reply the connection cannot be synchronized again, so it is closed. Only
 * the first error is printed, because it usually causes the later ones. */
static void fail(struct connection *connection, uint64_t *counter, const char *what)
{
    uint32_t sent = connection->waiting ? (uint32_t)options.in_flight : 0;
    if (run.wrong + run.errors == 0)
        fprintf(stderr, "connection %u, round from message %u, byte %zu: %s\n",
                connection->index, connection->next_message - sent, connection->received, what);
    ++*counter;
    if (connection->waiting)
        run.rounds_under_way--;
    connection->waiting = false;
    close(connection->fd);
    connection->fd = -1;
    run.open_connections--;
}

static void send_more(struct connection *connection)
{
    while (connection->sent < run.request_bytes) {
        ssize_t sent = send(connection->fd, connection->request + connection->sent,
                            run.request_bytes - connection->sent, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0 && errno == EAGAIN)
            return; /* until epoll reports room; replies are read meanwhile */
        if (sent < 0) {
            fail(connection, &run.errors, strerror(errno));
            return;
        }
        connection->sent += (size_t)sent;
    }
}

static void begin_round(struct connection *connection, uint64_t now)
{
    if (now >= run.to_ns)
        return;
    number_messages(connection);
    connection->sent = connection->received = 0;
    connection->started_ns = now;
    connection->waiting = true;
    run.rounds_under_way++;
    send_more(connection);
}

/* A message counts if its round ends within the measured time. A latency counts if its round starts
 * within it. So a stall of the server at the end lowers its throughput and adds bad latencies. */
static void finish_round(struct connection *connection)
{
    uint64_t now = now_ns();
    connection->waiting = false;
    run.rounds_under_way--;
    run.messages_all += options.in_flight;
    if (now >= run.from_ns && now < run.to_ns)
        run.messages += options.in_flight;
    if (connection->started_ns >= run.from_ns)
        record_latency(&latencies, now - connection->started_ns);
    begin_round(connection, now);
}

/* Skips whole lines at the front while a greeting is expected. Returns the number of bytes. */
static size_t skip_greeting(struct connection *connection, const char *bytes, size_t count)
{
    size_t used = 0;
    while (used < count && connection->greeting_lines_left > 0)
        if (bytes[used++] == '\n')
            connection->greeting_lines_left--;
    return used;
}

static void take(struct connection *connection, const char *bytes, size_t count)
{
    if (connection->greeting_lines_left > 0) {
        size_t used = skip_greeting(connection, bytes, count);
        if (used == count) {
            if (connection->greeting_lines_left == 0)
                begin_round(connection, now_ns());
            return;
        }
        bytes += used;
        count -= used;
    }
    if (!connection->waiting || count > run.reply_bytes - connection->received) {
        fail(connection, &run.wrong, "the server sent more than it was asked for");
        return;
    }
    if (memcmp(bytes, connection->expected + connection->received, count) != 0) {
        while (*bytes++ == connection->expected[connection->received])
            connection->received++;
        fail(connection, &run.wrong, "the reply differs here from what was sent");
        return;
    }
    connection->received += count;
    if (connection->received == run.reply_bytes)
        finish_round(connection);
}

/* Reads until the socket is empty, because epoll is edge-triggered. After a short read it is empty,
 * unless the end of the stream follows. */
static void read_more(struct connection *connection, bool ended)
{
    while (connection->fd >= 0) {
        ssize_t got = recv(connection->fd, buffer, sizeof buffer, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0 && errno == EAGAIN)
            return;
        if (got < 0)
            fail(connection, &run.errors, strerror(errno));
        else if (got == 0)
            fail(connection, &run.errors, "the server closed the connection");
        else
            take(connection, buffer, (size_t)got);
        if (got < (ssize_t)sizeof buffer && !ended)
            return;
    }
}

/* ---- The run ---- */

static void open_connections(struct connection *connections, int poller)
{
    struct endpoint endpoint = loopback_endpoint(options.host, (uint16_t)options.port);
    for (size_t i = 0; i < options.connections; i++) {
        struct connection *connection = &connections[i];
        connection->index = (unsigned)i;
        connection->greeting_lines_left = options.skip_lines;
        connection->fd = connect_to(&endpoint, CONNECT_SECONDS);
        if (connection->fd < 0)
            die("connection %zu to %s port %u: %s", i, options.host, options.port,
                strerror(errno));
        fcntl(connection->fd, F_SETFL, O_NONBLOCK);
        /* Watches both directions from the start, so that no epoll_ctl is needed later. */
        struct epoll_event event = {
            .events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = connection,
        };
        if (epoll_ctl(poller, EPOLL_CTL_ADD, connection->fd, &event) != 0)
            die("epoll_ctl: %s", strerror(errno));
        prepare_messages(connection);
    }
    run.open_connections = options.connections;
}

static void serve_events(int poller, int timeout_ms)
{
    struct epoll_event events[EVENTS];
    int ready = epoll_wait(poller, events, EVENTS, timeout_ms);
    for (int i = 0; i < ready; i++) {
        struct connection *connection = events[i].data.ptr;
        uint32_t what = events[i].events;
        bool ended = what & (EPOLLRDHUP | EPOLLHUP | EPOLLERR);
        if (connection->fd >= 0 && connection->waiting && (what & EPOLLOUT))
            send_more(connection);
        if (connection->fd >= 0 && (ended || (what & EPOLLIN)))
            read_more(connection, ended);
    }
}

/* Runs until the time is over and all replies have arrived, or until no connection is left. If the
 * server does not answer, it ends GRACE after the end of the time. */
static void drive(struct connection *connections, int poller)
{
    uint64_t now = now_ns();
    run.from_ns = now + (uint64_t)(options.warm_up * (double)NANOSECONDS);
    run.to_ns = run.from_ns + (uint64_t)(options.seconds * (double)NANOSECONDS);
    for (size_t i = 0; i < options.connections && options.skip_lines == 0; i++)
        begin_round(&connections[i], now_ns());

    while (run.open_connections > 0) {
        now = now_ns();
        if (now >= run.to_ns + GRACE || (now >= run.to_ns && run.rounds_under_way == 0))
            break;
        uint64_t until = now < run.to_ns ? run.to_ns : run.to_ns + GRACE;
        serve_events(poller, options.busy ? 0 : (int)((until - now) / 1000000 + 1));
    }
    for (size_t i = 0; i < options.connections; i++)
        if (connections[i].fd >= 0 && connections[i].greeting_lines_left > 0)
            fail(&connections[i], &run.errors, "no greeting came");
        else if (connections[i].fd >= 0 && connections[i].waiting)
            fail(&connections[i], &run.errors, "the reply never came");
}

static void print_result(void)
{
    double rate = (double)run.messages / options.seconds;
    printf("{\"messages\":%llu,\"messages_all\":%llu,\"seconds\":%.3f,\"per_second\":%.1f,"
           "\"bytes_per_second\":%.0f,",
           (unsigned long long)run.messages, (unsigned long long)run.messages_all,
           options.seconds, rate, rate * (double)options.size);
    printf("\"p50_us\":%.1f,\"p90_us\":%.1f,\"p99_us\":%.1f,\"p999_us\":%.1f,\"max_us\":%.1f,",
           percentile_us(&latencies, 0.50), percentile_us(&latencies, 0.90),
           percentile_us(&latencies, 0.99), percentile_us(&latencies, 0.999),
           (double)latencies.max_ns / 1000);
    printf("\"wrong\":%llu,\"errors\":%llu}\n", (unsigned long long)run.wrong,
           (unsigned long long)run.errors);
}

static const char *eol_named(const char *name)
{
    if (strcmp(name, "lf") == 0)
        return "\n";
    if (strcmp(name, "crlf") == 0)
        return "\r\n";
    die("--eol is lf or crlf, not %s", name);
}

static void read_options(int argc, char **argv)
{
    static const struct option known[] = {
        {"host", 1, 0, 'h'}, {"port", 1, 0, 'p'}, {"connections", 1, 0, 'c'},
        {"size", 1, 0, 's'}, {"in-flight", 1, 0, 'k'}, {"seconds", 1, 0, 't'},
        {"warm-up", 1, 0, 'w'}, {"prefix", 1, 0, 'x'}, {"eol", 1, 0, 'e'},
        {"skip-lines", 1, 0, 'l'}, {"busy", 0, 0, 'b'}, {0},
    };
    for (int option; (option = getopt_long(argc, argv, "", known, NULL)) != -1;)
        switch (option) {
        case 'h': options.host = optarg; break;
        case 'p': options.port = (unsigned)number_between("--port", optarg, 1, 65535); break;
        case 'c':
            options.connections =
                (size_t)number_between("--connections", optarg, 1, MOST_CONNECTIONS);
            break;
        case 's':
            options.size = (size_t)number_between("--size", optarg, SMALLEST_MESSAGE, 16 << 20);
            break;
        case 'k': options.in_flight = (size_t)number_between("--in-flight", optarg, 1, 4096); break;
        case 't': options.seconds = number_between("--seconds", optarg, 0.01, 3600); break;
        case 'w': options.warm_up = number_between("--warm-up", optarg, 0, 60); break;
        case 'x': options.prefix = optarg; break;
        case 'e': options.eol = eol_named(optarg); break;
        case 'l': options.skip_lines = (int)number_between("--skip-lines", optarg, 0, 1000); break;
        case 'b': options.busy = true; break;
        default: die("the options are explained at the top of generator.c");
        }
    if (options.port == 0 || optind != argc)
        die("usage: generator --port P [options]");
}

int main(int argc, char **argv)
{
    read_options(argc, argv);
    raise_descriptor_limit();
    run.prefix_bytes = strlen(options.prefix);
    run.request_bytes = options.in_flight * options.size;
    run.reply_bytes = run.request_bytes
        + options.in_flight * (run.prefix_bytes + strlen(options.eol) - 1);
    /* Each connection has two copies of a round. If they do not fit into memory, the program would
     * measure the swap file. */
    if ((double)options.connections * (double)(run.request_bytes + run.reply_bytes) > 2e9)
        die("connections x in-flight x size is more than 1 GB: choose less");

    int poller = epoll_create1(EPOLL_CLOEXEC);
    struct connection *connections = calloc(options.connections, sizeof *connections);
    if (poller < 0 || !connections)
        die("cannot start: %s", strerror(errno));
    open_connections(connections, poller);
    drive(connections, poller);
    print_result();
    return run.wrong + run.errors > 0;
}
