/* Pushes at a given rate, whatever the server does, and says how long each push took from the moment it was due: what clients of their own
 * mind see, each of whom sends when it has something. A server that falls behind is charged for what waits.
 *
 *   paced-push PORT METHOD PATH KEY BODY CONNECTIONS RATE SECONDS SEED
 *
 * BODY bytes each, RATE a second over kept connections, each of which has one push under way at most; whatever is due takes a free one, or
 * waits for it. The gaps are random (exponential), as those of clients that know nothing of each other, and the same for the same seed.
 *
 * Prints "sent SENT p50 P50 p99 P99 p999 P999 longest LONGEST late LATE", in microseconds; "late" is the 99th percentile of how long after
 * its moment a push was written, which is the generator's own lateness as long as connections are free. Anything but 2xx is an error.
 *
 * wrk can't pace. h2load --rps looks every 10 ms what is due and sends that in a row, and counts from when it sends. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <math.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { most_connections = 10000, answer_bytes = 4096 };
/* How long after the last was due all must be answered. */
static const long long patience = 10000000000;

struct connection {
  int socket;
  /* Which push is under way on it; -1 for none. */
  long push;
  size_t received;
  char answer[answer_bytes];
};

static void fail(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  fprintf(stderr, "paced-push: ");
  vfprintf(stderr, format, arguments);
  fprintf(stderr, "\n");
  exit(1);
}

static long long now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (long long)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int connected(int port) {
  struct sockaddr_in address = {
      .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  int one = 1, s = socket(AF_INET, SOCK_STREAM, 0);
  if (s < 0 || connect(s, (struct sockaddr *)&address, sizeof address) < 0) fail("connect: %s", strerror(errno));
  setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  return s;
}

/* Whether the answer is all there. Its length is given, or its end is the last chunk. */
static int is_whole(struct connection *c) {
  c->answer[c->received] = 0;
  char *end = strstr(c->answer, "\r\n\r\n");
  if (!end) return 0;
  if (strncmp(c->answer, "HTTP/1.1 2", 10) != 0) fail("not accepted: %.*s", (int)(end - c->answer), c->answer);
  size_t head = end + 4 - c->answer;
  char *length = strcasestr(c->answer, "\r\ncontent-length:");
  if (length && length < end) return c->received - head >= strtoul(length + 17, NULL, 10);
  return c->received >= 5 && strcmp(c->answer + c->received - 5, "0\r\n\r\n") == 0;
}

static int order(const void *a, const void *b) {
  long long x = *(const long long *)a, y = *(const long long *)b;
  return x < y ? -1 : x > y;
}

/* In microseconds, of sorted nanoseconds: what such a share doesn't exceed. */
static double quantile(const long long *sorted, long count, double share) {
  long place = count * share;
  return sorted[place < count ? place : count - 1] / 1e3;
}

int main(int count, char **words) {
  if (count != 10) {
    fprintf(stderr, "usage: paced-push PORT METHOD PATH KEY BODY CONNECTIONS RATE SECONDS SEED\n");
    return 64;
  }
  int port = atoi(words[1]), body = atoi(words[5]), connections = atoi(words[6]);
  double rate = atof(words[7]), seconds = atof(words[8]);
  long total = rate * seconds;
  if (port < 1 || body < 0 || connections < 1 || connections > most_connections || total < 1 || total > 100000000)
    fail("a port, a size, 1 to %d connections, and 1 to 100000000 pushes are needed", most_connections);

  char *request = malloc(body + 4096);
  int head = snprintf(
      request, 4096,
      "%s %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nAuthorization: Bearer %s\r\n"
      "Content-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n",
      words[2], words[3], port, words[4], body);
  if (head >= 4096) fail("the path and the key are too long");
  memset(request + head, 'x', body);
  const size_t request_bytes = head + body;

  long long *due = malloc(total * sizeof *due), *took = malloc(total * sizeof *took),
            *late = malloc(total * sizeof *late);
  struct connection *all = calloc(connections, sizeof *all);
  int *free_ones = malloc(connections * sizeof *free_ones), free_count = 0, poll = epoll_create1(0);
  if (!request || !due || !took || !late || !all || !free_ones || poll < 0) fail("no memory");
  for (int i = 0; i < connections; i++) {
    all[i].socket = connected(port);
    all[i].push = -1;
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = i};
    if (epoll_ctl(poll, EPOLL_CTL_ADD, all[i].socket, &event) < 0) fail("epoll_ctl: %s", strerror(errno));
    free_ones[free_count++] = i;
  }
  /* Sleeping ends when it should, not within the usual 50 µs after. */
  prctl(PR_SET_TIMERSLACK, 1);

  srand48(atol(words[9]));
  double at = now() + 1e7;
  for (long i = 0; i < total; i++) due[i] = at += -log(1 - drand48()) * 1e9 / rate;

  struct epoll_event events[256];
  for (long sent = 0, done = 0; done < total;) {
    long long moment = now();
    /* The connection that has been free the shortest is taken last, so that all are in use. */
    while (sent < total && due[sent] <= moment && free_count > 0) {
      int i = free_ones[0];
      memmove(free_ones, free_ones + 1, --free_count * sizeof *free_ones);
      all[i].push = sent;
      all[i].received = 0;
      late[sent] = moment - due[sent];
      if (send(all[i].socket, request, request_bytes, MSG_NOSIGNAL) != (ssize_t)request_bytes)
        fail("send: %s", strerror(errno));
      sent++;
      moment = now();
    }
    if (moment > due[total - 1] + patience) fail("%ld of %ld pushes weren't answered", total - done, total);
    long long wait = sent < total && free_count > 0 ? due[sent] - moment : 1000000000;
    if (wait < 0) wait = 0;
    struct timespec pause = {wait / 1000000000, wait % 1000000000};
    int ready = epoll_pwait2(poll, events, 256, &pause, NULL);
    if (ready < 0 && errno != EINTR) fail("epoll_pwait2: %s", strerror(errno));
    for (int e = 0; e < ready; e++) {
      int i = events[e].data.u32;
      struct connection *c = &all[i];
      ssize_t bytes = recv(c->socket, c->answer + c->received, answer_bytes - 1 - c->received, MSG_DONTWAIT);
      if (bytes < 0 && errno == EAGAIN) continue;
      if (bytes <= 0) fail("a connection ended: %s", bytes < 0 ? strerror(errno) : "closed by the server");
      /* Webdis gives what was meant for clients that were cut off to those that come after them. */
      if (c->push < 0) continue;
      c->received += bytes;
      if (!is_whole(c)) {
        if (c->received == answer_bytes - 1) fail("an answer is longer than %d bytes", answer_bytes - 1);
        continue;
      }
      took[done++] = now() - due[c->push];
      c->push = -1;
      c->received = 0;
      free_ones[free_count++] = i;
    }
  }
  qsort(took, total, sizeof *took, order);
  qsort(late, total, sizeof *late, order);
  printf(
      "sent %ld p50 %.1f p99 %.1f p999 %.1f longest %.1f late %.1f\n", total, quantile(took, total, 0.5),
      quantile(took, total, 0.99), quantile(took, total, 0.999), took[total - 1] / 1e3, quantile(late, total, 0.99));
  return 0;
}
