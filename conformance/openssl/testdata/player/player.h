// player plays scenarios: see ../../README.md for what a scenario is.

#ifndef PLAYER_H
#define PLAYER_H

#include <openssl/ssl.h>

// The step that is being played: words, and settings written name=value.

const char *word(int i);              // "" if there is none; 0 is the name of the step
const char *setting(const char *name); // NULL if there is none
long number(const char *name, long otherwise);
int is(const char *name, const char *value);
int yes(const char *name);

// fail ends the program: the scenario can't be played, by a mistake in it or in the program.
void fail(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

// The trace.

// event prints one event. Session IDs in it are written #HEX, and printed S1, S2 ... in order of appearance.
void event(const char *format, ...) __attribute__((format(printf, 1, 2)));
// client_event keeps an event of the client until those of the server have been printed.
void client_event(const char *format, ...) __attribute__((format(printf, 1, 2)));
void flush_client_events(void);
// event_line prints the statistics, which belong to no connection.
void event_line(const char *format, ...) __attribute__((format(printf, 1, 2)));

extern int quiet;      // nothing is printed
extern int connection; // number of the latest connection

const char *flag(int value); // "true" or "false"
const char *hex(const unsigned char *b, size_t n); // #HEX, "empty"; valid for a few calls
// named returns the bytes of the session that the trace calls so.
size_t named(const char *name, unsigned char *id);

// The clock of the program and of libssl in it. It stands still but for step "clock".

extern long clock_offset;
long now(void);
// write_locks is how many write locks are held by this thread.
extern int write_locks;

// The client: one on each connection.

#define MAX_CONNECTIONS 600
#define MAX_SESSIONS 32

struct connection {
    int open;
    SSL *client, *server;                // server is NULL if it is another program
    BIO *server_bio;                     // what the server's bytes go through
    int socket;                          // of the other program's connection
    SSL_SESSION *sessions[MAX_SESSIONS]; // that the client got
    int count;
    int client_done;
};

extern struct connection connections[MAX_CONNECTIONS];
extern int always_tickets; // also of TLS 1.2; a session ID to be offered is then a ticket

const char *client_version(void); // 1.2, 1.3 or 1.2-1.3
void client_start(struct connection *c, BIO *bio);
// client_handshake goes on with the handshake and returns whether it can do no more.
int client_handshake(struct connection *c);
void client_read(struct connection *c);
void client_write(struct connection *c);
void client_end(struct connection *c); // frees it
void client_free_all(void);
extern const unsigned char garbage[]; // a record that nobody has made
#define GARBAGE_LENGTH 37

// What a close is made of, in order.
const char *parts_of(const char *close);

// A side is what plays the server's part.
struct side {
    void (*step)(void);                     // any step but these:
    void (*connect)(struct connection *c);
    void (*close)(struct connection *c, const char *parts);
    void (*end)(void); // prints the statistics and forgets the scenario
};

extern const struct side libssl, far;
extern int stateful, one_ticket, exact_size; // how libssl is held to what another server does
void far_open(int fd);
// unplayable is called when the side can't play the scenario; what is left of it is skipped.
void unplayable(const char *key);
extern const char *line; // the step as it was written, with session names as #HEX

void make_certificate(SSL_CTX *ctx);

#endif
