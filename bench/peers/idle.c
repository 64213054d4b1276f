/* idle --port P --connections N: many connections that exchange one line and then stay idle.
 *
 * Opens N connections, exchanges one line on each, prints "ready", and keeps them open until its
 * input ends. In that time the caller measures the memory of the server. */
#include "loopback.h"

#include <getopt.h>

#define WAIT_SECONDS 5

/* The reply may have a prefix and a '\r'. It must contain the line, because a full server also
 * answers with a line, which is no echo. */
static bool is_echo(const char *reply, size_t length)
{
    while (length > 0 && (reply[length - 1] == '\n' || reply[length - 1] == '\r'))
        length--;
    return length >= 5 && memcmp(reply + length - 5, "hello", 5) == 0;
}

static void exchange_line(int fd, size_t connection)
{
    static const char line[] = "hello\n";
    char reply[256];
    size_t length = 0;
    if (send(fd, line, sizeof line - 1, MSG_NOSIGNAL) != (ssize_t)sizeof line - 1)
        die("connection %zu: cannot send: %s", connection, strerror(errno));
    while (length == 0 || reply[length - 1] != '\n') {
        ssize_t got = recv(fd, reply + length, sizeof reply - length, 0);
        if (got <= 0)
            die("connection %zu: no reply: %s", connection,
                got < 0 ? strerror(errno) : "the server closed it");
        length += (size_t)got;
    }
    if (!is_echo(reply, length))
        die("connection %zu: instead of the echo came: %.*s", connection, (int)length, reply);
}

int main(int argc, char **argv)
{
    static const struct option known[] = {
        {"port", 1, 0, 'p'}, {"connections", 1, 0, 'c'}, {0},
    };
    unsigned port = 0;
    size_t count = 0;
    for (int option; (option = getopt_long(argc, argv, "", known, NULL)) != -1;)
        if (option == 'p')
            port = (unsigned)number_between("--port", optarg, 1, 65535);
        else if (option == 'c')
            count = (size_t)number_between("--connections", optarg, 1, 28000);
        else
            die("usage: idle --port P --connections N");
    if (port == 0 || count == 0 || optind != argc)
        die("usage: idle --port P --connections N");

    raise_descriptor_limit();
    struct endpoint endpoint = loopback_endpoint("127.0.0.1", (uint16_t)port);
    int *connections = calloc(count, sizeof *connections);
    if (!connections)
        die("out of memory");
    for (size_t i = 0; i < count; i++) {
        connections[i] = connect_to(&endpoint, WAIT_SECONDS);
        if (connections[i] < 0)
            die("connection %zu: %s", i, strerror(errno));
        exchange_line(connections[i], i);
    }
    puts("ready");
    fflush(stdout);

    char ignored[64];
    while (read(STDIN_FILENO, ignored, sizeof ignored) > 0) {
    }
    for (size_t i = 0; i < count; i++)
        reset_and_close(connections[i]);
    return 0;
}
