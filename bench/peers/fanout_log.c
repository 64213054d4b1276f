/* fanout_log PORT: the smallest fan-out over a shared log. No chat can be faster than this program.
 *
 * It has one thread and one edge-triggered epoll. Whole lines of members go into one ring of bytes.
 * Each member has a position in the ring, and gets all unread bytes in one contiguous write. The
 * program has no names and no commands, and looks only at line ends.
 *
 * It is a reference and not a server, so it takes two shortcuts. It disconnects a member that is
 * behind by the whole ring. A member that writes while it is behind also gets its own lines. */
#include "loopback.h"

#include <sys/epoll.h>
#include <sys/mman.h>

#define EVENTS 256
#define LOG_BYTES (1ull << 20) /* the size of echoline's rooms */
#define LINE_BYTES_MAX 4096
#define READ_BYTES (64 * 1024)

struct member {
    int fd; /* -1 after the end */
    bool full; /* whether the socket has no room for more output */
    size_t place; /* in `members` */
    uint64_t seen; /* the next byte of the log to send */
    char *rest; /* the beginning of an incomplete line */
    size_t rest_bytes;
};

static struct member **members;
static size_t member_count;
static char *log_bytes; /* mapped twice in a row, so that every write is contiguous */
static uint64_t log_end;
static int poller;

static char *at(uint64_t position)
{
    return log_bytes + position % LOG_BYTES;
}

static void map_log(void)
{
    int memory = memfd_create("log", MFD_CLOEXEC);
    if (memory < 0 || ftruncate(memory, LOG_BYTES) != 0)
        die("memfd: %s", strerror(errno));
    log_bytes = mmap(NULL, 2 * LOG_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (int half = 0; half < 2; half++)
        if (log_bytes == MAP_FAILED
            || mmap(log_bytes + half * LOG_BYTES, LOG_BYTES, PROT_READ | PROT_WRITE,
                    MAP_SHARED | MAP_FIXED, memory, 0) == MAP_FAILED)
            die("mmap: %s", strerror(errno));
}

/* Does not free the member, because the current batch may have another event for it. */
static void end(struct member *member)
{
    members[member->place] = members[--member_count];
    members[member->place]->place = member->place;
    close(member->fd);
    member->fd = -1;
    free(member->rest);
    member->rest = NULL;
}

static void accept_all(int listener)
{
    for (int fd; (fd = accept_from(listener)) >= 0;) {
        struct member *member = calloc(1, sizeof *member);
        if (!member)
            die("out of memory");
        *member = (struct member){.fd = fd, .place = member_count, .seen = log_end};
        members[member_count++] = member;
        struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = member};
        if (epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event) != 0)
            die("epoll_ctl: %s", strerror(errno));
        send(fd, "joined\n", 7, MSG_NOSIGNAL); /* the member gets all lines from here on */
    }
}

/* Appends the whole lines to the log, and keeps an incomplete one. */
static void append(struct member *member, size_t bytes)
{
    char *lines = at(log_end);
    char *last = memrchr(lines, '\n', bytes);
    size_t whole = last ? (size_t)(last + 1 - lines) : 0;
    member->rest_bytes = bytes - whole;
    if (member->rest_bytes > 0) {
        if (!member->rest && !(member->rest = malloc(LINE_BYTES_MAX)))
            die("out of memory");
        memcpy(member->rest, lines + whole, member->rest_bytes);
    }
    if (member->seen == log_end)
        member->seen += whole; /* skips the member's own lines */
    log_end += whole;
}

static void read_all(struct member *member)
{
    for (;;) {
        if (member->rest_bytes > 0)
            memcpy(at(log_end), member->rest, member->rest_bytes);
        ssize_t got = recv(member->fd, at(log_end) + member->rest_bytes, READ_BYTES, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0 && errno == EAGAIN)
            return;
        if (got <= 0 || (memrchr(at(log_end) + member->rest_bytes, '\n', (size_t)got) == NULL
                         && member->rest_bytes + (size_t)got > LINE_BYTES_MAX)) {
            end(member);
            return;
        }
        append(member, member->rest_bytes + (size_t)got);
        if (got < READ_BYTES)
            return;
    }
}

static void write_all(struct member *member)
{
    /* The next read may overwrite older bytes. */
    if (log_end - member->seen > LOG_BYTES - READ_BYTES - LINE_BYTES_MAX) {
        end(member);
        return;
    }
    while (!member->full && member->seen < log_end) {
        ssize_t sent = send(member->fd, at(member->seen), log_end - member->seen, MSG_NOSIGNAL);
        if (sent >= 0)
            member->seen += (uint64_t)sent;
        else if (errno == EAGAIN)
            member->full = true;
        else if (errno != EINTR) {
            end(member);
            return;
        }
    }
}

static void fan_out(void)
{
    /* Starts at the back, because a removed member is replaced by the last one, which was already
     * served. */
    for (size_t i = member_count; i-- > 0;)
        if (members[i]->seen < log_end)
            write_all(members[i]);
}

int main(int argc, char **argv)
{
    if (argc != 2)
        die("usage: fanout_log PORT");
    uint16_t port = (uint16_t)number_between("PORT", argv[1], 0, 65535);
    raise_descriptor_limit();
    members = calloc((size_t)sysconf(_SC_OPEN_MAX), sizeof(struct member *));
    poller = epoll_create1(EPOLL_CLOEXEC);
    if (!members || poller < 0)
        die("cannot start: %s", strerror(errno));
    map_log();
    int listener = listen_on(port);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event);

    for (;;) {
        struct epoll_event events[EVENTS];
        int ready = epoll_wait(poller, events, EVENTS, -1);
        for (int i = 0; i < ready; i++) {
            struct member *member = events[i].data.ptr;
            if (!member) {
                accept_all(listener);
                continue;
            }
            if (events[i].events & EPOLLOUT)
                member->full = false;
            if (member->fd >= 0 && (events[i].events & ~(uint32_t)EPOLLOUT))
                read_all(member);
        }
        fan_out();
    }
}
