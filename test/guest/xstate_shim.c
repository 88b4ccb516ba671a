/*
 * Loaded into the user-mode Linux kernel (LD_PRELOAD) on processors with AMX.
 *
 * User-mode Linux 6.1 keeps 2696 bytes of a process's extended registers, up to and including PKRU. The host's
 * PTRACE_SETREGSET(NT_X86_XSTATE) takes all of them or answers EFAULT, and with AMX there are some 8 KiB of tile
 * registers more: the first process of the guest would die of "ptrace set fp regs failed, errno = 14". The tiles
 * are unused in the guest (using them needs a permission that nobody asks for), and unused means zero. So the
 * shim asks once how long the host's registers are, and appends zeros up to there.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <elf.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/types.h>
#include <sys/uio.h>

/* Not on the stack: the caller's are small. The kernel's one processor makes one call at a time. */
static char whole[64 * 1024] __attribute__((aligned(64)));
static size_t whole_length;

long ptrace(enum __ptrace_request request, ...) {
  static long (*real)(enum __ptrace_request, pid_t, void*, void*);
  if (real == NULL) real = (long (*)(enum __ptrace_request, pid_t, void*, void*))dlsym(RTLD_NEXT, "ptrace");

  va_list arguments;
  va_start(arguments, request);
  pid_t pid = va_arg(arguments, pid_t);
  void* address = va_arg(arguments, void*);
  void* data = va_arg(arguments, void*);
  va_end(arguments);
  if (request != PTRACE_SETREGSET || (long)address != NT_X86_XSTATE) return real(request, pid, address, data);

  const struct iovec* given = data;
  struct iovec padded = {whole, sizeof(whole)};
  if (whole_length == 0) {
    if (real(PTRACE_GETREGSET, pid, address, &padded) < 0) return -1;
    whole_length = padded.iov_len;
    memset(whole, 0, sizeof(whole));
  }
  if (given->iov_len >= whole_length) return real(request, pid, address, data);
  memcpy(whole, given->iov_base, given->iov_len); /* always the same length: the rest stays zero */
  padded.iov_len = whole_length;
  return real(request, pid, address, &padded);
}
