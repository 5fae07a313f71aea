// A client that resumes TLS 1.2 sessions by session ID or by ticket, which the client of crypto/tls can only do by ticket.
//
//   client PORT ROOT.pem ticket|session-id|none SESSIONS THREADS REQUEST
//
// It reads lines "CONNECTIONS RESUMED" and answers each with "ok", or with what went wrong, once so many connections were
// made, each of which must be resumed if RESUMED is 1 and must not be if it is 0. A connection is the request, a response of
// at least one byte, the server's close_notify, and the end of the stream. With none there is no TLS, only reads and writes of the
// lengths that those of a resumption have, which are given when it is compiled.

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static SSL_CTX *context;
static struct sockaddr_in address;
static const char *request;
static int sessions, threads;

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static SSL_SESSION **session;  // the one that each slot got last
static int next, connections, resumed;
static const char *failure;

// exchange makes one connection; it returns what went wrong, or NULL.
static const char *exchange(SSL *ssl) {
  char buffer[4096];
  int length = (int)strlen(request);
  if (SSL_connect(ssl) != 1) return "handshake";
  if (SSL_version(ssl) != TLS1_2_VERSION) return "not TLS 1.2";
  if (SSL_session_reused(ssl) != resumed) return resumed ? "not resumed" : "resumed";
  if (!resumed && SSL_get_negotiated_group(ssl) != NID_X25519) return "not X25519";
  if (SSL_CIPHER_get_protocol_id(SSL_get_current_cipher(ssl)) >> 8 != 0xc0) return "not ECDHE with AES-128-GCM";
  if (SSL_write(ssl, request, length) != length) return "write";
  if (SSL_read(ssl, buffer, sizeof buffer) <= 0) return "read";
  if (SSL_read(ssl, buffer, 1) > 0 || SSL_get_error(ssl, 0) != SSL_ERROR_ZERO_RETURN) return "no close_notify";
  if (read(SSL_get_fd(ssl), buffer, 1) != 0) return "end of the stream";
  return NULL;
}

static int read_all(int fd, int n) {
  char buffer[4096];
  while (n > 0) {
    ssize_t got = read(fd, buffer, n);
    if (got <= 0) return 0;
    n -= got;
  }
  return 1;
}

static int write_all(int fd, int n) {
  static const char zeros[4096];
  return write(fd, zeros, n) == n;
}

static const char *exchange_plain(int fd) {
  char byte;
  if (!write_all(fd, HELLO) || !read_all(fd, FLIGHT)) return "first flight";
  if (!write_all(fd, FINISHED) || !write_all(fd, RECORD)) return "second flight";
  if (!read_all(fd, 2 * RECORD) || read(fd, &byte, 1) != 0) return "end of the stream";
  return NULL;
}

static int dial(void) {
  int on = 1, fd = socket(AF_INET, SOCK_STREAM, 0);
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0) return fd;
  close(fd);
  return -1;
}

static const char *connect_plain(void) {
  int fd = dial();
  const char *wrong = fd < 0 ? "connect" : exchange_plain(fd);
  close(fd);
  return wrong;
}

static const char *connect_once(int slot) {
  int fd;
  SSL *ssl;
  const char *wrong;
  if (context == NULL) return connect_plain();
  fd = dial();
  ssl = SSL_new(context);
  SSL_set_fd(ssl, fd);
  SSL_set_tlsext_host_name(ssl, "bench.example");
  if (resumed) {
    pthread_mutex_lock(&mutex);
    SSL_set_session(ssl, session[slot]);
    pthread_mutex_unlock(&mutex);
  }
  wrong = fd < 0 ? "connect" : exchange(ssl);
  if (wrong == NULL) {
    SSL_SESSION *last = SSL_get1_session(ssl);
    pthread_mutex_lock(&mutex);
    SSL_SESSION_free(session[slot]);
    session[slot] = last;
    pthread_mutex_unlock(&mutex);
  }
  SSL_set_shutdown(ssl, SSL_SENT_SHUTDOWN);  // else the session would count as unclean
  SSL_free(ssl);
  close(fd);
  return wrong;
}

static void *work(void *unused) {
  for (;;) {
    const char *wrong;
    pthread_mutex_lock(&mutex);
    int i = failure == NULL && next < connections ? next++ : -1;
    pthread_mutex_unlock(&mutex);
    if (i < 0) return NULL;
    if ((wrong = connect_once(i % sessions)) != NULL) {
      ERR_print_errors_fp(stderr);
      failure = wrong;
    }
  }
}

static void connect_all(void) {
  pthread_t thread[64];
  next = 0;
  failure = NULL;
  for (int i = 0; i < threads; i++) pthread_create(&thread[i], NULL, work, NULL);
  for (int i = 0; i < threads; i++) pthread_join(thread[i], NULL);
  printf("%s\n", failure == NULL ? "ok" : failure);
  fflush(stdout);
}

static int use_tls(const char *root) {
  context = SSL_CTX_new(TLS_client_method());
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
  return SSL_CTX_load_verify_file(context, root) == 1 && SSL_CTX_set_max_proto_version(context, TLS1_2_VERSION) == 1 &&
         SSL_CTX_set_cipher_list(context, "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256") == 1 &&
         SSL_CTX_set1_groups_list(context, "X25519:P-256") == 1;
}

int main(int argc, char **argv) {
  if (argc != 7) return 2;
  signal(SIGPIPE, SIG_IGN);
  address.sin_family = AF_INET;
  address.sin_port = htons(atoi(argv[1]));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  sessions = atoi(argv[4]);
  threads = atoi(argv[5]) < 64 ? atoi(argv[5]) : 64;
  request = argv[6];
  session = calloc(sessions, sizeof *session);

  if (strcmp(argv[3], "none") != 0 && !use_tls(argv[2])) {
    ERR_print_errors_fp(stderr);
    return 1;
  }
  if (strcmp(argv[3], "session-id") == 0) SSL_CTX_set_options(context, SSL_OP_NO_TICKET);
  while (scanf("%d %d", &connections, &resumed) == 2) connect_all();
  return 0;
}
