// player plays the scenarios on standard input and prints what happens.
//
//   player               libssl is the server, in this program
//   player --far FD      the server is another program, which is told each step on the file descriptor
//
//   player --tickets     the client always offers tickets: for a server that knows no other way
//   player --stateful    libssl is told to keep all sessions (SSL_OP_NO_TICKET), as a server does that has no other tickets
//   player --one-ticket  libssl is told to issue one ticket at most
//   player --exact-size  libssl is told a size of one more, which is what it takes to hold as many sessions as the size says
//
// The client is libssl always, in this program.

#include "player.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Steps.

#define MAX_WORDS 32

static char text[1024], resolved[4096];
static char *words[MAX_WORDS];
static int word_count;
const char *line = resolved;

const char *word(int i)
{
    int n = 0;

    for (int k = 0; k < word_count; k++)
        if (strchr(words[k], '=') == NULL && n++ == i)
            return words[k];
    return "";
}

const char *setting(const char *name)
{
    size_t n = strlen(name);

    for (int i = 0; i < word_count; i++)
        if (strncmp(words[i], name, n) == 0 && words[i][n] == '=')
            return words[i] + n + 1;
    return NULL;
}

long number(const char *name, long otherwise)
{
    return setting(name) == NULL ? otherwise : atol(setting(name));
}

int is(const char *name, const char *value)
{
    return setting(name) != NULL && strcmp(setting(name), value) == 0;
}

int yes(const char *name) { return is(name, "yes"); }

void fail(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    fflush(stdout);
    fprintf(stderr, "player: in \"%s\": ", resolved);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    exit(1);
}

// Names of sessions.

static struct { unsigned char id[64]; size_t length; } ids[1024];
static int id_count;

const char *flag(int value) { return value ? "true" : "false"; }

const char *hex(const unsigned char *b, size_t n)
{
    static char buffers[8][2 * 64 + 2];
    static int next;
    char *s = buffers[next++ % 8];

    if (n == 0)
        return "empty";
    s[0] = '#';
    for (size_t i = 0; i < n && i < 64; i++)
        sprintf(s + 1 + 2 * i, "%02x", b[i]);
    return s;
}

static int name_of(const unsigned char *id, size_t n)
{
    for (int i = 0; i < id_count; i++)
        if (ids[i].length == n && memcmp(ids[i].id, id, n) == 0)
            return i + 1;
    if (id_count == (int)(sizeof ids / sizeof ids[0]))
        fail("too many sessions");
    memcpy(ids[id_count].id, id, n);
    ids[id_count].length = n;
    return ++id_count;
}

size_t named(const char *name, unsigned char *id)
{
    int i = name[0] == 'S' ? atoi(name + 1) : 0;

    if (name[0] == '#') {
        size_t n = strlen(++name) / 2;

        for (size_t k = 0; k < n; k++)
            sscanf(name + 2 * k, "%2hhx", &id[k]);
        return n;
    }
    if (i < 1 || i > id_count)
        return 0;
    memcpy(id, ids[i - 1].id, ids[i - 1].length);
    return ids[i - 1].length;
}

// Events.

int quiet, connection;

// print prints s, with #HEX as the names of sessions.
static void print(const char *s)
{
    unsigned char id[64];
    char token[2 * 64 + 2];
    size_t n;

    while (*s != '\0') {
        if (*s != '#') {
            putchar(*s++);
            continue;
        }
        n = strspn(s + 1, "0123456789abcdef") + 1;
        snprintf(token, sizeof token, "%.*s", (int)n, s);
        s += n;
        n = named(token, id);
        printf("S%d", name_of(id, n));
    }
    putchar('\n');
}

static char kept[64][512];
static int kept_count;

void event(const char *format, ...)
{
    char b[512];
    va_list args;

    va_start(args, format);
    vsnprintf(b, sizeof b, format, args);
    va_end(args);
    if (quiet)
        return;
    printf("%d ", connection);
    print(b);
}

void client_event(const char *format, ...)
{
    va_list args;

    if (quiet || kept_count == 64)
        return;
    va_start(args, format);
    vsnprintf(kept[kept_count++], sizeof kept[0], format, args);
    va_end(args);
}

void flush_client_events(void)
{
    for (int i = 0; i < kept_count; i++)
        event("%s", kept[i]);
    kept_count = 0;
}

void event_line(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    putchar('\n');
}

// Playing.

static const struct side *side = &libssl;
static int skipping;

void unplayable(const char *key)
{
    event_line("unplayable %s", key);
    skipping = 1;
}

const char *parts_of(const char *close)
{
    static const char *const table[][2] = {
        // c the client sends close_notify, e it closes its side of the transport, g it sends garbage;
        // r the server reads, s it sends close_notify, f it is freed; G it sends garbage, which the client reads;
        // q, m, i, k: functions of libssl that have no counterpart on the wire.
        { "both", "crsf" },        { "peer", "crf" },       { "server", "sf" },
        { "drop", "f" },           { "eof", "erf" },        { "eof-ignored", "ierf" },
        { "eof-notify", "ersf" },  { "alert-sent", "grf" }, { "alert-received", "Grf" },
        { "notify-alert", "Gsrf" }, { "quiet", "qf" },      { "mark", "mf" },
        { "clear", "kf" },
    };

    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        if (strcmp(table[i][0], close) == 0)
            return table[i][1];
    fail("unknown way to close \"%s\"", close);
}

// The versions of the servers, which are those of the client too if nothing else is said.

static struct { char name[16], version[16]; } versions[4];
static int version_count;

static void note_version(void)
{
    int i = 0;

    while (i < version_count && strcmp(versions[i].name, word(1)) != 0)
        i++;
    if (i == 4)
        fail("too many servers");
    if (i == version_count)
        snprintf(versions[version_count++].name, sizeof versions[0].name, "%s", word(1));
    else if (setting("version") == NULL)
        return;
    snprintf(versions[i].version, sizeof versions[0].version, "%s", setting("version") == NULL ? "1.2" : setting("version"));
}

const char *client_version(void)
{
    for (int i = 0; i < version_count; i++)
        if (strcmp(versions[i].name, word(1)) == 0)
            return setting("version") == NULL ? versions[i].version : setting("version");
    fail("there is no server %s", word(1));
}

static void close_connection(struct connection *c, const char *how)
{
    const char *parts = parts_of(how);

    if (!c->open)
        fail("the connection is not open");
    event("close how=%s", how);
    side->close(c, parts);
    flush_client_events();
    c->open = 0;
}

static void connect_once(void)
{
    struct connection *c = &connections[++connection];
    const char *how = setting("close");

    if (connection == MAX_CONNECTIONS - 1)
        fail("too many connections");
    side->connect(c);
    flush_client_events();
    if (skipping || !c->open || (how != NULL && strcmp(how, "later") == 0))
        return;
    close_connection(c, how == NULL ? "both" : how);
}

static void play(void)
{
    if (strcmp(word(0), "connect") == 0) {
        quiet = setting("times") != NULL;
        for (long n = number("times", 1); n > 0; n--)
            connect_once();
        quiet = 0;
    } else if (strcmp(word(0), "close") == 0) {
        close_connection(&connections[atoi(word(1))], word(2));
    } else {
        if (strcmp(word(0), "clock") == 0)
            clock_offset += atol(word(1));
        if (strcmp(word(0), "server") == 0 || strcmp(word(0), "set") == 0)
            note_version();
        side->step();
        flush_client_events();
    }
}

static void end_scenario(void)
{
    if (connection < 0)
        return;
    side->end();
    client_free_all();
    id_count = kept_count = skipping = version_count = 0;
    clock_offset = 0;
    connection = -1;
}

// split takes text apart, and makes resolved of it.
static void split(void)
{
    char *comment = strchr(text, '#');

    if (comment != NULL)
        *comment = '\0';
    word_count = 0;
    for (char *w = strtok(text, " \t\n"); w != NULL && word_count < MAX_WORDS; w = strtok(NULL, " \t\n"))
        words[word_count++] = w;
}

// resolve puts IDs for the names of sessions in words and values. What follows the name stays: get=S1:renamed.
static void resolve(void)
{
    unsigned char id[64];

    resolved[0] = '\0';
    for (int i = 0; i < word_count; i++) {
        char *value = strchr(words[i], '='), *name = value == NULL ? words[i] : value + 1;
        size_t n = name[0] == 'S' && isdigit((unsigned char)name[1]) ? named(name, id) : 0;
        size_t used = strlen(resolved), room = sizeof resolved - used;

        if (n == 0)
            snprintf(resolved + used, room, "%s%s", i == 0 ? "" : " ", words[i]);
        else
            snprintf(resolved + used, room, " %.*s%s%s", (int)(name - words[i]), words[i], hex(id, n),
                     name + 1 + strspn(name + 1, "0123456789"));
    }
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "--tickets") == 0) {
            always_tickets = 1;
        } else if (strcmp(argv[i], "--stateful") == 0) {
            stateful = 1;
        } else if (strcmp(argv[i], "--one-ticket") == 0) {
            one_ticket = 1;
        } else if (strcmp(argv[i], "--exact-size") == 0) {
            exact_size = 1;
        } else if (strcmp(argv[i], "--far") == 0 && i + 1 < argc) {
            far_open(atoi(argv[++i]));
            side = &far;
        } else {
            fprintf(stderr, "usage: player [--stateful] [--one-ticket] [--exact-size] [--tickets] [--far FD] <SCENARIOS\n");
            return 2;
        }
    for (connection = -1; fgets(text, sizeof text, stdin) != NULL;) {
        split();
        if (word_count == 0)
            continue;
        resolve();
        if (strcmp(word(0), "scenario") == 0) {
            end_scenario();
            connection = 0;
            printf("scenario %s\n", word(1));
        } else if (connection < 0) {
            fail("a step outside a scenario");
        } else if (!skipping) {
            play();
        }
        fflush(stdout);
    }
    end_scenario();
    return 0;
}
