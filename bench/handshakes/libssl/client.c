// A client that resumes TLS 1.2 sessions by session ID or by ticket, which the client of crypto/tls can only do by ticket.
//
//   client PORT ROOT.pem ticket|session-id SESSIONS THREADS REQUEST
//
// It reads lines "CONNECTIONS RESUMED" and answers each with "ok", or with what went wrong, once so many connections were
// made, each of which must be resumed if RESUMED is 1 and must not be if it is 0. A connection is the request, a response of
// at least one byte, the server's close_notify, and the end of the stream.

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

static const char *connect_once(int slot) {
  int on = 1, fd = socket(AF_INET, SOCK_STREAM, 0);
  SSL *ssl = SSL_new(context);
  const char *wrong;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  SSL_set_fd(ssl, fd);
  SSL_set_tlsext_host_name(ssl, "bench.example");
  if (resumed) {
    pthread_mutex_lock(&mutex);
    SSL_set_session(ssl, session[slot]);
    pthread_mutex_unlock(&mutex);
  }
  wrong = connect(fd, (struct sockaddr *)&address, sizeof address) == 0 ? exchange(ssl) : "connect";
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

  context = SSL_CTX_new(TLS_client_method());
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
  if (SSL_CTX_load_verify_file(context, argv[2]) != 1 ||
      SSL_CTX_set_max_proto_version(context, TLS1_2_VERSION) != 1 ||
      SSL_CTX_set_cipher_list(context, "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256") != 1 ||
      SSL_CTX_set1_groups_list(context, "X25519:P-256") != 1) {
    ERR_print_errors_fp(stderr);
    return 1;
  }
  if (strcmp(argv[3], "session-id") == 0) SSL_CTX_set_options(context, SSL_OP_NO_TICKET);
  while (scanf("%d %d", &connections, &resumed) == 2) connect_all();
  return 0;
}
