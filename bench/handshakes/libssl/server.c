// A minimal TLS server that resumes from libssl's session cache, by session ID.
//
//   server THREADS [CERTIFICATE.pem KEY.pem]
//
// It prints the port of 127.0.0.1 that it listens at, and serves until its standard input ends: it echoes a byte, sends
// close_notify and closes the connection. Without a certificate there is no TLS, only reads and writes of the lengths that those of
// a resumption have, which are given when it is compiled.

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static SSL_CTX *context;
static int listener;

static void serve(int fd) {
  char byte;
  SSL *ssl = SSL_new(context);
  SSL_set_fd(ssl, fd);
  if (SSL_accept(ssl) == 1 && SSL_read(ssl, &byte, 1) == 1 && SSL_write(ssl, &byte, 1) == 1) SSL_shutdown(ssl);
  SSL_free(ssl);
  close(fd);
}

// read_all reads n bytes.
static int read_all(int fd, int n) {
  char buffer[4096];
  while (n > 0) {
    ssize_t got = read(fd, buffer, sizeof buffer);
    if (got <= 0) return 0;
    n -= got;
  }
  return 1;
}

static int write_all(int fd, int n) {
  static const char zeros[4096];
  return write(fd, zeros, n) == n;
}

// serve_plain does what a resumption does to the network.
static void serve_plain(int fd) {
  if (read_all(fd, HELLO) && write_all(fd, FLIGHT) && read_all(fd, FINISHED + RECORD) && write_all(fd, RECORD))
    write_all(fd, RECORD);
  close(fd);
}

static void *work(void *unused) {
  for (;;) {
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0) continue;
    if (context != NULL)
      serve(fd);
    else
      serve_plain(fd);
  }
  return NULL;
}

static int use_tls(const char *certificate, const char *key) {
  context = SSL_CTX_new(TLS_server_method());
  SSL_CTX_set_options(context, SSL_OP_NO_TICKET);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_SERVER);
  SSL_CTX_set_session_id_context(context, (const unsigned char *)"bench", 5);
  SSL_CTX_set_read_ahead(context, 1);
  return SSL_CTX_use_certificate_chain_file(context, certificate) == 1 &&
         SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) == 1;
}

int main(int argc, char **argv) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t length = sizeof address;
  int on = 1;
  if (argc != 2 && argc != 4) return 2;
  signal(SIGPIPE, SIG_IGN);
  if (argc == 4 && !use_tls(argv[2], argv[3])) {
    ERR_print_errors_fp(stderr);
    return 1;
  }
  listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  setsockopt(listener, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);  // connections inherit it
  if (bind(listener, (struct sockaddr *)&address, length) != 0 || listen(listener, 511) != 0 ||
      getsockname(listener, (struct sockaddr *)&address, &length) != 0) {
    perror("listen");
    return 1;
  }
  printf("%d\n", ntohs(address.sin_port));
  fflush(stdout);
  for (int i = atoi(argv[1]); i > 0; i--) {
    pthread_t thread;
    pthread_create(&thread, NULL, work, NULL);
  }
  while (getchar() != EOF) continue;
  return 0;
}
