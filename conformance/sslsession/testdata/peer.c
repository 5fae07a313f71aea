// peer is libssl's side of the tests: it reads and writes sessions, and makes one TLS connection as server or client.
//
//   peer convert                 for each session on standard input: d2i_SSL_SESSION, i2d_SSL_SESSION
//   peer server NAME=VALUE...    accepts on file descriptor 3; may resume the sessions on standard input
//   peer client NAME=VALUE...    connects on file descriptor 3; offers the session on standard input, if there is one
//
// On standard input each session has its length before it, 4 bytes with the highest first. convert answers each with
// the number of bytes that were read (0 if it was refused), the length of what was written, and that. The others
// print what happened, a line each.
//
// Names: version (1.2, 1.3), suite (the only one of TLS 1.3), ems (0: without extended master secret), early (1: with
// early data), cert, key, ca (files; with ca, a server asks for a client certificate), context (session ID context),
// name (server name), alpn.

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int arguments;
static char **argument;

// setting returns the value of an argument, NULL if it was not given.
static const char *setting(const char *name)
{
    size_t length = strlen(name);

    for (int i = 2; i < arguments; i++)
        if (strncmp(argument[i], name, length) == 0 && argument[i][length] == '=')
            return argument[i] + length + 1;
    return NULL;
}

static void fail(const char *what)
{
    printf("error %s: %s\n", what, ERR_reason_error_string(ERR_peek_error()));
    exit(1);
}

static int read_number(unsigned long *n)
{
    unsigned char b[4];

    if (fread(b, 1, sizeof b, stdin) != sizeof b)
        return 0;
    *n = (unsigned long)b[0] << 24 | b[1] << 16 | b[2] << 8 | b[3];
    return 1;
}

static void write_number(unsigned long n)
{
    unsigned char b[4] = { n >> 24, n >> 16, n >> 8, n };

    fwrite(b, 1, sizeof b, stdout);
}

// read_frame returns the next piece of standard input, NULL at its end.
static unsigned char *read_frame(unsigned long *length)
{
    unsigned char *frame;

    if (!read_number(length))
        return NULL;
    frame = malloc(*length + 1);
    if (frame == NULL || fread(frame, 1, *length, stdin) != *length)
        fail("standard input ends within a session");
    return frame;
}

static void convert(void)
{
    unsigned char *frame;
    unsigned long length;

    while ((frame = read_frame(&length)) != NULL) {
        const unsigned char *end = frame;
        unsigned char *out = NULL;
        SSL_SESSION *session = d2i_SSL_SESSION(NULL, &end, (long)length);
        int written = session == NULL ? 0 : i2d_SSL_SESSION(session, &out);

        write_number(session == NULL ? 0 : (unsigned long)(end - frame));
        write_number((unsigned long)written);
        fwrite(out, 1, (size_t)written, stdout);
        ERR_clear_error();
        OPENSSL_free(out);
        SSL_SESSION_free(session);
        free(frame);
    }
}

static void print_hex(const char *what, const unsigned char *b, size_t n)
{
    printf("%s ", what);
    while (n-- > 0)
        printf("%02x", *b++);
    putchar('\n');
}

static int print_new(SSL *ssl, SSL_SESSION *session)
{
    unsigned char *der = NULL;
    int n = i2d_SSL_SESSION(session, &der);

    (void)ssl;
    print_hex("new", der, (size_t)n);
    OPENSSL_free(der);
    return 0;
}

// The sessions that get_session finds.
static SSL_SESSION *store[64];
static int stored;

static void read_store(void)
{
    unsigned char *frame;
    unsigned long length;

    while ((frame = read_frame(&length)) != NULL) {
        const unsigned char *end = frame;

        store[stored] = d2i_SSL_SESSION(NULL, &end, (long)length);
        if (store[stored++] == NULL)
            fail("d2i_SSL_SESSION");
        free(frame);
    }
}

static SSL_SESSION *get_session(SSL *ssl, const unsigned char *id, int length, int *copy)
{
    (void)ssl;
    *copy = 1;
    for (int i = 0; i < stored; i++) {
        unsigned int n;
        const unsigned char *b = SSL_SESSION_get_id(store[i], &n);

        if ((int)n == length && memcmp(b, id, n) == 0) {
            puts("get found");
            return store[i];
        }
    }
    puts("get absent");
    return NULL;
}

static int acknowledge_name(SSL *ssl, int *alert, void *arg)
{
    (void)ssl, (void)alert, (void)arg;
    return SSL_TLSEXT_ERR_OK;
}

static int choose_protocol(SSL *ssl, const unsigned char **out, unsigned char *length, const unsigned char *in,
                           unsigned int in_length, void *arg)
{
    (void)ssl, (void)in_length, (void)arg;
    *out = in + 1;
    *length = in[0];
    return SSL_TLSEXT_ERR_OK;
}

static SSL_CTX *new_context(const SSL_METHOD *method)
{
    SSL_CTX *ctx = SSL_CTX_new(method);
    int version = TLS1_3_VERSION;

    if (setting("version") != NULL && strcmp(setting("version"), "1.2") == 0)
        version = TLS1_2_VERSION;
    SSL_CTX_set_min_proto_version(ctx, version);
    SSL_CTX_set_max_proto_version(ctx, version);
    SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
    if (setting("suite") != NULL && SSL_CTX_set_ciphersuites(ctx, setting("suite")) != 1)
        fail("suite");
    if (setting("ems") != NULL)
        SSL_CTX_set_options(ctx, SSL_OP_NO_EXTENDED_MASTER_SECRET);
    if (setting("cert") != NULL
        && (SSL_CTX_use_certificate_chain_file(ctx, setting("cert")) != 1
            || SSL_CTX_use_PrivateKey_file(ctx, setting("key"), SSL_FILETYPE_PEM) != 1))
        fail("certificate");
    SSL_CTX_sess_set_new_cb(ctx, print_new);
    return ctx;
}

// print_connection tells how the handshake ended.
static void print_connection(SSL *ssl)
{
    X509 *peer = SSL_get1_peer_certificate(ssl);
    unsigned char *der = NULL;
    int n = peer == NULL ? 0 : i2d_X509(peer, &der);
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);

    printf("version %s\n", SSL_get_version(ssl));
    printf("resumed %d\n", SSL_session_reused(ssl));
    printf("verify %ld\n", SSL_get_verify_result(ssl));
    printf("early %d\n", SSL_get_early_data_status(ssl) == SSL_EARLY_DATA_ACCEPTED);
    printf("name %s\n", name == NULL ? "" : name);
    print_hex("peer", der, (size_t)n);
    OPENSSL_free(der);
    X509_free(peer);
}

static void read_early_data(SSL *ssl)
{
    char b[64];
    size_t n;
    int status;

    while ((status = SSL_read_early_data(ssl, b, sizeof b, &n)) == SSL_READ_EARLY_DATA_SUCCESS)
        ;
    if (status == SSL_READ_EARLY_DATA_ERROR)
        fail("SSL_read_early_data");
}

static void server(void)
{
    SSL_CTX *ctx = new_context(TLS_server_method());
    const char *context = setting("context");
    char byte;
    SSL *ssl;

    read_store();
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_SERVER);
    SSL_CTX_sess_set_get_cb(ctx, get_session);
    SSL_CTX_set_tlsext_servername_callback(ctx, acknowledge_name);
    SSL_CTX_set_alpn_select_cb(ctx, choose_protocol, NULL);
    if (context != NULL)
        SSL_CTX_set_session_id_context(ctx, (const unsigned char *)context, (unsigned int)strlen(context));
    if (setting("ca") != NULL) {
        if (SSL_CTX_load_verify_locations(ctx, setting("ca"), NULL) != 1)
            fail("ca");
        SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    }
    if (setting("early") != NULL)
        SSL_CTX_set_max_early_data(ctx, 16384);
    ssl = SSL_new(ctx);
    SSL_set_fd(ssl, 3);
    if (setting("early") != NULL)
        read_early_data(ssl);
    if (SSL_accept(ssl) != 1)
        fail("SSL_accept");
    print_connection(ssl);
    SSL_write(ssl, "hello", 5);
    SSL_shutdown(ssl);
    while (SSL_read(ssl, &byte, 1) > 0)
        ;
}

static void client(void)
{
    SSL_CTX *ctx = new_context(TLS_client_method());
    const char *alpn = setting("alpn");
    unsigned char protocols[256];
    unsigned long length;
    unsigned char *frame = read_frame(&length);
    size_t written;
    char byte;
    SSL *ssl;

    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    ssl = SSL_new(ctx);
    if (setting("name") != NULL)
        SSL_set_tlsext_host_name(ssl, setting("name"));
    if (alpn != NULL) {
        protocols[0] = (unsigned char)strlen(alpn);
        memcpy(protocols + 1, alpn, protocols[0]);
        SSL_set_alpn_protos(ssl, protocols, protocols[0] + 1u);
    }
    if (frame != NULL) {
        const unsigned char *end = frame;
        SSL_SESSION *session = d2i_SSL_SESSION(NULL, &end, (long)length);

        if (session == NULL || SSL_set_session(ssl, session) != 1)
            fail("session");
    }
    SSL_set_fd(ssl, 3);
    if (setting("early") != NULL && SSL_write_early_data(ssl, "early", 5, &written) != 1)
        fail("SSL_write_early_data");
    if (SSL_connect(ssl) != 1)
        fail("SSL_connect");
    print_connection(ssl);
    while (SSL_read(ssl, &byte, 1) > 0)
        ;
    SSL_shutdown(ssl);
}

int main(int argc, char **argv)
{
    arguments = argc;
    argument = argv;
    if (argc >= 2 && strcmp(argv[1], "convert") == 0)
        convert();
    else if (argc >= 2 && strcmp(argv[1], "server") == 0)
        server();
    else if (argc >= 2 && strcmp(argv[1], "client") == 0)
        client();
    else
        return 2;
    return 0;
}
