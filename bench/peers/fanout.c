/* fanout: one sender and many members on loopback. Counts and checks the delivered lines.
 *
 *   fanout --protocol chat|log|nats --port P[,P...] [--members 100] [--size 64] [--seconds 2]
 *          [--warm-up 0.5] [--window 1024 | --rate LINES_PER_SECOND] [--stuck 0]
 *          [--server-pid PID[,PID...]] [--first 0] [--marks] [--idle]
 *
 * With several ports, the members connect to each port in turn, and the sender to the first one.
 *
 * All members join. Their names are m and a number, from FIRST on. After the first line of the
 * sender, a member gets only lines of the sender. The sender is at most WINDOW lines ahead of the
 * slowest member, or writes RATE lines a second. STUCK more members join and never read again. A
 * line that is sent to a chat has SIZE bytes, including its end.
 *
 * With a rate, there are two latencies from the due time of a line: until this program reads it,
 * and until the kernel put it into the member's socket. They differ, because one thread reads for
 * all members in turn. If one read returns several lines, the arrival of the last one counts.
 *
 * Every received byte is counted, and the count determines the next expected byte. In the warm-up,
 * at a rate, with a small window and at the end, every byte is compared, otherwise one read in
 * SAMPLE. The bytes of the other reads are not copied from the kernel (MSG_TRUNC), because this
 * program would be slower than the server. Each line has a number, so a lost byte is found.
 *
 * Prints one line of JSON. Exits with 2 after any error. --marks prints "measuring" and "measured"
 * at the start and the end of the measured time. --idle prints "ready" when all members have joined
 * and are idle, and keeps them connected until the input of this program ends. */
#include "fanout_options.h"
#include "histogram.h"
#include "process_cpu.h"

#include <fcntl.h>
#include <stdalign.h>
#include <sys/epoll.h>

#define CONNECT_SECONDS 10
#define PATIENCE (60 * NANOSECONDS) /* the longest wait for any byte */
#define READ_BYTES (256 * 1024)
#define EVENTS 256
#define SAMPLE 16
#define SAMPLED_WINDOW 64 /* from this window on, not every read is compared */
#define STUCK_BUFFER_BYTES 4096
#define STUCK_SEGMENT_BYTES 536 /* as on a slow network; keeps the server's buffer small */

enum stage { JOINING, IN, LISTENING };

struct member {
    int fd;
    unsigned index;
    enum stage stage;
    uint32_t reads;
    uint64_t bytes, lines; /* received from the sender */
    char *heard; /* the partial line, until the member listens */
    size_t heard_bytes;
};

static struct run {
    int poller;
    struct member *members, sender;
    struct frames sent, shown;
    size_t joined, listening;
    uint64_t made, written; /* the number of lines, and of their sent bytes */
    uint64_t *at_line; /* at n % places: the number of members with exactly n lines */
    uint64_t slowest; /* the number of lines that every member has received */
    uint64_t start_ns, from_ns, to_ns;
    bool measuring, sampling;
    uint64_t delivered_bytes, news_ns;
    double cpu_ns, own_cpu_ns;
} run;

static char buffer[READ_BYTES];
/* The latencies until this program reads a line, and until it is in the member's socket. */
static struct histogram read_after, arrived_after;

/* ---- Joining ---- */

static void watch(struct member *member)
{
    struct epoll_event event = {
        .events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = member,
    };
    if (member != &run.sender)
        event.events = EPOLLIN | EPOLLRDHUP | EPOLLET;
    if (epoll_ctl(run.poller, EPOLL_CTL_ADD, member->fd, &event) != 0)
        die("epoll_ctl: %s", strerror(errno));
}

static bool is_stuck(const struct member *member)
{
    return member != &run.sender && member->index >= options.members;
}

static void say(const struct member *member, const char *words, size_t length)
{
    if (send(member->fd, words, length, MSG_NOSIGNAL) != (ssize_t)length)
        die("member %u cannot say what it has to: %s", member->index, strerror(errno));
}

static void join(struct member *member, const char *format)
{
    unsigned port = options.ports[member->index % options.port_count];
    struct endpoint endpoint = loopback_endpoint("127.0.0.1", (uint16_t)port);
    struct narrow narrow = {STUCK_BUFFER_BYTES, STUCK_SEGMENT_BYTES};
    member->fd = is_stuck(member) ? connect_narrow(&endpoint, CONNECT_SECONDS, narrow)
                                  : connect_to(&endpoint, CONNECT_SECONDS);
    if (member->fd < 0)
        die("member %u: %s", member->index, strerror(errno));
    fcntl(member->fd, F_SETFL, O_NONBLOCK);
    int on = options.rate > 0;
    if (setsockopt(member->fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on) != 0)
        die("SO_TIMESTAMPNS: %s", strerror(errno));
    member->heard = malloc(FRAME_BYTES_MAX);
    if (!member->heard)
        die("out of memory");
    char words[256];
    say(member, words, fill(words, sizeof words, format, member->index + options.first));
    watch(member);
}

static bool has_heard(const struct member *member, const char *line, size_t length)
{
    /* A prompt may precede the line. */
    return member->heard_bytes >= length
        && memcmp(member->heard + member->heard_bytes - length, line, length) == 0;
}

static void hear_joined(struct member *member)
{
    char line[256];
    bool sender = member == &run.sender;
    const struct protocol *protocol = options.protocol;
    const char *format = sender ? protocol->joined_as_sender : protocol->joined;
    if (!has_heard(member, line, fill(line, sizeof line, format, member->index + options.first)))
        return;
    say(member, protocol->answer, strlen(protocol->answer));
    member->stage = IN;
    run.joined++;
}

/* Looks for the text of the sender's first line. Every later byte is known. */
static void hear_first_line(struct member *member)
{
    const char *frame = frame_at(&run.shown, 1);
    size_t length = run.shown.frame_bytes;
    while (length > 0 && (frame[length - 1] == '\n' || frame[length - 1] == '\r'))
        length--;
    const char *head_end = memrchr(frame, '\n', length);
    size_t skipped = head_end ? (size_t)(head_end + 1 - frame) : 0;
    if (!has_heard(member, frame + skipped, length - skipped))
        return;
    member->stage = LISTENING;
    member->bytes = run.shown.frame_bytes;
    member->lines = 1;
    free(member->heard);
    member->heard = NULL;
    run.listening++;
    if (is_stuck(member)) {
        epoll_ctl(run.poller, EPOLL_CTL_DEL, member->fd, NULL);
        return;
    }
    run.at_line[0]--;
    run.at_line[1]++;
}

/* No expected line is as long as the buffer, so longer ones are dropped. */
static void keep_heard(struct member *member, const char *bytes, size_t length)
{
    if (member->heard_bytes + length > FRAME_BYTES_MAX)
        member->heard_bytes = 0;
    if (length > FRAME_BYTES_MAX)
        return;
    memcpy(member->heard + member->heard_bytes, bytes, length);
    member->heard_bytes += length;
}

static void hear_line(struct member *member)
{
    if (member->heard_bytes > 0 && member->heard[member->heard_bytes - 1] == '\r')
        member->heard_bytes--;
    if (member->stage == JOINING)
        hear_joined(member);
    else if (member != &run.sender)
        hear_first_line(member);
    member->heard_bytes = 0;
}

static void hear(struct member *member, const char *bytes, size_t count)
{
    for (const char *end = bytes + count; bytes < end;) {
        if (member->stage == LISTENING)
            die("member %u: more came than the sender has said", member->index);
        const char *eol = memchr(bytes, '\n', (size_t)(end - bytes));
        keep_heard(member, bytes, (size_t)((eol ? eol : end) - bytes));
        if (!eol)
            return;
        hear_line(member);
        bytes = eol + 1;
    }
}

/* ---- Delivered lines ---- */

static uint64_t due_ns(uint64_t line)
{
    return run.start_ns + (uint64_t)((double)(line - 2) / options.rate * (double)NANOSECONDS);
}

static void record_latencies(uint64_t first, uint64_t last, uint64_t since_arrival)
{
    uint64_t now = now_ns();
    for (uint64_t line = first; line <= last; line++) {
        uint64_t due = due_ns(line), after = now - due;
        if (due < run.from_ns || due >= run.to_ns)
            continue;
        record_latency(&read_after, after);
        record_latency(&arrived_after, after > since_arrival ? after - since_arrival : 0);
    }
}

static void compare(const struct member *member, const char *bytes, size_t count)
{
    size_t ring = run.shown.frame_bytes * run.shown.count, from = member->bytes % ring;
    size_t part = count < ring - from ? count : ring - from;
    if (memcmp(bytes, run.shown.bytes + from, part) == 0
        && memcmp(bytes + part, run.shown.bytes, count - part) == 0)
        return;
    size_t same = 0;
    while (bytes[same] == run.shown.bytes[(from + same) % ring])
        same++;
    die("member %u: after %zu right bytes of line %llu comes: %.*s", member->index,
        (from + same) % run.shown.frame_bytes,
        (unsigned long long)((member->bytes + same) / run.shown.frame_bytes + 1),
        (int)(count - same < 100 ? count - same : 100), bytes + same);
}

static void take(struct member *member, size_t count, bool compared, uint64_t since_arrival)
{
    uint64_t bytes = member->bytes + count, lines = bytes / run.shown.frame_bytes;
    if (bytes > run.made * run.shown.frame_bytes)
        die("member %u: more came than the sender has said", member->index);
    if (compared)
        compare(member, buffer, count);
    if (run.measuring)
        run.delivered_bytes += count;
    if (lines != member->lines) {
        run.at_line[member->lines % run.shown.count]--;
        run.at_line[lines % run.shown.count]++;
        if (options.rate > 0)
            record_latencies(member->lines + 1, lines, since_arrival);
    }
    member->bytes = bytes;
    member->lines = lines;
}

/* Works like recv. If latencies are measured, it also sets the time since the last arrival. */
static ssize_t receive(const struct member *member, int how, uint64_t *since_arrival)
{
    *since_arrival = 0;
    if (options.rate == 0)
        return recv(member->fd, buffer, sizeof buffer, how);
    alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(struct timespec))];
    struct iovec place = {buffer, sizeof buffer};
    struct msghdr message = {
        .msg_iov = &place, .msg_iovlen = 1, .msg_control = control,
        .msg_controllen = sizeof control,
    };
    ssize_t got = recvmsg(member->fd, &message, how);
    struct cmsghdr *told = got > 0 ? CMSG_FIRSTHDR(&message) : NULL;
    if (told && told->cmsg_level == SOL_SOCKET && told->cmsg_type == SCM_TIMESTAMPNS) {
        struct timespec then, now;
        memcpy(&then, CMSG_DATA(told), sizeof then);
        clock_gettime(CLOCK_REALTIME, &now); /* the kernel's time stamps use this clock */
        int64_t since = (int64_t)(now.tv_sec - then.tv_sec) * (int64_t)NANOSECONDS
                      + (now.tv_nsec - then.tv_nsec);
        *since_arrival = since > 0 ? (uint64_t)since : 0;
    }
    return got;
}

/* Reads until the socket is empty, because epoll is edge-triggered. After a short read it is empty,
 * unless the end of the stream follows. */
static void read_member(struct member *member, bool ended)
{
    for (;;) {
        bool compared = !run.sampling || member->reads++ % SAMPLE == member->index % SAMPLE;
        /* Lines before the first line of the sender are not checked. */
        bool dropped = member->stage == IN && (run.made == 0 || member == &run.sender);
        int how = (member->stage == LISTENING && !compared) || dropped ? MSG_TRUNC : 0;
        uint64_t since_arrival;
        ssize_t got = receive(member, how, &since_arrival);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0 && errno == EAGAIN)
            return;
        if (got <= 0)
            die("member %u: %s", member->index,
                got < 0 ? strerror(errno) : "the server closed the connection");
        if (member->stage == LISTENING)
            take(member, (size_t)got, compared, since_arrival);
        else if (!dropped)
            hear(member, buffer, (size_t)got);
        if (is_stuck(member) && member->stage == LISTENING)
            return;
        if (got < (ssize_t)sizeof buffer && !ended)
            return;
    }
}

/* ---- The sender ---- */

static void make_lines(uint64_t until)
{
    for (uint64_t line = run.made + 1; line <= until; line++) {
        number_frame(&run.sent, line);
        number_frame(&run.shown, line);
    }
    run.made = until > run.made ? until : run.made;
}

static void write_lines(void)
{
    uint64_t end = run.made * run.sent.frame_bytes;
    uint64_t ring = run.sent.frame_bytes * run.sent.count;
    while (run.written < end) {
        uint64_t from = run.written % ring, part = ring - from;
        part = part < end - run.written ? part : end - run.written;
        ssize_t sent = send(run.sender.fd, run.sent.bytes + from, part, MSG_NOSIGNAL);
        if (sent < 0 && errno == EAGAIN)
            return;
        if (sent < 0 && errno != EINTR)
            die("the sender cannot write: %s", strerror(errno));
        run.written += sent > 0 ? (uint64_t)sent : 0;
    }
}

/* Writes as many lines as the window or the rate allows. */
static void send_more(uint64_t now)
{
    while (run.slowest < run.made && run.at_line[run.slowest % run.shown.count] == 0)
        run.slowest++;
    uint64_t until = run.slowest + options.window;
    if (options.rate > 0 && now >= run.start_ns) {
        double since = (double)(now - run.start_ns) / (double)NANOSECONDS;
        uint64_t due = (uint64_t)(since * options.rate) + 2;
        until = due < until ? due : until;
    }
    make_lines(until);
    write_lines();
}

/* ---- The run ---- */

static void serve_events(uint64_t wait_ns)
{
    struct epoll_event events[EVENTS];
    struct timespec limit = {(time_t)(wait_ns / NANOSECONDS), (long)(wait_ns % NANOSECONDS)};
    int ready = epoll_pwait2(run.poller, events, EVENTS, &limit, NULL);
    uint64_t now = now_ns();
    if (ready > 0)
        run.news_ns = now;
    else if (now > run.news_ns + PATIENCE)
        die("no news for a minute: %zu of %zu are in, %zu listen, line %llu of %llu is everywhere",
            run.joined, options.members + options.stuck + 1, run.listening,
            (unsigned long long)run.slowest, (unsigned long long)run.made);
    for (int i = 0; i < ready; i++) {
        struct member *member = events[i].data.ptr;
        uint32_t what = events[i].events;
        if (what & ~(uint32_t)EPOLLOUT)
            read_member(member, what & (EPOLLRDHUP | EPOLLHUP | EPOLLERR));
        if (what & EPOLLOUT)
            write_lines();
    }
}

static void let_all_in(void)
{
    size_t count = options.members + options.stuck, next = 0;
    while (run.joined < count) {
        while (next < count && next - run.joined < options.protocol->joins_at_once) {
            run.members[next].index = (unsigned)next;
            join(&run.members[next++], options.protocol->join);
        }
        serve_events(NANOSECONDS / 10);
    }
    join(&run.sender, options.protocol->join_as_sender);
    while (run.joined < count + 1)
        serve_events(NANOSECONDS / 10);
    run.at_line[0] = options.members;
    make_lines(1);
    write_lines();
    while (run.listening < count)
        serve_events(NANOSECONDS / 10);
}

static void mark(const char *word)
{
    if (options.marks || options.idle) {
        puts(word);
        fflush(stdout);
    }
}

/* Serves events until `end`, while the sender writes. */
static void go_on_until(uint64_t end)
{
    for (uint64_t now; (now = now_ns()) < end;) {
        send_more(now);
        uint64_t next = end;
        if (options.rate > 0 && run.made < run.slowest + options.window)
            next = due_ns(run.made + 1) < end ? due_ns(run.made + 1) : end;
        serve_events(next > now ? next - now : 0);
    }
}

/* Waits until every member has received all lines and one more. All their bytes are compared. */
static void finish(void)
{
    run.sampling = false;
    make_lines(run.made + 1);
    while (run.slowest < run.made) {
        write_lines();
        serve_events(NANOSECONDS / 10);
        while (run.slowest < run.made && run.at_line[run.slowest % run.shown.count] == 0)
            run.slowest++;
    }
}

static double servers_cpu_ns(void)
{
    double total = 0;
    for (size_t i = 0; i < options.pid_count; i++)
        total += process_cpu_ns((int)options.pids[i]);
    return total;
}

static void measure(void)
{
    run.start_ns = now_ns();
    run.from_ns = run.start_ns + (uint64_t)(options.warm_up * (double)NANOSECONDS);
    run.to_ns = run.from_ns + (uint64_t)(options.seconds * (double)NANOSECONDS);
    go_on_until(run.from_ns);
    mark("measuring");
    run.cpu_ns = -servers_cpu_ns();
    run.own_cpu_ns = -own_cpu_ns();
    run.from_ns = now_ns();
    run.measuring = true;
    run.sampling = options.rate == 0 && options.window >= SAMPLED_WINDOW;
    go_on_until(run.to_ns);
    run.to_ns = now_ns();
    run.measuring = false;
    run.cpu_ns += servers_cpu_ns();
    run.own_cpu_ns += own_cpu_ns();
    mark("measured");
    finish();
}

static void print_result(void)
{
    double seconds = (double)(run.to_ns - run.from_ns) / (double)NANOSECONDS;
    double delivered = (double)run.delivered_bytes / (double)run.shown.frame_bytes;
    printf("{\"delivered\":%.0f,\"seconds\":%.3f,\"per_second\":%.1f,\"cpu_ns\":%.2f,"
           "\"generator_busy\":%.3f,\"lines\":%llu,",
           delivered, seconds, delivered / seconds, run.cpu_ns / fmax(delivered, 1),
           run.own_cpu_ns / 1e9 / seconds, (unsigned long long)run.made);
    printf("\"arrived_p50_us\":%.1f,\"arrived_p99_us\":%.1f,\"arrived_p999_us\":%.1f,",
           percentile_us(&arrived_after, 0.50), percentile_us(&arrived_after, 0.99),
           percentile_us(&arrived_after, 0.999));
    printf("\"p50_us\":%.1f,\"p99_us\":%.1f,\"p999_us\":%.1f,\"max_us\":%.1f}\n",
           percentile_us(&read_after, 0.50), percentile_us(&read_after, 0.99),
           percentile_us(&read_after, 0.999), (double)read_after.max_ns / 1000);
}

static void prepare(void)
{
    const struct protocol *protocol = options.protocol;
    uint64_t places = options.window + 2;
    run.sent = make_frames(protocol->sent_head, protocol->sent_tail, options.size - 1, places);
    run.shown = make_frames(protocol->shown_head, protocol->shown_tail, options.size - 1, places);
    run.at_line = calloc(places, sizeof *run.at_line);
    run.members = calloc(options.members + options.stuck, sizeof *run.members);
    run.poller = epoll_create1(EPOLL_CLOEXEC);
    run.news_ns = now_ns();
    if (!run.at_line || !run.members || run.poller < 0)
        die("cannot start: %s", strerror(errno));
}

int main(int argc, char **argv)
{
    read_options(argc, argv);
    raise_descriptor_limit();
    prepare();
    let_all_in();
    if (options.idle) {
        mark("ready");
        while (read(STDIN_FILENO, buffer, sizeof buffer) > 0) {
        }
        return 0;
    }
    measure();
    print_result();
    return 0;
}
