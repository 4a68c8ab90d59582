/* Reads a million records out of Redis with hiredis and does nothing with them: the limit for whoever mirrors them.
 *
 *   read-store PORT buckets    HGETALL of each bucket, 16 under way at a time, as a node reads them
 *   read-store PORT hscan KEY  HSCAN of one hash, 1,000 fields a step
 *
 * Prints the nanoseconds from the first command to the last reply, the process's own CPU nanoseconds, and how many
 * strings came. hiredis's defaults: blocking socket, its own reply objects. */
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static long long now(clockid_t clock) {
  struct timespec t;
  clock_gettime(clock, &t);
  return (long long)t.tv_sec * 1000000000 + t.tv_nsec;
}

static redisReply *take(redisContext *context) {
  void *reply;
  if (redisGetReply(context, &reply) != REDIS_OK) {
    fprintf(stderr, "read-store: %s\n", context->errstr);
    exit(1);
  }
  if (((redisReply *)reply)->type == REDIS_REPLY_ERROR) {
    fprintf(stderr, "read-store: %s\n", ((redisReply *)reply)->str);
    exit(1);
  }
  return reply;
}

int main(int count, char **words) {
  if (count < 3) {
    fprintf(stderr, "usage: read-store PORT buckets|hscan [KEY]\n");
    return 64;
  }
  redisContext *context = redisConnect("127.0.0.1", atoi(words[1]));
  if (!context || context->err) {
    fprintf(stderr, "read-store: %s\n", context ? context->errstr : "no memory");
    return 1;
  }
  long long strings = 0, began = now(CLOCK_MONOTONIC);
  if (strcmp(words[2], "buckets") == 0) {
    const int buckets = 1024, window = 16;
    for (int sent = 0, received = 0; received < buckets; received++) {
      for (; sent < buckets && sent < received + window; sent++)
        redisAppendCommand(context, "HGETALL sluice:{keys}:bucket:%d", sent);
      redisReply *reply = take(context);
      strings += reply->elements;
      freeReplyObject(reply);
    }
  } else {
    char cursor[32] = "0";
    do {
      redisAppendCommand(context, "HSCAN %s %s COUNT 1000", words[3], cursor);
      redisReply *reply = take(context);
      snprintf(cursor, sizeof cursor, "%s", reply->element[0]->str);
      strings += reply->element[1]->elements;
      freeReplyObject(reply);
    } while (strcmp(cursor, "0") != 0);
  }
  printf("%lld %lld %lld\n", now(CLOCK_MONOTONIC) - began, now(CLOCK_PROCESS_CPUTIME_ID), strings);
  return 0;
}
