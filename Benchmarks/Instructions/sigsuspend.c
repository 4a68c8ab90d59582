// Loaded into what runs under valgrind. Valgrind 3.19 writes into the mask that sigsuspend(2) is given, and libdispatch's is constant, which
// ends them both; here it gets a copy.

#define _GNU_SOURCE
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

int sigsuspend(const sigset_t *mask) {
  sigset_t copy = *mask;
  return (int)syscall(SYS_rt_sigsuspend, &copy, _NSIG / 8);
}
