/* Makes TLS 1.2 connections with mbed TLS. The arguments are the file of the root, "tickets" or "ids", and the files of a
 * client certificate and its key, if there is one. For each line "PORT NAME" on standard input it makes one connection,
 * which offers the session of the one before, and prints the server's answer, one line. The library does not say whether
 * it has resumed. */
#include <mbedtls/ctr_drbg.h>
#include <mbedtls/entropy.h>
#include <mbedtls/net_sockets.h>
#include <mbedtls/ssl.h>
#include <mbedtls/version.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void check(int result, const char *what) {
    if (result < 0) {
        fprintf(stderr, "mbedtls: %s: -%#x\n", what, -result);
        exit(1);
    }
}

static mbedtls_ssl_config config;
static mbedtls_ssl_session session;
static int has_session;

static void connect_once(const char *port, const char *name) {
    static const unsigned char request[] = "GET / HTTP/1.0\r\n\r\n";
    char response[8192];
    size_t length = 0;
    int n;
    mbedtls_net_context socket;
    mbedtls_ssl_context ssl;

    mbedtls_net_init(&socket);
    check(mbedtls_net_connect(&socket, "127.0.0.1", port, MBEDTLS_NET_PROTO_TCP), "connect");
    mbedtls_ssl_init(&ssl);
    check(mbedtls_ssl_setup(&ssl, &config), "setup");
    check(mbedtls_ssl_set_hostname(&ssl, name), "hostname");
    mbedtls_ssl_set_bio(&ssl, &socket, mbedtls_net_send, mbedtls_net_recv, NULL);
    if (has_session) {
        check(mbedtls_ssl_set_session(&ssl, &session), "set_session");
        mbedtls_ssl_session_free(&session);
    }
    check(mbedtls_ssl_handshake(&ssl), "handshake");
    check(mbedtls_ssl_write(&ssl, request, sizeof request - 1), "write");
    while ((n = mbedtls_ssl_read(&ssl, (unsigned char *)response + length, sizeof response - 1 - length)) > 0)
        length += n;
    if (n != MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY)
        check(n, "read");
    response[length] = 0;

    mbedtls_ssl_session_init(&session);
    check(mbedtls_ssl_get_session(&ssl, &session), "get_session");
    has_session = 1;
    mbedtls_ssl_close_notify(&ssl);
    mbedtls_ssl_free(&ssl);
    mbedtls_net_free(&socket);

    char *body = strstr(response, "\r\n\r\n");
    printf("%s\n", body ? strtok(body, "\r\n") : "no answer");
    fflush(stdout);
}

int main(int argc, char **argv) {
    char port[16], name[256];
    mbedtls_entropy_context entropy;
    mbedtls_ctr_drbg_context random;
    mbedtls_x509_crt ca, own;
    mbedtls_pk_context key;

    mbedtls_entropy_init(&entropy);
    mbedtls_ctr_drbg_init(&random);
    mbedtls_x509_crt_init(&ca);
    mbedtls_x509_crt_init(&own);
    mbedtls_pk_init(&key);
    mbedtls_ssl_config_init(&config);
    check(mbedtls_ctr_drbg_seed(&random, mbedtls_entropy_func, &entropy, NULL, 0), "seed");
    check(mbedtls_x509_crt_parse_file(&ca, argv[1]), "root");
    check(mbedtls_ssl_config_defaults(&config, MBEDTLS_SSL_IS_CLIENT, MBEDTLS_SSL_TRANSPORT_STREAM,
                                      MBEDTLS_SSL_PRESET_DEFAULT), "defaults");
#if MBEDTLS_VERSION_MAJOR >= 3
    mbedtls_ssl_conf_max_tls_version(&config, MBEDTLS_SSL_VERSION_TLS1_2);
#endif
    mbedtls_ssl_conf_ca_chain(&config, &ca, NULL);
    mbedtls_ssl_conf_rng(&config, mbedtls_ctr_drbg_random, &random);
    mbedtls_ssl_conf_session_tickets(&config, strcmp(argv[2], "tickets") == 0);
    if (argc > 4) {
        check(mbedtls_x509_crt_parse_file(&own, argv[3]), "certificate");
#if MBEDTLS_VERSION_MAJOR >= 3
        check(mbedtls_pk_parse_keyfile(&key, argv[4], NULL, mbedtls_ctr_drbg_random, &random), "key");
#else
        check(mbedtls_pk_parse_keyfile(&key, argv[4], NULL), "key");
#endif
        check(mbedtls_ssl_conf_own_cert(&config, &own, &key), "own_cert");
    }
    while (scanf("%15s %255s", port, name) == 2)
        connect_once(port, name);
    return 0;
}
