/* The loop of `loop.py` in C, for brokers that answer packet by packet: a generator that is slow to read lets the broker
 * coalesce, and the broker then looks cheaper than it is. It takes over connections that are already subscribed, sends
 * in the same pattern, checks every byte. What is out of sequence goes to the ledger in Python through `irregular`.
 * Linux: epoll. Numbers on the wire are most significant byte first.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>

enum { CHUNK_BYTES = 1 << 18, MOST_PARTIAL_BYTES = 1 << 21, SEND_AHEAD_BYTES = 65536, BURST = 64, MOST_EVENTS = 1024 };
enum { PUBLISH = 3, PUBACK = 0x40, PUBREC = 0x50, PUBREL = 0x62, PUBCOMP = 0x70, FAILED = 0x80 };
enum Outcome { OK, CLOSED, BROKEN, TOO_LARGE, UNEXPECTED, OVERACKNOWLEDGED, NO_PACKET }; /* `_OUTCOMES` of native.py */

/* Mirrored by ctypes structures in native.py */
typedef struct {
    int32_t fd, is_publisher;
    uint32_t packet_bytes, identifier_at, sequence_at; /* publisher: its packet; identifier_at is 0 at QoS 0 */
    const uint8_t *packet;
    uint32_t heard_first, heard_count; /* subscriber: the publishers it reads, by number */
} Client;

typedef struct {
    int32_t poller;
    uint32_t clients, pubs, qos, size, window;
    uint64_t count, deliveries;
    double rate, max_s, give_up_s, nap_s;
    uint32_t sample_every, most_samples;
    int64_t *samples;
    int32_t (*irregular)(int32_t client, uint32_t publisher, uint32_t due, uint32_t sequence); /* 1: a new message */
    /* out */
    uint64_t published, received, altered, unsettled, refused;
    uint32_t sampled, unexpected_byte, unexpected_by;
    double lag_s;
} Run;

typedef struct {
    const Client *client;
    int32_t number, blocked;
    uint8_t *in, *out;
    size_t in_bytes, in_room, out_bytes, out_from, out_room;
    int64_t in_flight, refused;
    uint32_t published, *due; /* due: of each publisher heard, the next sequence */
    int64_t *sent;            /* when each sampled message was published */
    size_t sent_count, sent_room;
} Connection;

typedef struct {
    Run *run;
    Connection *connections, **publishers, **by_fd;
    uint32_t turn;
    enum Outcome outcome;
    uint8_t chunk[CHUNK_BYTES];
} Loop;

static int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000ll + t.tv_nsec;
}

static uint32_t number_at(const uint8_t *b) { return (uint32_t)b[0] << 24 | b[1] << 16 | b[2] << 8 | b[3]; }

static void fail(Loop *loop, enum Outcome outcome) {
    if (loop->outcome == OK) loop->outcome = outcome;
}

/* --- Sending --- */

static uint8_t *extend(Connection *c, size_t bytes) {
    if (c->out_from && c->out_bytes + bytes > c->out_room) {
        memmove(c->out, c->out + c->out_from, c->out_bytes - c->out_from);
        c->out_bytes -= c->out_from;
        c->out_from = 0;
    }
    while (c->out_bytes + bytes > c->out_room) {
        c->out_room = c->out_room ? c->out_room * 2 : 256;
        c->out = realloc(c->out, c->out_room);
    }
    c->out_bytes += bytes;
    return c->out + c->out_bytes - bytes;
}

static void acknowledge(Connection *c, uint8_t type, const uint8_t *identifier) {
    uint8_t packet[4] = {type, 2, identifier[0], identifier[1]};
    memcpy(extend(c, sizeof packet), packet, sizeof packet);
}

static void writable(Loop *loop, Connection *c) {
    while (c->out_from < c->out_bytes) {
        ssize_t sent = send(c->client->fd, c->out + c->out_from, c->out_bytes - c->out_from, MSG_NOSIGNAL);
        if (sent < 0) {
            if (errno != EAGAIN) fail(loop, BROKEN);
            break;
        }
        c->out_from += sent;
    }
    int blocked = c->out_from < c->out_bytes;
    if (!blocked) c->out_from = c->out_bytes = 0;
    if (blocked != c->blocked) {
        struct epoll_event event = {.events = EPOLLIN | (blocked ? EPOLLOUT : 0), .data.fd = c->client->fd};
        epoll_ctl(loop->run->poller, EPOLL_CTL_MOD, c->client->fd, &event);
        c->blocked = blocked;
    }
}

static void flush(Loop *loop, Connection *c) {
    if (c->out_from < c->out_bytes && !c->blocked) writable(loop, c);
}

static int may_publish(const Run *run, const Connection *c) {
    return c->out_bytes - c->out_from < SEND_AHEAD_BYTES && (!run->qos || c->in_flight < (int64_t)run->window);
}

static void publish(Run *run, Connection *c) {
    const Client *client = c->client;
    uint32_t sequence = c->published++;
    if (sequence % run->sample_every == 0) {
        if (c->sent_count == c->sent_room) c->sent = realloc(c->sent, (c->sent_room = c->sent_room * 2 + 16) * sizeof *c->sent);
        c->sent[c->sent_count++] = now_ns();
    }
    uint8_t *packet = extend(c, client->packet_bytes), *at = packet + client->sequence_at;
    memcpy(packet, client->packet, client->packet_bytes);
    at[0] = sequence >> 24, at[1] = sequence >> 16, at[2] = sequence >> 8, at[3] = sequence;
    if (run->qos) {
        uint32_t identifier = sequence % 65535 + 1;
        packet[client->identifier_at] = identifier >> 8, packet[client->identifier_at + 1] = identifier;
        c->in_flight++;
    }
    run->published++;
}

/* --- Receiving --- */

/* Whether the packet is the publisher's, byte for byte but for packet identifier and sequence */
static int intact(const Client *publisher, const uint8_t *packet, uint32_t bytes) {
    uint32_t head = publisher->identifier_at ? publisher->identifier_at : publisher->sequence_at;
    uint32_t middle = publisher->identifier_at ? head + 2 : head, tail = publisher->sequence_at + 4;
    return bytes == publisher->packet_bytes && !memcmp(packet, publisher->packet, head)
        && !memcmp(packet + middle, publisher->packet + middle, publisher->sequence_at - middle)
        && !memcmp(packet + tail, publisher->packet + tail, bytes - tail);
}

/* Enter a PUBLISH of a publisher that this subscriber reads; 0 when it is no message of any */
static int enter(Loop *loop, Connection *c, const uint8_t *packet, uint32_t bytes, int64_t now) {
    Run *run = loop->run;
    if (bytes < run->size) return 0;
    const uint8_t *payload = packet + bytes - run->size;
    uint32_t sequence = number_at(payload), number = number_at(payload + 4), heard = number - c->client->heard_first;
    if (heard >= c->client->heard_count) return 0;
    Connection *publisher = loop->publishers[number];
    if (sequence >= publisher->published || !intact(publisher->client, packet, bytes)) return 0;
    uint32_t due = c->due[heard];
    run->received += sequence == due ? 1 : run->irregular(c->number, number, due, sequence);
    if (sequence >= due) c->due[heard] = sequence + 1;
    if (sequence % run->sample_every == 0 && run->sampled < run->most_samples)
        run->samples[run->sampled++] = now - publisher->sent[sequence / run->sample_every];
    return 1;
}

static void subscriber_packet(Loop *loop, Connection *c, uint8_t *packet, uint32_t body, uint32_t bytes, int64_t now) {
    if (packet[0] >> 4 == PUBLISH && bytes >= body + 2) {
        if (!enter(loop, c, packet, bytes, now)) loop->run->altered++;
        uint32_t qos = packet[0] >> 1 & 3, identifier_at = body + 2 + (packet[body] << 8 | packet[body + 1]);
        if (qos && identifier_at + 2 <= bytes) acknowledge(c, qos == 1 ? PUBACK : PUBREC, packet + identifier_at);
    } else if (packet[0] == PUBREL && bytes >= body + 2)
        acknowledge(c, PUBCOMP, packet + body);
    else
        fail(loop, UNEXPECTED);
}

static void publisher_packet(Loop *loop, Connection *c, uint8_t *packet, uint32_t body, uint32_t bytes) {
    uint8_t type = packet[0];
    if ((type != PUBACK && type != PUBREC && type != PUBCOMP) || bytes < body + 2) {
        fail(loop, UNEXPECTED);
        return;
    }
    int failed = bytes > body + 2 && packet[body + 2] >= FAILED;
    if (type == PUBREC && !failed) {
        acknowledge(c, PUBREL, packet + body);
        return;
    }
    loop->run->refused += failed;
    if (--c->in_flight < 0) fail(loop, OVERACKNOWLEDGED);
}

/* Take the whole packets at the front of the data; returns how many bytes they were */
static size_t receive(Loop *loop, Connection *c, uint8_t *data, size_t bytes) {
    size_t from = 0;
    int64_t now = now_ns();
    while (bytes - from >= 2 && loop->outcome == OK) {
        uint32_t length = 0, body = 1, shift = 0;
        while (from + body < bytes && body < 5) {
            uint8_t digit = data[from + body++];
            length |= (uint32_t)(digit & 127) << shift;
            shift += 7;
            if (digit < 128) goto whole_header;
        }
        if (body == 5) fail(loop, NO_PACKET);
        break;
    whole_header:
        if (bytes - from - body < length) break;
        if (c->client->is_publisher) publisher_packet(loop, c, data + from, body, body + length);
        else subscriber_packet(loop, c, data + from, body, body + length, now);
        if (loop->outcome == UNEXPECTED) loop->run->unexpected_byte = data[from], loop->run->unexpected_by = c->number;
        from += body + length;
    }
    return from;
}

static void readable(Loop *loop, Connection *c) {
    ssize_t got;
    do {
        got = recv(c->client->fd, loop->chunk, CHUNK_BYTES, 0);
        if (got <= 0) {
            if (got == 0) fail(loop, CLOSED);
            else if (errno != EAGAIN) fail(loop, BROKEN);
            break;
        }
        uint8_t *data = loop->chunk;
        size_t bytes = got;
        if (c->in_bytes) { /* only a split packet is kept with its connection: quiet ones cost nothing */
            if (c->in_bytes + got > c->in_room) c->in = realloc(c->in, c->in_room = c->in_bytes + got);
            memcpy(c->in + c->in_bytes, loop->chunk, got);
            data = c->in;
            bytes += c->in_bytes;
        }
        size_t taken = receive(loop, c, data, bytes), rest = bytes - taken;
        if (rest > MOST_PARTIAL_BYTES) fail(loop, TOO_LARGE);
        if (rest > c->in_room) c->in = realloc(c->in, c->in_room = rest); /* then data is the chunk, not `in` */
        if (rest) memmove(c->in, data + taken, rest);
        c->in_bytes = rest;
    } while (got == CHUNK_BYTES && loop->outcome == OK);
    flush(loop, c);
}

static void poll_events(Loop *loop, int timeout_ms) {
    struct epoll_event events[MOST_EVENTS];
    int count = epoll_wait(loop->run->poller, events, MOST_EVENTS, timeout_ms);
    for (int i = 0; i < count && loop->outcome == OK; i++) {
        Connection *c = loop->by_fd[events[i].data.fd];
        if (events[i].events & ~EPOLLOUT) readable(loop, c);
        if (events[i].events & EPOLLOUT) writable(loop, c);
    }
}

/* --- The turns of loop.py --- */

static int burst(Loop *loop) {
    Run *run = loop->run;
    int timeout_ms = 100;
    for (uint32_t i = 0; i < run->pubs; i++) {
        Connection *c = loop->publishers[i];
        for (int left = BURST; left && run->published < run->count && may_publish(run, c); left--) publish(run, c);
        flush(loop, c);
        if (may_publish(run, c)) timeout_ms = 0;
    }
    return timeout_ms;
}

static void pace(Loop *loop, double elapsed_s) {
    Run *run = loop->run;
    double lag_s = elapsed_s - run->published / run->rate;
    if (lag_s > run->lag_s) run->lag_s = lag_s;
    uint64_t due = elapsed_s * run->rate + 1;
    if (due > run->count) due = run->count;
    for (uint32_t blocked = 0; run->published < due && blocked < run->pubs;) {
        Connection *c = loop->publishers[loop->turn];
        loop->turn = (loop->turn + 1) % run->pubs;
        if (may_publish(run, c)) {
            publish(run, c);
            flush(loop, c);
            blocked = 0;
        } else
            blocked++;
    }
    struct timespec nap = {0, run->nap_s * 1e9};
    if (run->published == due) nanosleep(&nap, NULL);
}

static int settled(const Loop *loop) {
    const Run *run = loop->run;
    if (run->published < run->count || run->received < run->deliveries) return 0;
    for (uint32_t i = 0; i < run->pubs; i++)
        if (loop->publishers[i]->in_flight) return 0;
    return 1;
}

/* --- What native.py calls --- */

Loop *load_open(Run *run, const Client *clients) {
    Loop *loop = calloc(1, sizeof *loop);
    int32_t most_fd = 0;
    uint32_t pubs = 0;
    for (uint32_t i = 0; i < run->clients; i++) most_fd = clients[i].fd > most_fd ? clients[i].fd : most_fd;
    loop->run = run;
    loop->connections = calloc(run->clients, sizeof *loop->connections);
    loop->publishers = calloc(run->pubs, sizeof *loop->publishers);
    loop->by_fd = calloc(most_fd + 1, sizeof *loop->by_fd);
    for (uint32_t i = 0; i < run->clients; i++) {
        Connection *c = &loop->connections[i];
        c->client = &clients[i];
        c->number = i;
        if (c->client->is_publisher) loop->publishers[pubs++] = c;
        else c->due = calloc(c->client->heard_count + 1, sizeof *c->due);
        loop->by_fd[c->client->fd] = c;
    }
    return loop;
}

/* Publish everything; return when it is delivered and acknowledged, or nothing moves any more */
int load_drive(Loop *loop) {
    Run *run = loop->run;
    int64_t start = now_ns(), progress = start;
    uint64_t published = 0, received = 0;
    while (loop->outcome == OK && !settled(loop)) {
        int timeout_ms = 100;
        if (run->published < run->count) {
            if (run->rate > 0) pace(loop, (now_ns() - start) / 1e9), timeout_ms = 0;
            else timeout_ms = burst(loop);
        }
        poll_events(loop, timeout_ms);
        int64_t now = now_ns();
        if (published != run->published || received != run->received)
            published = run->published, received = run->received, progress = now;
        else if ((now - progress) / 1e9 > run->give_up_s) break;
        if ((now - start) / 1e9 > run->max_s) break;
    }
    for (uint32_t i = 0; i < run->pubs; i++) run->unsettled += loop->publishers[i]->in_flight;
    return loop->outcome;
}

/* Publish nothing, take what comes, for so long */
int load_serve(Loop *loop, double seconds) {
    int64_t until = now_ns() + (int64_t)(seconds * 1e9), left;
    while (loop->outcome == OK && (left = until - now_ns()) > 0) poll_events(loop, left / 1000000 + 1);
    return loop->outcome;
}

void load_close(Loop *loop) {
    for (uint32_t i = 0; i < loop->run->clients; i++) {
        Connection *c = &loop->connections[i];
        free(c->in), free(c->out), free(c->due), free(c->sent);
    }
    free(loop->connections), free(loop->publishers), free(loop->by_fd), free(loop);
}
