/* udp_generator: loads a UDP echo on loopback and checks every byte of the replies.
 *
 * It is a closed loop on one thread: each socket has K datagrams in flight and sends the next one
 * after each reply. A datagram contains its number and the index of its socket. If a socket
 * receives nothing for 200 ms, its datagrams count as lost and it sends new ones. This is rare on
 * loopback.
 *
 *   udp_generator --port P [--connections 50] [--size 64] [--in-flight 1] [--seconds 3]
 *                 [--warm-up 0.5] [--busy]
 *
 * Prints one line of JSON. Exits with 1 if it has received a wrong datagram. */
#include "loopback.h" /* comes first, because it requests the GNU extensions */

#include "histogram.h"
#include <getopt.h>
#include <sys/epoll.h>

#define LOST (NANOSECONDS / 5)
#define BUFFER_BYTES (64 * 1024)
#define EVENTS 256
#define HEADER_BYTES 12 /* the socket's index, the datagram's number, its start time */
#define IN_FLIGHT_MAX 64

static struct options {
    unsigned port;
    size_t sockets, size, in_flight;
    double seconds, warm_up;
    bool busy;
} options = {.sockets = 50, .size = 64, .in_flight = 1, .seconds = 3, .warm_up = 0.5};

struct flow {
    int fd;
    uint32_t index, next;     /* the number of the next datagram */
    uint32_t oldest;          /* datagrams with lower numbers count as lost */
    size_t in_flight;
    uint64_t heard_ns;        /* the time of the last received datagram */
    uint64_t begun_ns[IN_FLIGHT_MAX]; /* at number % IN_FLIGHT_MAX */
};

static struct run {
    uint64_t from_ns, to_ns, messages, messages_all, wrong, lost;
} run;

static struct histogram latencies;
static char buffer[BUFFER_BYTES], message[BUFFER_BYTES];

static void begin(struct flow *flow, uint64_t now)
{
    uint32_t header[3] = {flow->index, flow->next, ~flow->next};
    memcpy(message, header, HEADER_BYTES);
    if (send(flow->fd, message, options.size, 0) != (ssize_t)options.size)
        return; /* it will count as lost */
    flow->begun_ns[flow->next % IN_FLIGHT_MAX] = now;
    flow->next++;
    flow->in_flight++;
}

static void fill(struct flow *flow, uint64_t now)
{
    while (now < run.to_ns && flow->in_flight < options.in_flight)
        begin(flow, now);
}

static void take(struct flow *flow, size_t length)
{
    uint32_t header[3];
    memcpy(header, buffer, HEADER_BYTES);
    uint32_t number = header[1];
    if (length != options.size || header[0] != flow->index || header[2] != ~number
        || memcmp(buffer + HEADER_BYTES, message + HEADER_BYTES, length - HEADER_BYTES) != 0) {
        run.wrong++;
        return;
    }
    if (number - flow->oldest >= flow->next - flow->oldest)
        return; /* it has already counted as lost */
    uint64_t now = now_ns(), begun = flow->begun_ns[number % IN_FLIGHT_MAX];
    flow->heard_ns = now;
    flow->in_flight--;
    run.messages_all++;
    if (now >= run.from_ns && now < run.to_ns)
        run.messages++;
    if (begun >= run.from_ns)
        record_latency(&latencies, now - begun);
    fill(flow, now);
}

static void read_all(struct flow *flow)
{
    for (ssize_t got; (got = recv(flow->fd, buffer, sizeof buffer, MSG_DONTWAIT)) >= 0;)
        take(flow, (size_t)got);
}

static void give_up_late(struct flow *flows, uint64_t now)
{
    for (size_t i = 0; i < options.sockets; i++)
        if (flows[i].in_flight > 0 && flows[i].heard_ns + LOST < now) {
            run.lost += flows[i].in_flight;
            flows[i].in_flight = 0;
            flows[i].oldest = flows[i].next;
            flows[i].heard_ns = now;
            fill(&flows[i], now);
        }
}

static void drive(struct flow *flows, int poller)
{
    uint64_t now = now_ns(), looked = now;
    run.from_ns = now + (uint64_t)(options.warm_up * (double)NANOSECONDS);
    run.to_ns = run.from_ns + (uint64_t)(options.seconds * (double)NANOSECONDS);
    for (size_t i = 0; i < options.sockets; i++)
        fill(&flows[i], flows[i].heard_ns = now);
    while ((now = now_ns()) < run.to_ns + LOST) {
        struct epoll_event events[EVENTS];
        int count = epoll_wait(poller, events, EVENTS, options.busy ? 0 : 50);
        for (int i = 0; i < count; i++)
            read_all(&flows[events[i].data.u32]);
        if (now - looked > LOST / 4)
            give_up_late(flows, looked = now);
    }
}

static void open_sockets(struct flow *flows, int poller)
{
    struct endpoint server = loopback_endpoint("127.0.0.1", (uint16_t)options.port);
    for (size_t i = 0; i < options.sockets; i++) {
        flows[i].index = (uint32_t)i;
        flows[i].fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        struct epoll_event event = {.events = EPOLLIN, .data.u32 = (uint32_t)i};
        if (flows[i].fd < 0
            || connect(flows[i].fd, (struct sockaddr *)&server.address, server.length) != 0
            || epoll_ctl(poller, EPOLL_CTL_ADD, flows[i].fd, &event) != 0)
            die("socket %zu: %s", i, strerror(errno));
    }
}

static void read_options(int argc, char **argv)
{
    static const struct option known[] = {
        {"port", 1, 0, 'p'}, {"connections", 1, 0, 'c'}, {"size", 1, 0, 's'},
        {"in-flight", 1, 0, 'k'}, {"seconds", 1, 0, 't'}, {"warm-up", 1, 0, 'w'},
        {"busy", 0, 0, 'b'}, {0},
    };
    for (int option; (option = getopt_long(argc, argv, "", known, NULL)) != -1;)
        switch (option) {
        case 'p': options.port = (unsigned)number_between("--port", optarg, 1, 65535); break;
        case 'c':
            options.sockets = (size_t)number_between("--connections", optarg, 1, 10000);
            break;
        case 's':
            options.size = (size_t)number_between("--size", optarg, HEADER_BYTES, 65507);
            break;
        case 'k':
            options.in_flight = (size_t)number_between("--in-flight", optarg, 1, IN_FLIGHT_MAX);
            break;
        case 't': options.seconds = number_between("--seconds", optarg, 0.01, 3600); break;
        case 'w': options.warm_up = number_between("--warm-up", optarg, 0, 60); break;
        case 'b': options.busy = true; break;
        default: die("the options are explained at the top of udp_generator.c");
        }
    if (options.port == 0 || optind != argc)
        die("usage: udp_generator --port P [options]");
}

int main(int argc, char **argv)
{
    read_options(argc, argv);
    raise_descriptor_limit();
    for (size_t i = 0; i < sizeof message; i++)
        message[i] = (char)('a' + i % 23);
    int poller = epoll_create1(EPOLL_CLOEXEC);
    struct flow *flows = calloc(options.sockets, sizeof *flows);
    if (poller < 0 || !flows)
        die("cannot start: %s", strerror(errno));
    open_sockets(flows, poller);
    drive(flows, poller);
    printf("{\"messages\":%llu,\"messages_all\":%llu,\"seconds\":%.3f,\"per_second\":%.1f,",
           (unsigned long long)run.messages, (unsigned long long)run.messages_all,
           options.seconds, (double)run.messages / options.seconds);
    printf("\"p50_us\":%.1f,\"p99_us\":%.1f,\"p999_us\":%.1f,\"max_us\":%.1f,",
           percentile_us(&latencies, 0.50), percentile_us(&latencies, 0.99),
           percentile_us(&latencies, 0.999), (double)latencies.max_ns / 1000);
    printf("\"lost\":%llu,\"wrong\":%llu}\n", (unsigned long long)run.lost,
           (unsigned long long)run.wrong);
    return run.wrong > 0;
}
