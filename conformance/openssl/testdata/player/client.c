// The client of every connection.

#include "player.h"

#include <openssl/err.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct connection connections[MAX_CONNECTIONS];
int always_tickets;

// Its header says 32 bytes of application data.
const unsigned char garbage[GARBAGE_LENGTH] = { 23, 3, 3, 0, 32, 1 };

static SSL_CTX *context, *cached; // cached has a session cache and its callbacks

static struct connection *connection_of(const SSL *ssl)
{
    return SSL_get_app_data(ssl);
}

// got_session is called for what the server gives.
static int got_session(SSL *ssl, SSL_SESSION *session)
{
    struct connection *c = connection_of(ssl);
    const unsigned char *ticket, *id;
    unsigned int id_length;
    size_t n;

    if (c->count == MAX_SESSIONS)
        return 0;
    c->sessions[c->count++] = session;
    SSL_SESSION_get0_ticket(session, &ticket, &n);
    id = SSL_SESSION_get_id(session, &id_length);
    if (SSL_SESSION_has_ticket(session))
        client_event("client_got_ticket ticket=%s lifetime_hint=%lu max_early_data=%u", n > 32 ? "opaque" : hex(ticket, n),
                     SSL_SESSION_get_ticket_lifetime_hint(session), SSL_SESSION_get_max_early_data(session));
    else
        client_event("client_got_session_id sid=%s len=%u", hex(id, id_length), id_length);
    return 1;
}

static const char *alert_name(int code)
{
    static char name[64];
    char *space;

    snprintf(name, sizeof name, "%s", SSL_alert_desc_string_long(code));
    while ((space = strchr(name, ' ')) != NULL)
        *space = '_';
    return name;
}

static void client_info(const SSL *ssl, int where, int code)
{
    (void)ssl;
    if ((where & SSL_CB_ALERT) != 0)
        client_event("client_alert_%s level=%s desc=%s", (where & SSL_CB_READ) != 0 ? "received" : "sent",
                     SSL_alert_type_string_long(code), alert_name(code));
}

// name_of_session is the ID that the server knows the session by, if the client knows it.
static const char *name_of_session(SSL_SESSION *session)
{
    const unsigned char *id;
    unsigned int n;

    id = SSL_SESSION_get_id(session, &n);
    return hex(id, n);
}

static SSL_SESSION *latest; // of the cached context

static int cached_new(SSL *ssl, SSL_SESSION *session)
{
    client_event("client_new sid=%s client_hs_done=%s number=%ld", name_of_session(session), flag(SSL_is_init_finished(ssl)),
                 SSL_CTX_sess_number(cached));
    SSL_SESSION_free(latest);
    latest = session;
    return 1;
}

static void cached_remove(SSL_CTX *ctx, SSL_SESSION *session)
{
    client_event("client_remove sid=%s number=%ld", name_of_session(session), SSL_CTX_sess_number(ctx));
}

static void cached_info(const SSL *ssl, int where, int code)
{
    (void)code;
    if ((where & SSL_CB_HANDSHAKE_DONE) != 0)
        client_event("client_handshake_done reused=%s", flag(SSL_session_reused(ssl)));
}

static void make_contexts(void)
{
    context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(context, got_session);
    SSL_CTX_set_info_callback(context, client_info);
}

static void make_cached(void)
{
    cached = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_session_cache_mode(cached, SSL_SESS_CACHE_CLIENT);
    SSL_CTX_sess_set_new_cb(cached, cached_new);
    SSL_CTX_sess_set_remove_cb(cached, cached_remove);
    SSL_CTX_set_info_callback(cached, cached_info);
}

// Sessions to offer.

// given returns the session that "N", "N.K" or "N.last" means: the Kth, else the first, that connection N was given.
static SSL_SESSION *given(const char *what)
{
    struct connection *c = &connections[atoi(what)];
    const char *dot = strchr(what, '.');
    int k = dot == NULL ? 1 : strcmp(dot, ".last") == 0 ? c->count : atoi(dot + 1);

    return k < 1 || k > c->count ? NULL : c->sessions[k - 1];
}

// bytes returns what "random:N", "prefix:N" (of the session's own) or the name of a session means.
static size_t bytes(const char *what, const unsigned char *own, unsigned char *b)
{
    size_t n = strchr(what, ':') == NULL ? 0 : (size_t)atoi(strchr(what, ':') + 1);

    if (n > 64)
        fail("at most 64 bytes");
    if (strncmp(what, "random:", 7) == 0)
        RAND_bytes(b, (int)n);
    else if (strncmp(what, "prefix:", 7) == 0)
        memcpy(b, own, n);
    else
        n = named(what, b);
    return n;
}

static size_t header(unsigned char *out, unsigned char tag, size_t n)
{
    size_t k = 0;

    out[k++] = tag;
    if (n > 255)
        out[k++] = 0x82, out[k++] = (unsigned char)(n >> 8);
    else if (n > 127)
        out[k++] = 0x81;
    out[k++] = (unsigned char)n;
    return k;
}

// with_ticket returns a copy of the session with another ticket, which is element [10] of its encoding.
static SSL_SESSION *with_ticket(SSL_SESSION *session, const unsigned char *ticket, size_t ticket_length)
{
    enum { tag = 0xaa };
    unsigned char *der = NULL, *body = malloc(65536), *out = malloc(65536);
    const unsigned char *p, *end, *start;
    size_t length = 0, n;
    long l;
    int t, class;
    SSL_SESSION *changed;

    n = (size_t)i2d_SSL_SESSION(session, &der);
    p = der;
    ASN1_get_object(&p, &l, &t, &class, (long)n);
    for (end = p + l; p < end;) {
        start = p;
        ASN1_get_object(&p, &l, &t, &class, end - p);
        p += l;
        if (*start != tag) {
            memcpy(body + length, start, (size_t)(p - start));
            length += (size_t)(p - start);
            continue;
        }
        length += header(body + length, tag, ticket_length + 2);
        length += header(body + length, V_ASN1_OCTET_STRING, ticket_length);
        memcpy(body + length, ticket, ticket_length);
        length += ticket_length;
    }
    n = header(out, V_ASN1_SEQUENCE | V_ASN1_CONSTRUCTED, length);
    memcpy(out + n, body, length);
    p = out;
    changed = d2i_SSL_SESSION(NULL, &p, (long)(n + length));
    if (changed == NULL)
        fail("the session with another ticket can't be decoded");
    OPENSSL_free(der);
    free(body);
    free(out);
    return changed;
}

// offer makes the client offer a copy of a session, which is as young as any: a libssl client uses a session once only, and
// keeps old ones to itself.
static void offer(SSL *ssl, const char *what)
{
    unsigned char b[64];
    unsigned int length;
    size_t n;
    SSL_SESSION *from = given(what), *session;
    const char *identity = setting(always_tickets && !yes("ticket") && setting("id") != NULL ? "id" : "identity");

    if (from == NULL) // it was given none, so it has none to offer
        return;
    session = SSL_SESSION_dup(from);
    if (identity != NULL) {
        const unsigned char *ticket;

        SSL_SESSION_get0_ticket(session, &ticket, &n);
        n = bytes(identity, ticket, b);
        from = with_ticket(session, b, n);
        SSL_SESSION_free(session);
        session = from;
    } else if (setting("id") != NULL) {
        n = bytes(setting("id"), SSL_SESSION_get_id(session, &length), b);
        SSL_SESSION_set1_id(session, b, (unsigned int)n);
    }
    SSL_SESSION_set_time(session, now());
    if (SSL_set_session(ssl, session) != 1)
        fail("the session can't be offered");
    SSL_SESSION_free(session);
}

static int version_of(const char *s)
{
    return strcmp(s, "1.3") == 0 ? TLS1_3_VERSION : TLS1_2_VERSION;
}

static void set_versions(SSL *ssl)
{
    const char *v = client_version(), *dash = strchr(v, '-');

    SSL_set_min_proto_version(ssl, dash == NULL ? version_of(v) : TLS1_2_VERSION);
    SSL_set_max_proto_version(ssl, dash == NULL ? version_of(v) : TLS1_3_VERSION);
}

static void set_protocol(SSL *ssl, const char *name)
{
    unsigned char list[64];

    list[0] = (unsigned char)strlen(name);
    memcpy(list + 1, name, list[0]);
    SSL_set_alpn_protos(ssl, list, list[0] + 1u);
}

void client_start(struct connection *c, BIO *bio)
{
    SSL *ssl;

    if (context == NULL)
        make_contexts();
    if (yes("client-cache") && cached == NULL)
        make_cached();
    ssl = c->client = SSL_new(yes("client-cache") ? cached : context);
    SSL_set_app_data(ssl, c);
    SSL_set_connect_state(ssl);
    SSL_set_bio(ssl, bio, bio);
    set_versions(ssl);
    if (!yes("ticket") && !always_tickets)
        SSL_set_options(ssl, SSL_OP_NO_TICKET);
    if (is("ems", "no"))
        SSL_set_options(ssl, SSL_OP_NO_EXTENDED_MASTER_SECRET);
    if (setting("name") != NULL)
        SSL_set_tlsext_host_name(ssl, setting("name"));
    if (setting("alpn") != NULL)
        set_protocol(ssl, setting("alpn"));
    if (setting("groups") != NULL && SSL_set1_groups_list(ssl, setting("groups")) != 1)
        fail("groups");
    if (setting("suites") != NULL && SSL_set_cipher_list(ssl, setting("suites")) != 1)
        fail("suites");
    if (setting("suites13") != NULL && SSL_set_ciphersuites(ssl, setting("suites13")) != 1)
        fail("suites13");
    if (yes("verify"))
        SSL_set_verify(ssl, SSL_VERIFY_PEER, NULL);
    if (setting("offer") != NULL && yes("client-cache"))
        SSL_set_session(ssl, latest);
    else if (setting("offer") != NULL)
        offer(ssl, setting("offer"));
}

int client_handshake(struct connection *c)
{
    size_t n;
    int result;

    ERR_clear_error();
    if (yes("early") && c->client_done == 0 && SSL_get_session(c->client) != NULL
        && SSL_SESSION_get_max_early_data(SSL_get_session(c->client)) > 0) {
        if (SSL_write_early_data(c->client, "early", 5, &n) != 1)
            fail("early data");
        c->client_done = 1;
    }
    result = SSL_do_handshake(c->client);
    if (result != 1)
        return SSL_get_error(c->client, result) == SSL_ERROR_WANT_READ ? 0 : -1;
    return 1;
}

void client_read(struct connection *c)
{
    char b[256];

    ERR_clear_error();
    SSL_read(c->client, b, sizeof b);
}

void client_write(struct connection *c)
{
    ERR_clear_error();
    SSL_write(c->client, "c", 1);
}

void client_end(struct connection *c)
{
    SSL_set_quiet_shutdown(c->client, 1);
    SSL_free(c->client);
    c->client = NULL;
}

void client_free_all(void)
{
    if (cached != NULL) {
        printf("stats client number=%ld connect=%ld connect_good=%ld hits=%ld misses=%ld\n", SSL_CTX_sess_number(cached),
               SSL_CTX_sess_connect(cached), SSL_CTX_sess_connect_good(cached), SSL_CTX_sess_hits(cached), SSL_CTX_sess_misses(cached));
        quiet = 1;
        SSL_SESSION_free(latest);
        latest = NULL;
    }
    for (int i = 0; i < MAX_CONNECTIONS; i++) {
        struct connection *c = &connections[i];

        for (int k = 0; k < c->count; k++)
            SSL_SESSION_free(c->sessions[k]);
        if (c->client != NULL)
            client_end(c);
        memset(c, 0, sizeof *c);
    }
    SSL_CTX_free(cached);
    cached = NULL;
    quiet = 0;
}
