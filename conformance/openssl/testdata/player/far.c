// Another program as the server. It is told each step that concerns it as a line, and answers with lines: events, and at the end
// one that says how the step went. See ../../README.md.

#include "player.h"

#include <openssl/err.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static FILE *in, *out;
static char answer[4096];

static struct { char name[16], address[108]; } addresses[4];
static int address_count;

void far_open(int fd)
{
    signal(SIGPIPE, SIG_IGN); // a server that has gone is an error of the connection
    in = fdopen(fd, "r");
    out = fdopen(dup(fd), "w");
    if (in == NULL || out == NULL)
        fail("file descriptor %d", fd);
}

// tell sends the step.
static void tell(void)
{
    fprintf(out, "%s\n", line);
    fflush(out);
}

// listen_to reads the answer. Lines that end it begin with "." (it went well), "-" (go on, there is more to come), "!" (it can't be played) or "?" (a
// mistake). It returns NULL if the step can't be played. keep, if not NULL, is the beginning of events that are returned rather than printed.
static const char *listen_to(const char *keep)
{
    static char kept[4096];

    kept[0] = '\0';
    while (fgets(answer, sizeof answer, in) != NULL) {
        answer[strcspn(answer, "\n")] = '\0';
        switch (answer[0]) {
        case '.':
        case '-':
            return keep == NULL ? answer + 1 : kept;
        case '!':
            unplayable(answer + 2);
            return NULL;
        case '?':
            fail("the other program says: %s", answer + 2);
        case '=':
            event_line("%s", answer + 2);
            break;
        default:
            if (keep != NULL && strncmp(answer, keep, strlen(keep)) == 0)
                snprintf(kept, sizeof kept, "%s", answer + strlen(keep));
            else
                event("%s", answer);
        }
    }
    fail("the other program has gone");
}

static void step_far(void)
{
    const char *address;

    if (strcmp(word(0), "new-ticket") == 0) {
        tell();
        if (listen_to(NULL) != NULL)
            client_read(&connections[atoi(word(1))]);
        return;
    }
    tell();
    address = listen_to(strcmp(word(0), "server") == 0 ? "address " : NULL);
    if (strcmp(word(0), "server") == 0 && address != NULL) {
        snprintf(addresses[address_count].name, sizeof addresses[0].name, "%s", word(1));
        snprintf(addresses[address_count++].address, sizeof addresses[0].address, "%s", address);
    }
}

static int dial(const char *server)
{
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    for (int i = 0; i < address_count; i++)
        if (strcmp(addresses[i].name, server) == 0)
            memcpy(a.sun_path, addresses[i].address, sizeof a.sun_path);
    if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof a) != 0)
        fail("connecting to %s", server);
    return fd;
}

// hang_up closes the client's end so that nothing is lost on the way.
static void hang_up(struct connection *c)
{
    client_end(c);
    close(c->socket);
    c->socket = -1;
}

// print_outcome prints what the other program says of the handshake: "version=... reused=...", or nothing if it failed.
static int print_outcome(struct connection *c, const char *outcome)
{
    const char *early = "", *reused = outcome == NULL ? NULL : strstr(outcome, " reused=");

    if (reused == NULL) {
        if (strcmp(word(2), "abandon") != 0)
            event("accept_failed");
        return 0;
    }
    if (yes("early"))
        early = SSL_get_early_data_status(c->client) == SSL_EARLY_DATA_ACCEPTED ? " early_data=accepted" : " early_data=rejected";
    event("accept_returned %.*s server_reused=%s client_reused=%s%s", (int)(reused - outcome), outcome, reused + 8,
          flag(SSL_session_reused(c->client)), early);
    return 1;
}

static void connect_far(struct connection *c)
{
    const char *outcome;
    int result = 0;

    tell();
    if (listen_to(NULL) == NULL)
        return;
    c->socket = dial(word(1));
    client_start(c, BIO_new_socket(c->socket, BIO_NOCLOSE));
    if (strcmp(word(2), "abandon") == 0) {
        SSL_set0_rbio(c->client, BIO_new(BIO_s_mem())); // it never hears of the answer
        client_handshake(c);
        shutdown(c->socket, SHUT_WR);
    } else {
        result = client_handshake(c);
    }
    if (result == 1) {
        client_write(c);
        client_read(c);
    } else {
        shutdown(c->socket, SHUT_WR);
    }
    outcome = listen_to("accepted ");
    if (print_outcome(c, outcome)) {
        c->open = 1;
        return;
    }
    flush_client_events();
    event("close how=drop");
    hang_up(c);
}

static void close_far(struct connection *c, const char *parts)
{
    for (const char *p = parts; *p != '\0'; p++) {
        if (*p == 'c')
            SSL_shutdown(c->client);
        if (*p == 'e')
            shutdown(c->socket, SHUT_WR);
        if (*p == 'g' && write(c->socket, garbage, GARBAGE_LENGTH) != GARBAGE_LENGTH)
            fail("write");
    }
    fprintf(out, "close %d %s\n", (int)(c - connections), parts);
    fflush(out);
    if (strchr(parts, 'G') != NULL)
        client_read(c);
    if (listen_to(NULL) != NULL)
        client_read(c);
    hang_up(c);
}

static void end_far(void)
{
    fputs("end\n", out);
    fflush(out);
    listen_to(NULL);
    address_count = 0;
}

const struct side far = { step_far, connect_far, close_far, end_far };
