/* Makes TLS 1.2 connections with wolfSSL. The arguments are the file of the root, "tickets" or "ids", and the files of a
 * client certificate and its key, if there is one. For each line "PORT NAME" on standard input it makes one connection,
 * which offers the session of the one before, and prints "resumed " or "full " and the server's answer, one line. */
#include <wolfssl/options.h>
#include <wolfssl/ssl.h>
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void check(int ok, const char *what) {
    if (!ok) {
        fprintf(stderr, "wolfssl: %s\n", what);
        exit(1);
    }
}

static void check_ssl(WOLFSSL *ssl, int result, const char *what) {
    char text[WOLFSSL_MAX_ERROR_SZ];
    if (result > 0)
        return;
    wolfSSL_ERR_error_string(wolfSSL_get_error(ssl, result), text);
    fprintf(stderr, "wolfssl: %s: %s\n", what, text);
    exit(1);
}

static int dial(const char *port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(port))};
    int s = socket(AF_INET, SOCK_STREAM, 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    check(s >= 0 && connect(s, (struct sockaddr *)&address, sizeof address) == 0, "connect");
    return s;
}

static WOLFSSL_CTX *context;
static WOLFSSL_SESSION *session;
static int with_tickets;

static void connect_once(const char *port, const char *name) {
    static const char request[] = "GET / HTTP/1.0\r\n\r\n";
    char response[8192];
    size_t length = 0;
    int n, s = dial(port);
    WOLFSSL *ssl = wolfSSL_new(context);

    check(ssl != NULL, "new");
    check(wolfSSL_set_fd(ssl, s) == WOLFSSL_SUCCESS, "set_fd");
    check(wolfSSL_UseSNI(ssl, WOLFSSL_SNI_HOST_NAME, name, strlen(name)) == WOLFSSL_SUCCESS, "server name");
    check(wolfSSL_check_domain_name(ssl, name) == WOLFSSL_SUCCESS, "domain name");
    if (with_tickets)
        check(wolfSSL_UseSessionTicket(ssl) == WOLFSSL_SUCCESS, "tickets");
    if (session != NULL)
        wolfSSL_set_session(ssl, session); /* fails if it has expired: a full handshake */
    check_ssl(ssl, wolfSSL_connect(ssl), "handshake");
    check_ssl(ssl, wolfSSL_write(ssl, request, sizeof request - 1), "write");
    while ((n = wolfSSL_read(ssl, response + length, sizeof response - 1 - length)) > 0)
        length += n;
    response[length] = 0;

    int resumed = wolfSSL_session_reused(ssl);
    wolfSSL_SESSION_free(session);
    session = wolfSSL_get1_session(ssl);
    wolfSSL_shutdown(ssl);
    wolfSSL_free(ssl);
    close(s);

    char *body = strstr(response, "\r\n\r\n");
    printf("%s %s\n", resumed ? "resumed" : "full", body ? strtok(body, "\r\n") : "no answer");
    fflush(stdout);
}

int main(int argc, char **argv) {
    char port[16], name[256];

    wolfSSL_Init();
    context = wolfSSL_CTX_new(wolfTLSv1_2_client_method());
    check(context != NULL, "context");
    check(wolfSSL_CTX_load_verify_locations(context, argv[1], NULL) == WOLFSSL_SUCCESS, "root");
    with_tickets = strcmp(argv[2], "tickets") == 0;
    if (argc > 4) {
        check(wolfSSL_CTX_use_certificate_chain_file(context, argv[3]) == WOLFSSL_SUCCESS, "certificate");
        check(wolfSSL_CTX_use_PrivateKey_file(context, argv[4], WOLFSSL_FILETYPE_PEM) == WOLFSSL_SUCCESS, "key");
    }
    while (scanf("%15s %255s", port, name) == 2)
        connect_once(port, name);
    return 0;
}
