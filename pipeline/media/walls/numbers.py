"""The numbers of the system calls that decoding needs, for x86-64 and for 64-bit ARM.

They are fixed for ever (`asm/unistd.h` of Linux). A dash: the architecture has no such call.
"""

from __future__ import annotations

# By the name of the machine: the column below, and the kernel's mark (AUDIT_ARCH_...).
ARCHITECTURES = {
    "x86_64": (0, 0xC000_003E),
    "aarch64": (1, 0xC000_00B7),
    "arm64": (1, 0xC000_00B7),
}

_TABLE = """
read 0 63, write 1 64, readv 19 65, writev 20 66, pread64 17 67, pwrite64 18 68, preadv 295 69,
pwritev 296 70, lseek 8 62, open 2 -, openat 257 56, close 3 57, fstat 5 80, stat 4 -, lstat 6 -,
newfstatat 262 79, statx 332 291, access 21 -, faccessat 269 48, faccessat2 439 439,
readlink 89 -, readlinkat 267 78, getcwd 79 17, getdents 78 -, getdents64 217 61, fstatfs 138 44,
statfs 137 43, ftruncate 77 46, fallocate 285 47, fadvise64 221 223, fsync 74 82, fdatasync 75 83,
dup 32 23, dup2 33 -, dup3 292 24, fcntl 72 25, ioctl 16 29,
poll 7 -, ppoll 271 73, select 23 -, pselect6 270 72,
mmap 9 222, munmap 11 215, mprotect 10 226, mremap 25 216, madvise 28 233, mincore 27 232,
msync 26 227, brk 12 214, mlock 149 228, munlock 150 229, membarrier 324 283,
futex 202 98, futex_waitv 449 449, clone 56 220, clone3 435 435, set_robust_list 273 99,
get_robust_list 274 100, rseq 334 293, set_tid_address 218 96, arch_prctl 158 -, prctl 157 167,
rt_sigaction 13 134, rt_sigprocmask 14 135, rt_sigreturn 15 139, rt_sigsuspend 130 133,
rt_sigtimedwait 128 137, sigaltstack 131 132, restart_syscall 219 128, kill 62 129, tgkill 234 131,
exit 60 93, exit_group 231 94, sched_yield 24 124, sched_getaffinity 204 123,
sched_getparam 143 121, sched_getscheduler 145 120, sched_get_priority_max 146 125,
sched_get_priority_min 147 126, getcpu 309 168, clock_gettime 228 113, clock_getres 229 114,
clock_nanosleep 230 115, nanosleep 35 101, gettimeofday 96 169, time 201 -, times 100 153,
getpid 39 172, getppid 110 173, gettid 186 178, getuid 102 174, geteuid 107 175, getgid 104 176,
getegid 108 177, getrlimit 97 163, setrlimit 160 164, prlimit64 302 261, getrusage 98 165,
sysinfo 99 179, uname 63 160, getrandom 318 278, seccomp 317 277
"""

# {name: (number on x86-64, number on 64-bit ARM)}. `seccomp` can only make the filter narrower.
NUMBERS: dict[str, tuple[int | None, int | None]] = {
    name: tuple(None if number == "-" else int(number) for number in row)  # type: ignore[misc]
    for name, *row in (entry.split() for entry in _TABLE.split(","))
}
