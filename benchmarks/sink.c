/* An SMTP server that takes every letter at once and keeps none: what a client is measured against.
 *
 *     sink [-o PIPELINING,CHUNKING,…] [-d MILLISECONDS] [-j FILE [-f]]
 *
 * Listens on a free port of 127.0.0.1 and prints it. Ends when its standard input does, and then prints how
 * many letters, octets of letters and connections there were, as one line of JSON.
 *
 * -o  the extensions EHLO names; BDAT (RFC 3030) is understood only where CHUNKING is among them
 * -d  a distance: what was received together is answered together, so much later. Commands that travel in
 *     one group (RFC 2920) so cost one round trip. The greeting takes two, for TCP's handshake has one, too.
 *     Neither bandwidth nor TCP's slow start is imitated.
 * -j  the Message-ID of each letter is appended to FILE before the letter is answered; with -f it is on the
 *     disk by then, too
 *
 * One thread: what it spends itself is as little as possible, for it shares the machine with whoever is measured.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum {
    EVENTS = 64,
    RECEIVED = 256 * 1024, /* octets taken from a connection at once */
    LINE = 2048,           /* the longest command, twice what RFC 5321 and its extensions add up to */
    HEAD = 4096,           /* of a letter, in which its Message-ID is looked for */
    BLOCK = 1024,          /* octets of a letter looked through together */
    REPLY = 1024,
};

enum state { COMMANDS, LETTER, CHUNK };

struct connection {
    int fd; /* -1: it is closed, and waits for its last batch */
    enum state state;
    char line[LINE];
    size_t line_length;
    bool has_sender, has_recipient;
    unsigned matched;    /* how much of the final dot's line was seen */
    uint64_t chunk_left; /* octets of a BDAT still to come */
    bool is_last_chunk, is_chunk_refused;
    char head[HEAD];
    size_t head_length;
    char *out; /* what the connection is to be told, and does not take yet */
    size_t out_length, out_space;
    bool is_greeted, is_leaving;
    unsigned batches; /* on their way */
};

/* Replies that travel together. All take the same time, so that a queue is in order. */
struct batch {
    struct timespec due;
    struct connection *to;
    struct batch *next;
    unsigned trips; /* still to wait for */
    size_t length;
    char text[];
};

static struct {
    int epoll, timer, journal;
    bool does_sync, takes_chunks;
    long delay; /* nanoseconds */
    char hello[REPLY];
    struct batch *first, *last;
    uint64_t letters, octets, connections;
} sink = {.journal = -1};

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static void watch(int fd, void *as, uint32_t events, int how)
{
    struct epoll_event event = {.events = events, .data.ptr = as};
    if (epoll_ctl(sink.epoll, how, fd, &event) < 0)
        die("epoll_ctl");
}

/* --- what is answered ------------------------------------------------------------------------------ */

static void flush(struct connection *c)
{
    while (c->out_length > 0) {
        ssize_t sent = send(c->fd, c->out, c->out_length, MSG_NOSIGNAL);
        if (sent < 0) {
            if (errno == EAGAIN)
                watch(c->fd, c, EPOLLIN | EPOLLOUT, EPOLL_CTL_MOD);
            else
                /* It is closed where it is read: nothing else may still hold it then. */
                shutdown(c->fd, SHUT_RDWR);
            return;
        }
        memmove(c->out, c->out + sent, c->out_length - (size_t)sent);
        c->out_length -= (size_t)sent;
    }
    if (c->is_leaving && c->batches == 0)
        shutdown(c->fd, SHUT_RDWR);
}

static void tell(struct connection *c, const char *text, size_t length)
{
    if (c->out_length + length > c->out_space) {
        c->out_space = 2 * (c->out_length + length) + REPLY;
        if ((c->out = realloc(c->out, c->out_space)) == NULL)
            die("realloc");
    }
    memcpy(c->out + c->out_length, text, length);
    c->out_length += length;
}

static void arm(void)
{
    struct itimerspec when = {0};
    if (sink.first != NULL)
        when.it_value = sink.first->due;
    if (timerfd_settime(sink.timer, TFD_TIMER_ABSTIME, &when, NULL) < 0)
        die("timerfd_settime");
}

static void enqueue(struct batch *one)
{
    clock_gettime(CLOCK_MONOTONIC, &one->due);
    one->due.tv_nsec += sink.delay;
    one->due.tv_sec += one->due.tv_nsec / 1000000000;
    one->due.tv_nsec %= 1000000000;
    one->next = NULL;
    if (sink.first == NULL)
        sink.first = one;
    else
        sink.last->next = one;
    sink.last = one;
    if (sink.first == one)
        arm();
}

/* What was gathered since *from* is sent, now or after the delay. */
static void answer(struct connection *c, size_t from, unsigned trips)
{
    size_t length = c->out_length - from;
    if (sink.delay == 0) {
        flush(c);
        return;
    }
    if (length == 0)
        return;
    struct batch *one = malloc(sizeof *one + length);
    if (one == NULL)
        die("malloc");
    *one = (struct batch){.to = c, .trips = trips, .length = length};
    memcpy(one->text, c->out + from, length);
    c->out_length = from;
    c->batches++;
    enqueue(one);
}

static void forget(struct connection *c)
{
    free(c->out);
    free(c);
}

static void arrive(struct batch *one)
{
    struct connection *c = one->to;
    c->batches--;
    if (c->fd >= 0) {
        if (!c->is_greeted)
            watch(c->fd, c, EPOLLIN, EPOLL_CTL_MOD);
        c->is_greeted = true;
        tell(c, one->text, one->length);
        flush(c);
    } else if (c->batches == 0) {
        forget(c);
    }
    free(one);
}

static bool is_due(const struct batch *one, const struct timespec *now)
{
    return one->due.tv_sec < now->tv_sec || (one->due.tv_sec == now->tv_sec && one->due.tv_nsec <= now->tv_nsec);
}

static void ring(void)
{
    uint64_t times;
    if (read(sink.timer, &times, sizeof times) < 0 && errno != EAGAIN)
        die("timerfd");
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    while (sink.first != NULL && is_due(sink.first, &now)) {
        struct batch *one = sink.first;
        sink.first = one->next;
        if (--one->trips > 0)
            enqueue(one);
        else
            arrive(one);
    }
    arm();
}

/* --- letters --------------------------------------------------------------------------------------- */

static void keep_head(struct connection *c, const char *octets, size_t length)
{
    if (sink.journal < 0 || c->head_length == HEAD - 1)
        return;
    size_t room = HEAD - 1 - c->head_length;
    memcpy(c->head + c->head_length, octets, length < room ? length : room);
    c->head_length += length < room ? length : room;
}

static void write_down(struct connection *c)
{
    c->head[c->head_length] = '\0';
    char *found = strcasestr(c->head, "\r\nMessage-ID:");
    char *begin = found ? strchr(found, '<') : NULL;
    char *end = begin ? strchr(begin, '>') : NULL;
    const char *name = end ? begin : "-";
    int length = end ? (int)(end - begin) + 1 : 1;
    /* One write: the lines of O_APPEND stay whole. */
    if (dprintf(sink.journal, "%.*s\n", length, name) < 0 || (sink.does_sync && fdatasync(sink.journal) < 0))
        die("journal");
}

static void say(struct connection *c, const char *text) { tell(c, text, strlen(text)); }

static void begin_transaction(struct connection *c)
{
    c->has_sender = c->has_recipient = false;
    c->head_length = 0;
}

static void take(struct connection *c)
{
    if (sink.journal >= 0)
        write_down(c);
    sink.letters++;
    begin_transaction(c);
    say(c, "250 2.0.0 taken\r\n");
}

/* Whether no line of the block, nor the next octet, begins with a dot; a loop that compilers make wide. */
static bool is_dull(const char *octets)
{
    unsigned char found = 0;
    for (size_t i = 0; i < BLOCK; i++)
        found |= (unsigned char)((octets[i] == '\n') & (octets[i + 1] == '.'));
    return !found;
}

/* How many of the octets belong to the letter; *is_whole* once its final dot is among them. */
static size_t letter_in(struct connection *c, const char *octets, size_t length, bool *is_whole)
{
    static const char end[] = "\r\n.\r\n";
    size_t i = 0;
    while (i < length) {
        if (c->matched == 0 && length - i > BLOCK && is_dull(octets + i)) {
            /* All but one octet: it may be the CR of an end whose dot lies behind the block. */
            i += BLOCK - 1;
            continue;
        }
        for (size_t stop = length - i > BLOCK ? i + BLOCK : length; i < stop; i++) {
            if (octets[i] == end[c->matched])
                c->matched++;
            else
                c->matched = octets[i] == '\r';
            if (c->matched == sizeof end - 1) {
                *is_whole = true;
                return i + 1;
            }
        }
    }
    return length;
}

static size_t read_letter(struct connection *c, const char *octets, size_t length)
{
    bool is_whole = false;
    size_t taken = letter_in(c, octets, length, &is_whole);
    sink.octets += taken;
    keep_head(c, octets, taken);
    if (is_whole) {
        c->state = COMMANDS;
        take(c);
    }
    return taken;
}

static size_t read_chunk(struct connection *c, const char *octets, size_t length)
{
    size_t taken = length < c->chunk_left ? length : (size_t)c->chunk_left;
    c->chunk_left -= taken;
    if (!c->is_chunk_refused) {
        sink.octets += taken;
        keep_head(c, octets, taken);
    }
    return taken;
}

static void end_chunk(struct connection *c)
{
    c->state = COMMANDS;
    if (c->is_chunk_refused)
        say(c, "503 5.5.1 there is no recipient\r\n");
    else if (c->is_last_chunk)
        take(c);
    else
        say(c, "250 2.0.0 go on\r\n");
}

/* --- commands -------------------------------------------------------------------------------------- */

static bool is(const char *line, const char *verb) { return strncasecmp(line, verb, strlen(verb)) == 0; }

static void begin_letter(struct connection *c)
{
    if (!c->has_recipient) {
        say(c, "503 5.5.1 there is no recipient\r\n");
        return;
    }
    c->state = LETTER;
    c->matched = 2; /* the command's own line end counts: a dot alone may be all there is */
    say(c, "354 go on\r\n");
}

static void begin_chunk(struct connection *c)
{
    char *end;
    if (!sink.takes_chunks || c->line[4] != ' ') {
        say(c, "502 5.5.1 not here\r\n");
        return;
    }
    c->chunk_left = strtoull(c->line + 5, &end, 10);
    c->is_last_chunk = strcasecmp(end, " LAST") == 0;
    c->is_chunk_refused = !c->has_recipient;
    c->state = CHUNK;
}

static void obey(struct connection *c)
{
    const char *line = c->line;
    if (is(line, "MAIL FROM:")) {
        c->has_sender = true;
        say(c, "250 2.1.0 ok\r\n");
    } else if (is(line, "RCPT TO:")) {
        c->has_recipient = c->has_sender;
        say(c, c->has_sender ? "250 2.1.5 ok\r\n" : "503 5.5.1 there is no sender\r\n");
    } else if (is(line, "DATA")) {
        begin_letter(c);
    } else if (is(line, "BDAT")) {
        begin_chunk(c);
    } else if (is(line, "EHLO")) {
        begin_transaction(c);
        say(c, sink.hello);
    } else if (is(line, "HELO") || is(line, "RSET")) {
        begin_transaction(c);
        say(c, "250 2.0.0 ok\r\n");
    } else if (is(line, "NOOP")) {
        say(c, "250 2.0.0 ok\r\n");
    } else if (is(line, "QUIT")) {
        c->is_leaving = true;
        say(c, "221 2.0.0 bye\r\n");
    } else {
        say(c, "500 5.5.2 not understood\r\n");
    }
}

static size_t read_command(struct connection *c, const char *octets, size_t length)
{
    const char *end = memchr(octets, '\n', length);
    size_t taken = end ? (size_t)(end - octets) + 1 : length;
    if (c->line_length + taken >= LINE) {
        c->is_leaving = true;
        say(c, "500 5.5.2 too long\r\n");
        return length;
    }
    memcpy(c->line + c->line_length, octets, taken);
    c->line_length += taken;
    if (end) {
        while (c->line_length > 0 && strchr("\r\n", c->line[c->line_length - 1]))
            c->line_length--;
        c->line[c->line_length] = '\0';
        c->line_length = 0;
        obey(c);
    }
    return taken;
}

static void understand(struct connection *c, const char *octets, size_t length)
{
    while (length > 0 && !c->is_leaving) {
        size_t taken = c->state == LETTER  ? read_letter(c, octets, length)
                       : c->state == CHUNK ? read_chunk(c, octets, length)
                                           : read_command(c, octets, length);
        octets += taken;
        length -= taken;
        if (c->state == CHUNK && c->chunk_left == 0)
            end_chunk(c);
    }
}

/* --- connections ----------------------------------------------------------------------------------- */

static void welcome(int listener)
{
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC), one = 1;
    if (fd < 0)
        return;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    struct connection *c = calloc(1, sizeof *c);
    if (c == NULL)
        die("calloc");
    c->fd = fd;
    sink.connections++;
    /* Whoever speaks too soon is heard after the greeting, or the answer would overtake it. */
    watch(fd, c, sink.delay > 0 ? 0 : EPOLLIN, EPOLL_CTL_ADD);
    say(c, "220 sink ESMTP\r\n");
    answer(c, 0, 2);
}

static void part(struct connection *c)
{
    close(c->fd);
    c->fd = -1;
    if (c->batches == 0)
        forget(c);
}

static void serve(struct connection *c, uint32_t events)
{
    static char received[RECEIVED];
    if (events & EPOLLOUT) {
        watch(c->fd, c, EPOLLIN, EPOLL_CTL_MOD);
        flush(c);
    }
    if (!(events & ~(uint32_t)EPOLLOUT))
        return;
    ssize_t length = recv(c->fd, received, sizeof received, 0);
    if (length < 0 && errno == EAGAIN)
        return;
    if (length <= 0) {
        part(c);
        return;
    }
    size_t before = c->out_length;
    understand(c, received, (size_t)length);
    answer(c, before, 1);
}

static int listening(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, length) < 0 || listen(fd, SOMAXCONN) < 0 ||
        getsockname(fd, (struct sockaddr *)&address, &length) < 0)
        die("127.0.0.1");
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    return fd;
}

static void offer(char *names)
{
    strcpy(sink.hello, "250-sink\r\n");
    for (char *name = strtok(names, ","); name != NULL; name = strtok(NULL, ",")) {
        sink.takes_chunks |= strcmp(name, "CHUNKING") == 0;
        size_t used = strlen(sink.hello);
        snprintf(sink.hello + used, REPLY - used, "250-%s\r\n", name);
    }
    size_t used = strlen(sink.hello);
    snprintf(sink.hello + used, REPLY - used, "250 HELP\r\n");
}

static void configure(int count, char **words)
{
    char *names = "";
    int option;
    while ((option = getopt(count, words, "o:d:j:f")) != -1) {
        if (option == 'o')
            names = optarg;
        else if (option == 'd')
            sink.delay = atol(optarg) * 1000000;
        else if (option == 'j')
            sink.journal = open(optarg, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        else if (option == 'f')
            sink.does_sync = true;
        else
            exit(2);
        if (option == 'j' && sink.journal < 0)
            die(optarg);
    }
    if ((names = strdup(names)) == NULL)
        die("strdup");
    offer(names);
    free(names);
}

int main(int count, char **words)
{
    configure(count, words);
    sink.epoll = epoll_create1(EPOLL_CLOEXEC);
    sink.timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (sink.epoll < 0 || sink.timer < 0)
        die("epoll or timerfd");
    int listener = listening(), standard_input = STDIN_FILENO;
    watch(standard_input, &standard_input, EPOLLIN, EPOLL_CTL_ADD);
    watch(listener, &listener, EPOLLIN, EPOLL_CTL_ADD);
    watch(sink.timer, &sink.timer, EPOLLIN, EPOLL_CTL_ADD);
    for (bool is_open = true; is_open;) {
        struct epoll_event events[EVENTS];
        int found = epoll_wait(sink.epoll, events, EVENTS, -1);
        if (found < 0 && errno != EINTR)
            die("epoll_wait");
        for (int i = 0; i < found; i++) {
            char octet;
            if (events[i].data.ptr == &standard_input)
                is_open = read(standard_input, &octet, 1) > 0;
            else if (events[i].data.ptr == &listener)
                welcome(listener);
            else if (events[i].data.ptr == &sink.timer)
                ring();
            else
                serve(events[i].data.ptr, events[i].events);
        }
    }
    printf("{\"letters\": %llu, \"octets\": %llu, \"connections\": %llu}\n", (unsigned long long)sink.letters,
           (unsigned long long)sink.octets, (unsigned long long)sink.connections);
    return 0;
}
