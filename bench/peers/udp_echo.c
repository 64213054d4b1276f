/* udp_echo PORT: the smallest UDP echo: a loop of one blocking recvfrom and one sendto. */
#include "loopback.h"

#define BUFFER_BYTES (64 * 1024)

static char buffer[BUFFER_BYTES];

int main(int argc, char **argv)
{
    uint16_t port = (uint16_t)number_between("PORT", argc == 2 ? argv[1] : NULL, 0, 65535);
    struct endpoint here = loopback_endpoint("127.0.0.1", port);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int room = 4 * 1024 * 1024; /* as echoline requests; the kernel's limit applies to both */
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
    if (bind(fd, (struct sockaddr *)&here.address, here.length) != 0)
        die("bind to port %u: %s", port, strerror(errno));
    struct sockaddr_in bound;
    socklen_t length = sizeof bound;
    getsockname(fd, (struct sockaddr *)&bound, &length);
    printf("%u\n", ntohs(bound.sin_port));
    fflush(stdout);

    for (;;) {
        struct sockaddr_storage from;
        socklen_t from_bytes = sizeof from;
        ssize_t got =
            recvfrom(fd, buffer, sizeof buffer, 0, (struct sockaddr *)&from, &from_bytes);
        if (got >= 0)
            sendto(fd, buffer, (size_t)got, 0, (struct sockaddr *)&from, from_bytes);
    }
}
