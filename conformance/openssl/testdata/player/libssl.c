// libssl as the server, with the three callbacks and an external store.

#include "player.h"

#include <openssl/err.h>
#include <openssl/rand.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int stateful, one_ticket, exact_size;

struct server {
    SSL_CTX *ctx;
    char name[16];
    char new[16], get[80], remove[16], generate[16]; // what the callbacks do
    const char *copy;                                // what get sets *copy to
};

static struct server servers[4];
static int server_count;

// What the server is doing.
static const char *doing = "idle";
static int handshake_done; // was notified on the latest connection

static void set_doing(const char *what) { doing = what == NULL ? "idle" : what; }

// The external store: encoded sessions.

static struct entry { unsigned char id[32]; unsigned int length; unsigned char *der; int der_length; } store[1024];
static int stored;

static struct entry *find(const unsigned char *id, unsigned int n)
{
    for (int i = 0; i < stored; i++)
        if (store[i].length == n && memcmp(store[i].id, id, n) == 0)
            return &store[i];
    return NULL;
}

static void put(SSL_SESSION *session)
{
    unsigned int n;
    const unsigned char *id = SSL_SESSION_get_id(session, &n);
    struct entry *e = find(id, n);

    if (e == NULL)
        e = &store[stored++];
    if (stored == (int)(sizeof store / sizeof store[0]))
        fail("the store is full");
    OPENSSL_free(e->der);
    memcpy(e->id, id, n);
    e->length = n;
    e->der = NULL;
    e->der_length = i2d_SSL_SESSION(session, &e->der);
}

static void drop(struct entry *e)
{
    OPENSSL_free(e->der);
    *e = store[--stored];
    memset(&store[stored], 0, sizeof store[0]);
}

static SSL_SESSION *decode(const struct entry *e)
{
    const unsigned char *p = e->der;

    return d2i_SSL_SESSION(NULL, &p, e->der_length);
}

// Sessions that the application has kept: those of the new callback.

static SSL_SESSION *objects[1024], *added;
static int object_count;
static SSL_SESSION *owned[64]; // what get has returned and still owns
static int owned_count;

static SSL_SESSION *object(const char *name)
{
    unsigned char id[64];
    size_t length = named(name, id);

    for (int i = 0; i < object_count; i++) {
        unsigned int n;
        const unsigned char *b = SSL_SESSION_get_id(objects[i], &n);

        if (n == length && memcmp(b, id, n) == 0)
            return objects[i];
    }
    fail("no session %s was announced", name);
}

// Callbacks.

static struct server *server_of(SSL_CTX *ctx) { return SSL_CTX_get_app_data(ctx); }

static int new_session(SSL *ssl, SSL_SESSION *session)
{
    SSL_CTX *ctx = SSL_get_SSL_CTX(ssl);
    struct server *s = server_of(ctx);
    unsigned int n;
    const unsigned char *id = SSL_SESSION_get_id(session, &n);
    int keep = strcmp(s->new, "refuse") != 0 && strcmp(s->new, "store") != 0;

    event("new sid=%s len=%u ret=%d at=%s hs_done=%s already_in_cache=%s number=%ld accept_good=%ld reused=%s", hex(id, n), n, keep,
          doing, flag(handshake_done), flag(SSL_has_matching_session_id(ssl, id, n)), SSL_CTX_sess_number(ctx),
          SSL_CTX_sess_accept_good(ctx), flag(SSL_session_reused(ssl)));
    if (strcmp(s->new, "refuse") != 0)
        put(session);
    if (strcmp(s->new, "remove") == 0)
        SSL_CTX_remove_session(ctx, session);
    if (strcmp(s->new, "flush") == 0)
        SSL_CTX_flush_sessions(ctx, 0);
    if (keep)
        objects[object_count++] = session;
    return keep;
}

static void remove_session(SSL_CTX *ctx, SSL_SESSION *session)
{
    unsigned int n;
    const unsigned char *id = SSL_SESSION_get_id(session, &n);
    struct entry *e = find(id, n);

    event("remove sid=%s len=%u at=%s hs_done=%s lock_held=%s number=%ld resumable=%s in_store=%s cache_full=%ld", hex(id, n), n,
          doing, flag(handshake_done), flag(write_locks > 0), SSL_CTX_sess_number(ctx),
          flag(SSL_SESSION_is_resumable(session)), flag(e != NULL), SSL_CTX_sess_cache_full(ctx));
    if (e != NULL && strcmp(server_of(ctx)->remove, "keep") != 0)
        drop(e);
}

// freed is called for sessions that get has made, where their life is watched.
static void freed(void *parent, void *ptr, CRYPTO_EX_DATA *ad, int i, long argl, void *argp)
{
    (void)parent, (void)ad, (void)i, (void)argl, (void)argp;
    if (ptr != NULL)
        event("session_object_freed tag=from_get_cb at=%s", doing);
}

static int watched(void)
{
    static int i = -1;

    if (i < 0)
        i = SSL_SESSION_get_ex_new_index(0, NULL, NULL, NULL, freed);
    return i;
}

// found returns what get returns: the session that was asked for, or the one that it was told to return.
static SSL_SESSION *found(struct server *s, const unsigned char *id, int n)
{
    char name[80];
    struct entry *e = find(id, (unsigned int)n);
    unsigned char other[64];
    SSL_SESSION *session;

    if (strcmp(s->get, "null") == 0)
        return NULL;
    snprintf(name, sizeof name, "%s", s->get);
    if (strchr(name, ':') != NULL)
        *strchr(name, ':') = '\0';
    if (name[0] == '#')
        e = find(other, (unsigned int)named(name, other));
    if (e == NULL || (session = decode(e)) == NULL)
        return NULL;
    if (strstr(s->get, ":renamed") != NULL)
        SSL_SESSION_set1_id(session, id, (unsigned int)n);
    return session;
}

// call_cache calls the cache from within get, with another object of what get returns.
static void call_cache(struct server *s, const SSL_SESSION *session)
{
    int (*call)(SSL_CTX *, SSL_SESSION *) = NULL;
    SSL_SESSION *other;

    if (strcmp(s->get, "remove") == 0)
        call = SSL_CTX_remove_session;
    if (strcmp(s->get, "add") == 0)
        call = SSL_CTX_add_session;
    if (call == NULL)
        return;
    other = SSL_SESSION_dup(session);
    call(s->ctx, other);
    SSL_SESSION_free(other);
}

static SSL_SESSION *get_session(SSL *ssl, const unsigned char *id, int n, int *copy)
{
    SSL_CTX *ctx = SSL_get_SSL_CTX(ssl);
    struct server *s = server_of(ctx);
    SSL_SESSION *session = found(s, id, n);
    int before = *copy;

    if (session != NULL) {
        if (s->copy != NULL)
            SSL_SESSION_set_ex_data(session, watched(), s);
        *copy = s->copy == NULL ? 0 : s->copy[0] == 'u' ? before : atoi(s->copy);
        if (*copy != 0)
            owned[owned_count++] = session;
    }
    event("get sid=%s len=%d ret=%s copy_in=%d copy_out=%d at=%s hs_done=%s", hex(id, (size_t)n), n, session == NULL ? "null" : "session",
          before, *copy, doing, flag(handshake_done));
    if (session != NULL)
        call_cache(s, session);
    return session;
}

static int generate(SSL *ssl, unsigned char *id, unsigned int *n)
{
    const char *how = server_of(SSL_get_SSL_CTX(ssl))->generate;

    if (strcmp(how, "fail") == 0)
        return 0;
    if (strcmp(how, "0") != 0)
        event("generate_id len_in=%u at=%s hs_done=%s", *n, doing, flag(handshake_done));
    if (strcmp(how, "same") == 0) {
        memset(id, 7, *n);
        return 1;
    }
    *n = (unsigned int)atoi(how);
    RAND_bytes(id, (int)*n);
    return 1;
}

static int never_resumable(SSL *ssl, int is_forward_secure)
{
    (void)ssl, (void)is_forward_secure;
    return 1;
}

static void info(const SSL *ssl, int where, int code)
{
    char desc[64];

    (void)ssl;
    if ((where & SSL_CB_HANDSHAKE_DONE) != 0) {
        handshake_done = 1;
        event("info_handshake_done");
    }
    if ((where & SSL_CB_ALERT) == 0)
        return;
    snprintf(desc, sizeof desc, "%s", SSL_alert_desc_string_long(code));
    for (char *p = desc; *p != '\0'; p++)
        if (*p == ' ')
            *p = '_';
    event("alert_%s level=%s desc=%s at=%s", (where & SSL_CB_READ) != 0 ? "received" : "sent", SSL_alert_type_string_long(code), desc,
          doing);
}

static int acknowledge_name(SSL *ssl, int *alert, void *arg)
{
    (void)ssl, (void)alert, (void)arg;
    return SSL_TLSEXT_ERR_OK;
}

static int choose_protocol(SSL *ssl, const unsigned char **out, unsigned char *length, const unsigned char *in, unsigned int n, void *arg)
{
    (void)ssl, (void)n, (void)arg;
    *out = in + 1;
    *length = in[0];
    return SSL_TLSEXT_ERR_OK;
}

// Settings.

static long mode_of(const char *s)
{
    static const struct { const char *name; long bit; } bits[] = {
        { "OFF", 0 },
        { "CLIENT", SSL_SESS_CACHE_CLIENT },
        { "SERVER", SSL_SESS_CACHE_SERVER },
        { "BOTH", SSL_SESS_CACHE_BOTH },
        { "NO_AUTO_CLEAR", SSL_SESS_CACHE_NO_AUTO_CLEAR },
        { "NO_INTERNAL", SSL_SESS_CACHE_NO_INTERNAL },
        { "NO_INTERNAL_LOOKUP", SSL_SESS_CACHE_NO_INTERNAL_LOOKUP },
        { "NO_INTERNAL_STORE", SSL_SESS_CACHE_NO_INTERNAL_STORE },
        { "UPDATE_TIME", SSL_SESS_CACHE_UPDATE_TIME },
    };
    long mode = 0;
    char list[128], *name;

    snprintf(list, sizeof list, "%s", s);
    for (name = strtok(list, "|"); name != NULL; name = strtok(NULL, "|")) {
        size_t i = 0;

        while (i < sizeof bits / sizeof bits[0] && strcmp(bits[i].name, name) != 0)
            i++;
        if (i == sizeof bits / sizeof bits[0])
            fail("unknown mode %s", name);
        mode |= bits[i].bit;
    }
    return mode;
}

static void set_option(SSL_CTX *ctx, const char *name, uint64_t option)
{
    if (setting(name) != NULL && yes(name))
        SSL_CTX_set_options(ctx, option);
    else if (setting(name) != NULL)
        SSL_CTX_clear_options(ctx, option);
}

static void set_text(const char *name, char *to, size_t size)
{
    if (setting(name) != NULL)
        snprintf(to, size, "%s", setting(name));
}

static void set_versions(SSL_CTX *ctx, const char *v)
{
    SSL_CTX_set_min_proto_version(ctx, strcmp(v, "1.3") == 0 ? TLS1_3_VERSION : TLS1_2_VERSION);
    SSL_CTX_set_max_proto_version(ctx, strcmp(v, "1.2") == 0 ? TLS1_2_VERSION : TLS1_3_VERSION);
}

static void set_callbacks(SSL_CTX *ctx, const char *names)
{
    SSL_CTX_sess_set_new_cb(ctx, strstr(names, "new") != NULL ? new_session : NULL);
    SSL_CTX_sess_set_remove_cb(ctx, strstr(names, "remove") != NULL ? remove_session : NULL);
    SSL_CTX_sess_set_get_cb(ctx, strstr(names, "get") != NULL ? get_session : NULL);
}

// size_for returns the size that lets the cache hold n sessions.
static long size_for(long n) { return exact_size && n > 1 ? n + 1 : n; }

static void set_crypto(SSL_CTX *ctx)
{
    if (setting("suites") != NULL && SSL_CTX_set_cipher_list(ctx, setting("suites")) != 1)
        fail("suites");
    if (setting("suites13") != NULL && SSL_CTX_set_ciphersuites(ctx, setting("suites13")) != 1)
        fail("suites13");
    if (setting("groups") != NULL && SSL_CTX_set1_groups_list(ctx, setting("groups")) != 1)
        fail("groups");
    set_option(ctx, "no-ticket", SSL_OP_NO_TICKET);
    set_option(ctx, "no-anti-replay", SSL_OP_NO_ANTI_REPLAY);
    if (stateful)
        SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
}

static void apply(struct server *s)
{
    SSL_CTX *ctx = s->ctx;

    if (setting("version") != NULL)
        set_versions(ctx, setting("version"));
    if (setting("callbacks") != NULL)
        set_callbacks(ctx, setting("callbacks"));
    if (setting("mode") != NULL)
        SSL_CTX_set_session_cache_mode(ctx, mode_of(setting("mode")));
    if (setting("size") != NULL)
        SSL_CTX_sess_set_cache_size(ctx, size_for(number("size", 0)));
    if (setting("timeout") != NULL)
        SSL_CTX_set_timeout(ctx, number("timeout", 0));
    if (setting("context") != NULL
        && SSL_CTX_set_session_id_context(ctx, (const unsigned char *)setting("context"), (unsigned)strlen(setting("context"))) != 1)
        fail("context");
    if (setting("tickets") != NULL)
        SSL_CTX_set_num_tickets(ctx, (size_t)number("tickets", 2));
    if (one_ticket && SSL_CTX_get_num_tickets(ctx) > 1)
        SSL_CTX_set_num_tickets(ctx, 1);
    if (setting("early") != NULL)
        SSL_CTX_set_max_early_data(ctx, (uint32_t)number("early", 0));
    if (setting("verify") != NULL)
        SSL_CTX_set_verify(ctx, is("verify", "peer") ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, NULL);
    if (setting("generate") != NULL)
        SSL_CTX_set_generate_session_id(ctx, is("generate", "default") ? NULL : generate);
    if (yes("not-resumable"))
        SSL_CTX_set_not_resumable_session_callback(ctx, never_resumable);
    if (setting("copy") != NULL)
        s->copy = is("copy", "untouched") ? "u" : is("copy", "0") ? "0" : "1";
    set_crypto(ctx);
    set_text("new", s->new, sizeof s->new);
    set_text("remove", s->remove, sizeof s->remove);
    set_text("generate", s->generate, sizeof s->generate);
    if (setting("get") != NULL)
        snprintf(s->get, sizeof s->get, "%s", strstr(line, " get=") + 5); // with the session's name resolved
    s->get[strcspn(s->get, " ")] = '\0';
}

static struct server *server_named(const char *name)
{
    for (int i = 0; i < server_count; i++)
        if (strcmp(servers[i].name, name) == 0)
            return &servers[i];
    fail("there is no server %s", name);
}

static void make_server(void)
{
    struct server *s = &servers[server_count++];

    snprintf(s->name, sizeof s->name, "%s", word(1));
    s->ctx = SSL_CTX_new(TLS_server_method());
    SSL_CTX_set_app_data(s->ctx, s);
    make_certificate(s->ctx);
    SSL_CTX_set_info_callback(s->ctx, info);
    SSL_CTX_set_tlsext_servername_callback(s->ctx, acknowledge_name);
    SSL_CTX_set_alpn_select_cb(s->ctx, choose_protocol, NULL);
    SSL_CTX_set_session_id_context(s->ctx, (const unsigned char *)"ctxA", 4);
    SSL_CTX_set_options(s->ctx, SSL_OP_ALLOW_CLIENT_RENEGOTIATION);
    set_versions(s->ctx, "1.2");
    set_callbacks(s->ctx, "new,remove,get");
    apply(s);
}

// Connections.

static char reason[128]; // why the latest handshake failed

static void note_reason(void)
{
    const char *s = ERR_reason_error_string(ERR_peek_error());

    snprintf(reason, sizeof reason, "%s", s == NULL ? "none" : s);
    for (char *p = reason; *p != '\0'; p++)
        if (*p == ' ')
            *p = '_';
}

// read_early_data returns whether it can do no more for now.
static int read_early_data(struct connection *c, int *reading)
{
    char b[64];
    size_t n;

    switch (SSL_read_early_data(c->server, b, sizeof b, &n)) {
    case SSL_READ_EARLY_DATA_SUCCESS:
        event("early_data_read bytes=%zu", n);
        return 0;
    case SSL_READ_EARLY_DATA_FINISH:
        *reading = 0;
        return 0;
    default:
        return 1;
    }
}

// accept_some goes on with the handshake: it returns 1 when it is complete, 0 if it waits for the client, -1 if it has failed.
static int accept_some(struct connection *c, int *reading_early)
{
    int result;

    ERR_clear_error();
    while (*reading_early)
        if (read_early_data(c, reading_early)) {
            if (SSL_get_error(c->server, -1) != SSL_ERROR_WANT_READ)
                return -1;
            return 0;
        }
    result = SSL_accept(c->server);
    if (result == 1)
        return 1;
    return SSL_get_error(c->server, result) == SSL_ERROR_WANT_READ ? 0 : -1;
}

// handshake returns whether it succeeded.
static int handshake(struct connection *c)
{
    int reading_early = yes("early"), server = 0, client = 0;

    set_doing("accept");
    for (int i = 0; i < 10 && (server == 0 || client == 0); i++) {
        if (client == 0)
            client = client_handshake(c);
        if (server == 0)
            server = accept_some(c, &reading_early);
        if (server < 0)
            note_reason();
        if (server < 0 && client == 0)
            client_handshake(c); // it reads the alert
        if (strcmp(word(2), "abandon") == 0)
            return 0;
        if (server < 0)
            break;
    }
    return server == 1;
}

static void print_accepted(struct connection *c)
{
    const char *early = "";

    if (yes("early"))
        early = SSL_get_early_data_status(c->server) == SSL_EARLY_DATA_ACCEPTED ? " early_data=accepted" : " early_data=rejected";
    event("accept_returned version=%s server_reused=%s client_reused=%s%s", SSL_get_version(c->server),
          flag(SSL_session_reused(c->server)), flag(SSL_session_reused(c->client)), early);
}

// exchange has each side say something.
static void exchange(struct connection *c)
{
    char b[16];

    client_write(c);
    set_doing("server_read");
    SSL_read(c->server, b, sizeof b);
    set_doing("server_write");
    SSL_write(c->server, "s", 1);
    client_read(c);
}

static void connect_libssl(struct connection *c)
{
    struct server *s = server_named(word(1));
    const char *own = setting("own-context"), *late = setting("late-context");
    BIO *client;

    BIO_new_bio_pair(&client, 1 << 17, &c->server_bio, 1 << 17);
    c->server = SSL_new(s->ctx);
    SSL_set_accept_state(c->server);
    SSL_set_bio(c->server, c->server_bio, c->server_bio);
    client_start(c, client);
    if (late != NULL)
        SSL_CTX_set_session_id_context(s->ctx, (const unsigned char *)late, (unsigned)strlen(late));
    if (own != NULL)
        SSL_set_session_id_context(c->server, (const unsigned char *)own, (unsigned)strlen(own));
    handshake_done = 0;
    c->open = 1;
    if (handshake(c)) {
        print_accepted(c);
        exchange(c);
        set_doing(NULL);
        return;
    }
    if (strcmp(word(2), "abandon") != 0)
        event("accept_failed server_error=%s", reason);
    flush_client_events();
    event("close how=drop");
    set_doing("SSL_free");
    SSL_free(c->server);
    set_doing(NULL);
    c->server = NULL;
    c->open = 0;
}

static void close_part(struct connection *c, char part)
{
    char b[256];

    ERR_clear_error();
    switch (part) {
    case 'c':
        SSL_shutdown(c->client);
        break;
    case 'e':
        BIO_shutdown_wr(SSL_get_wbio(c->client));
        break;
    case 'g':
        BIO_write(SSL_get_wbio(c->client), garbage, GARBAGE_LENGTH);
        break;
    case 'G':
        BIO_write(c->server_bio, garbage, GARBAGE_LENGTH);
        client_read(c);
        break;
    case 'r':
        set_doing("server_read");
        SSL_read(c->server, b, sizeof b);
        break;
    case 's':
        set_doing("server_shutdown");
        SSL_shutdown(c->server);
        break;
    case 'q':
        SSL_set_quiet_shutdown(c->server, 1);
        SSL_shutdown(c->server);
        break;
    case 'm':
        SSL_set_shutdown(c->server, SSL_SENT_SHUTDOWN);
        break;
    case 'i':
        SSL_set_options(c->server, SSL_OP_IGNORE_UNEXPECTED_EOF);
        break;
    case 'k':
        set_doing("SSL_clear");
        SSL_clear(c->server);
        break;
    case 'f':
        client_read(c);
        set_doing("SSL_free");
        SSL_free(c->server);
        c->server = NULL;
        break;
    }
    set_doing(NULL);
}

static void close_libssl(struct connection *c, const char *parts)
{
    for (; *parts != '\0'; parts++)
        close_part(c, *parts);
    client_end(c);
}

// Other steps.

static long result; // of the last step that has one

static void look_tags(SSL_SESSION *session)
{
    unsigned char *der = NULL;
    const unsigned char *p, *end;
    char tags[128] = "";
    long l;
    int n = i2d_SSL_SESSION(session, &der), t, class;

    p = der;
    ASN1_get_object(&p, &l, &t, &class, n);
    for (end = p + l; p < end; p += l) {
        sprintf(tags + strlen(tags), "%s%02X", tags[0] == '\0' ? "" : "_", *p);
        ASN1_get_object(&p, &l, &t, &class, end - p);
    }
    event("der_tags of=server_session tags=%s", tags);
    OPENSSL_free(der);
}

static void look(void)
{
    SSL_CTX *ctx = server_named(word(1))->ctx;
    const char *what = word(2);
    SSL *ssl = connections[connection].server;
    SSL_SESSION *session = ssl == NULL ? NULL : SSL_get_session(ssl);
    unsigned int n;

    if (strcmp(what, "number") == 0)
        event("step number=%ld", SSL_CTX_sess_number(ctx));
    else if (strcmp(what, "result") == 0)
        event("step ret=%ld", result);
    else if (strcmp(what, "resumable") == 0)
        event("step resumable=%s", flag(SSL_SESSION_is_resumable(object(word(3)))));
    else if (session == NULL)
        fail("the connection has no session");
    else if (strcmp(what, "timeout") == 0)
        event("step timeout_of_new_session=%ld", SSL_SESSION_get_timeout(session));
    else if (strcmp(what, "renewed") == 0)
        event("step time_moved_forward=%s", flag(SSL_SESSION_get_time(session) == now()));
    else if (strcmp(what, "object") == 0)
        event("step server_uses=%s", session == added ? "new_object" : "old_object");
    else if (strcmp(what, "context") == 0)
        event("step session_sid_ctx=%.*s", (int)(SSL_SESSION_get0_id_context(session, &n) == NULL ? 0 : n),
              (const char *)SSL_SESSION_get0_id_context(session, &n));
    else if (strcmp(what, "tags") == 0)
        look_tags(session);
    else
        fail("look at what?");
}

static void flush(void)
{
    const char *t = word(2);

    set_doing("SSL_CTX_flush_sessions");
    SSL_CTX_flush_sessions(server_named(word(1))->ctx, t[0] == '+' || t[0] == '-' ? now() + atol(t) : atol(t));
}

static void remove_step(void)
{
    SSL_CTX *ctx = server_named(word(1))->ctx;
    SSL_SESSION *empty = SSL_SESSION_new();

    set_doing("SSL_CTX_remove_session");
    if (strcmp(word(2), "empty") == 0)
        result = SSL_CTX_remove_session(ctx, empty);
    else if (strcmp(word(2), "null") == 0)
        result = SSL_CTX_remove_session(ctx, NULL);
    else
        result = SSL_CTX_remove_session(ctx, object(word(2)));
    SSL_SESSION_free(empty);
}

static void add(void)
{
    SSL_CTX *ctx = server_named(word(1))->ctx;
    SSL_SESSION *session = object(word(2));

    set_doing("SSL_CTX_add_session");
    if (strcmp(word(3), "copy") == 0) {
        SSL_SESSION_free(added);
        session = added = SSL_SESSION_dup(session);
    }
    result = SSL_CTX_add_session(ctx, session);
}

static void print_stats(const struct server *s)
{
    SSL_CTX *ctx = s->ctx;

    event_line("stats %s number=%ld accept=%ld accept_good=%ld accept_renegotiate=%ld hits=%ld cb_hits=%ld misses=%ld timeouts=%ld "
               "cache_full=%ld",
               s->name, SSL_CTX_sess_number(ctx), SSL_CTX_sess_accept(ctx), SSL_CTX_sess_accept_good(ctx),
               SSL_CTX_sess_accept_renegotiate(ctx), SSL_CTX_sess_hits(ctx), SSL_CTX_sess_cb_hits(ctx), SSL_CTX_sess_misses(ctx),
               SSL_CTX_sess_timeouts(ctx), SSL_CTX_sess_cache_full(ctx));
}

static void free_context(void)
{
    struct server *s = server_named(word(1));

    print_stats(s);
    set_doing("SSL_CTX_free");
    SSL_CTX_free(s->ctx);
    s->ctx = NULL;
}

static void new_ticket(void)
{
    struct connection *c = &connections[atoi(word(1))];

    event("step ret=%d", SSL_new_session_ticket(c->server));
    set_doing("SSL_do_handshake");
    SSL_do_handshake(c->server);
    client_read(c);
}

static void renegotiate(void)
{
    struct connection *c = &connections[atoi(word(1))];
    char b[16];

    if (strcmp(word(2), "abbreviated") == 0)
        SSL_renegotiate_abbreviated(c->client);
    else
        SSL_renegotiate(c->client);
    set_doing("server_read");
    handshake_done = 0;
    for (int i = 0; i < 6; i++) {
        SSL_do_handshake(c->client);
        SSL_read(c->server, b, sizeof b);
    }
}

static void store_step(void)
{
    unsigned char id[64];
    size_t n = named(word(2), id);
    struct entry *e = find(id, (unsigned int)n);

    if (strcmp(word(1), "forget") == 0 && e != NULL)
        drop(e);
    else if (strcmp(word(1), "restore") == 0)
        put(object(word(2)));
    else
        fail("no such step with the store");
}

// sized sets the size of the cache and notes the answer.
static void size(void)
{
    SSL_CTX *ctx = server_named(word(1))->ctx;

    result = SSL_CTX_sess_set_cache_size(ctx, atol(word(2)));
    event("step set=%s returned=%ld get=%ld", word(2), result, SSL_CTX_sess_get_cache_size(ctx));
}

static void step_libssl(void)
{
    static const struct { const char *name; void (*play)(void); } steps[] = {
        { "server", make_server }, { "flush", flush }, { "remove", remove_step }, { "add", add },
        { "look", look }, { "free", free_context }, { "new-ticket", new_ticket }, { "renegotiate", renegotiate },
        { "store", store_step }, { "size", size },
    };
    const char *name = word(0);

    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++)
        if (strcmp(steps[i].name, name) == 0) {
            steps[i].play();
            set_doing(NULL);
            return;
        }
    if (strcmp(name, "set") == 0)
        apply(server_named(word(1)));
    else if (strcmp(name, "session-timeout") == 0)
        SSL_SESSION_set_timeout(object(word(1)), atol(word(2)));
    else if (strcmp(name, "clock") != 0)
        fail("unknown step");
}

static void end_libssl(void)
{
    for (int i = 0; i < server_count; i++)
        if (servers[i].ctx != NULL)
            print_stats(&servers[i]);
    event_line("store %d", stored);
    quiet = 1;
    for (int i = 0; i < MAX_CONNECTIONS; i++)
        SSL_free(connections[i].server);
    for (int i = 0; i < server_count; i++)
        SSL_CTX_free(servers[i].ctx);
    for (int i = 0; i < object_count; i++)
        SSL_SESSION_free(objects[i]);
    for (int i = 0; i < owned_count; i++)
        SSL_SESSION_free(owned[i]);
    SSL_SESSION_free(added);
    while (stored > 0)
        drop(&store[0]);
    quiet = 0;
    added = NULL;
    memset(servers, 0, sizeof servers);
    server_count = object_count = owned_count = 0;
}

const struct side libssl = { step_libssl, connect_libssl, close_libssl, end_libssl };

void make_certificate(SSL_CTX *ctx)
{
    static EVP_PKEY *key;
    static X509 *certificate;

    if (key == NULL) {
        key = EVP_EC_gen("P-256");
        certificate = X509_new();
        X509_set_version(certificate, X509_VERSION_3);
        ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
        X509_gmtime_adj(X509_getm_notBefore(certificate), -3600);
        X509_gmtime_adj(X509_getm_notAfter(certificate), 3600L * 24 * 365);
        X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_ASC, (const unsigned char *)"server", -1, -1, 0);
        X509_set_issuer_name(certificate, X509_get_subject_name(certificate));
        X509_set_pubkey(certificate, key);
        X509_sign(certificate, key, EVP_sha256());
    }
    if (SSL_CTX_use_certificate(ctx, certificate) != 1 || SSL_CTX_use_PrivateKey(ctx, key) != 1)
        fail("certificate");
}
