/* The options of `fanout`. The comment at the top of fanout.c describes them. */
#ifndef FANOUT_OPTIONS_H
#define FANOUT_OPTIONS_H

#include "fanout_protocol.h"

#include <getopt.h>

#define PLACES_MAX 8 /* the maximum number of ports, and of measured processes */
#define RATE_BACKLOG 32768 /* the maximum number of lines by which a server lags at a rate */

static struct options {
    const struct protocol *protocol;
    unsigned ports[PLACES_MAX], first;
    size_t port_count, pid_count;
    size_t members, stuck, size;
    uint64_t window;
    double seconds, warm_up, rate;
    unsigned pids[PLACES_MAX];
    bool marks, idle;
} options = {.members = 100, .size = 64, .window = 1024, .seconds = 2, .warm_up = 0.5};

/* Parses numbers that are separated by commas. Returns how many there are. */
static size_t read_list(const char *name, char *text, double most, unsigned *numbers)
{
    size_t count = 0;
    for (char *rest = text, *word; (word = strsep(&rest, ",")) != NULL; count++) {
        if (count == PLACES_MAX)
            die("%s takes %d at most", name, PLACES_MAX);
        numbers[count] = (unsigned)number_between(name, word, 1, most);
    }
    return count;
}

static void read_options(int argc, char **argv)
{
    static const struct option known[] = {
        {"protocol", 1, 0, 'p'}, {"port", 1, 0, 'P'}, {"members", 1, 0, 'm'},
        {"stuck", 1, 0, 'x'}, {"size", 1, 0, 's'}, {"window", 1, 0, 'w'}, {"rate", 1, 0, 'r'},
        {"seconds", 1, 0, 't'}, {"warm-up", 1, 0, 'u'}, {"server-pid", 1, 0, 'c'},
        {"first", 1, 0, 'f'}, {"marks", 0, 0, 'k'}, {"idle", 0, 0, 'i'}, {0},
    };
    for (int option; (option = getopt_long(argc, argv, "", known, NULL)) != -1;)
        switch (option) {
        case 'p': options.protocol = protocol_named(optarg); break;
        case 'P': options.port_count = read_list("--port", optarg, 65535, options.ports); break;
        case 'm': options.members = (size_t)number_between("--members", optarg, 1, 28000); break;
        case 'x': options.stuck = (size_t)number_between("--stuck", optarg, 0, 28000); break;
        case 's': options.size = (size_t)number_between("--size", optarg, 16, 1024); break;
        case 'w': options.window = (uint64_t)number_between("--window", optarg, 1, 16384); break;
        case 'r': options.rate = number_between("--rate", optarg, 1, 1e6); break;
        case 't': options.seconds = number_between("--seconds", optarg, 0.01, 3600); break;
        case 'u': options.warm_up = number_between("--warm-up", optarg, 0, 60); break;
        case 'c': options.pid_count = read_list("--server-pid", optarg, 1e9, options.pids); break;
        case 'f': options.first = (unsigned)number_between("--first", optarg, 0, 1e6); break;
        case 'k': options.marks = true; break;
        case 'i': options.idle = true; break;
        default: die("the options are explained at the top of fanout.c");
        }
    if (options.port_count == 0 || !options.protocol || optind != argc)
        die("usage: fanout --protocol chat|log|nats --port P[,P...] [options]");
    if (options.rate > 0)
        options.window = RATE_BACKLOG;
}

#endif
