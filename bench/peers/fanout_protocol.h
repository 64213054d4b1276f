/* The messages of `fanout` to each kind of server, and the expected replies.
 *
 * A line is a text of a fixed length with its number, between a constant head and tail. So every
 * byte that a member gets is known in advance. */
#ifndef FANOUT_PROTOCOL_H
#define FANOUT_PROTOCOL_H

#include "loopback.h"

#define TEXT_NUMBER_AT 5 /* "line " and 8 hexadecimal digits */
#define TEXT_HEADER_BYTES 14
#define FRAME_BYTES_MAX 2048

struct protocol {
    const char *name;
    size_t joins_at_once; /* every join is announced to all; more would overflow queues */
    /* printf formats of the bytes that a new member sends, and of the line that confirms the join.
     * The number in them is that of the member. In `sent_head` and `shown_head` it is the length of
     * the text. */
    const char *join, *joined, *join_as_sender, *joined_as_sender;
    const char *answer; /* sent after that line, if it needs an answer */
    const char *sent_head, *sent_tail, *shown_head, *shown_tail;
};

static const struct protocol protocols[] = {
    {
        .name = "chat", .joins_at_once = 64,
        .join = "m%u\n", .joined = "*** m%u joined the chat ***",
        .join_as_sender = "sender\n", .joined_as_sender = "*** sender joined the chat ***",
        .answer = "", .sent_head = "", .sent_tail = "\n",
        .shown_head = "sender: ", .shown_tail = "\r\n",
    },
    {
        .name = "log", .joins_at_once = 64,
        .join = "", .joined = "joined", .join_as_sender = "", .joined_as_sender = "joined",
        .answer = "", .sent_head = "", .sent_tail = "\n", .shown_head = "", .shown_tail = "\n",
    },
    {
        /* nats-server sends every client one PING, two seconds after it has connected. Each member
         * waits for it, so no PING comes later. Joins are not announced, so all join at once. */
        .name = "nats", .joins_at_once = SIZE_MAX,
        .join = "CONNECT {\"verbose\":false}\r\nSUB f 1\r\nPING\r\n", .joined = "PING",
        .join_as_sender = "CONNECT {\"verbose\":false}\r\nPING\r\n", .joined_as_sender = "PING",
        .answer = "PONG\r\n", .sent_head = "PUB f %u\r\n", .sent_tail = "\r\n",
        .shown_head = "MSG f 1 %u\r\n", .shown_tail = "\r\n",
    },
};

static inline const struct protocol *protocol_named(const char *name)
{
    for (size_t i = 0; i < sizeof protocols / sizeof *protocols; i++)
        if (strcmp(name, protocols[i].name) == 0)
            return &protocols[i];
    die("--protocol is chat, log or nats, not %s", name);
}

/* Formats a text with one number or none. */
__attribute__((format(printf, 3, 0)))
static inline size_t fill(char *at, size_t room, const char *format, unsigned number)
{
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    int length = snprintf(at, room, format, number);
#pragma GCC diagnostic pop
    if (length < 0 || (size_t)length >= room)
        die("a line does not fit into %zu bytes", room);
    return (size_t)length;
}

/* Many lines in a row. Only their numbers change. */
struct frames {
    size_t frame_bytes, number_at;
    uint64_t count; /* of frames; line n is in frame (n - 1) % count */
    char *bytes;
};

static inline struct frames make_frames(const char *head, const char *tail, size_t text_bytes,
                                        uint64_t count)
{
    static const char filler[] = "abcdefghijklmnopqrstuvwxyz012345678 ";
    char frame[FRAME_BYTES_MAX];
    size_t length = fill(frame, sizeof frame - text_bytes - 16, head, (unsigned)text_bytes);
    struct frames frames = {.number_at = length + TEXT_NUMBER_AT, .count = count};
    memcpy(frame + length, "line 00000000 ", TEXT_HEADER_BYTES);
    for (size_t i = TEXT_HEADER_BYTES; i < text_bytes; i++)
        frame[length + i] = filler[i % (sizeof filler - 1)];
    frame[length + text_bytes - 1] = '.'; /* no space, as a chat would trim it */
    length += text_bytes;
    memcpy(frame + length, tail, strlen(tail));
    frames.frame_bytes = length + strlen(tail);
    frames.bytes = malloc(frames.frame_bytes * count);
    if (!frames.bytes)
        die("out of memory");
    for (uint64_t i = 0; i < count; i++)
        memcpy(frames.bytes + i * frames.frame_bytes, frame, frames.frame_bytes);
    return frames;
}

static inline char *frame_at(const struct frames *frames, uint64_t line)
{
    return frames->bytes + (line - 1) % frames->count * frames->frame_bytes;
}

static inline void number_frame(const struct frames *frames, uint64_t line)
{
    char *at = frame_at(frames, line) + frames->number_at;
    for (int digit = 7; digit >= 0; digit--, line >>= 4)
        at[digit] = "0123456789abcdef"[line & 15];
}

#endif
