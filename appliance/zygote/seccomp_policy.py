"""Which system calls a kernel may make.

An allow-list. What is named in `REFUSED` answers EPERM, so that programs see a refusal; everything else that is not
named answers ENOSYS, so that libraries fall back as they do on an older Linux. A call of another architecture ends the
process. Calls are named as libseccomp names them; names that this libseccomp or architecture does not know are skipped.
"""

from __future__ import annotations

# Files, memory, processes, time and signals of an ordinary program.
_FILES = """
access chdir chmod chown close close_range copy_file_range creat dup dup2 dup3 faccessat faccessat2 fadvise64
fallocate fchdir fchmod fchmodat fchmodat2 fchown fchownat fcntl fdatasync fgetxattr flistxattr flock fremovexattr
fsetxattr fstat fstatfs fsync ftruncate futimesat getcwd getdents getdents64 getxattr lchown lgetxattr link linkat
listxattr llistxattr lremovexattr lseek lsetxattr lstat
memfd_create mkdir mkdirat mknod mknodat newfstatat open openat openat2 pread64 preadv preadv2 pwrite64 pwritev pwritev2
read readahead readlink readlinkat readv removexattr rename renameat renameat2 rmdir sendfile setxattr splice stat
statfs statx symlink symlinkat sync sync_file_range syncfs tee truncate umask unlink unlinkat utime utimensat utimes
vmsplice write writev ioctl pipe pipe2 landlock_create_ruleset landlock_add_rule landlock_restrict_self
"""
_MEMORY = """
brk madvise membarrier mincore mlock mlock2 mlockall mmap mprotect mremap msync munlock munlockall munmap
pkey_alloc pkey_free pkey_mprotect get_mempolicy set_mempolicy mbind shmat shmctl shmdt shmget
"""
_PROCESSES = """
alarm arch_prctl capget capset clone execve execveat exit exit_group fork get_robust_list get_thread_area getcpu
getegid geteuid getgid getgroups getpgid getpgrp getpid getppid getpriority getresgid getresuid getrlimit getrusage
getsid gettid getuid kill nanosleep pause personality pidfd_open pidfd_send_signal prctl prlimit64 restart_syscall rseq
sched_get_priority_max sched_get_priority_min sched_getaffinity sched_getattr sched_getparam sched_getscheduler
sched_rr_get_interval sched_setaffinity sched_setattr sched_setparam sched_setscheduler sched_yield set_robust_list
set_tid_address setfsgid setfsuid setgid setgroups setitimer getitimer setpgid setpriority setregid setresgid setresuid
setreuid setrlimit setsid setuid sysinfo tgkill times tkill uname vfork wait4 waitid seccomp
"""
_WAITING = """
clock_getres clock_gettime clock_nanosleep epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2
epoll_wait epoll_wait_old eventfd eventfd2 futex futex_wait futex_wake futex_waitv futex_requeue getrandom gettimeofday
poll ppoll pselect6 select rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend
rt_sigtimedwait rt_tgsigqueueinfo sigaltstack signalfd signalfd4 time timer_create timer_delete timer_getoverrun
timer_gettime timer_settime timerfd_create timerfd_gettime timerfd_settime
io_cancel io_destroy io_getevents io_pgetevents io_setup io_submit
mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedsend mq_unlink msgctl msgget msgrcv msgsnd semctl semget semop
semtimedop
"""
_SOCKETS = """
accept accept4 bind connect getpeername getsockname getsockopt listen recvfrom recvmmsg recvmsg sendmmsg sendmsg sendto
setsockopt shutdown
"""

ALLOWED: tuple[str, ...] = tuple(f"{_FILES} {_MEMORY} {_PROCESSES} {_WAITING} {_SOCKETS}".split())

#: Refused with EPERM. What each group would give: other processes' memory; keyrings shared by uid; kernel code and
#: tracing; asynchronous I/O around this filter; mounts and namespaces; files by handle; word of who opens which file
#: (the system's files are the same for all kernels); clock, power, modules, quotas.
REFUSED: tuple[str, ...] = tuple(
    """
    ptrace process_vm_readv process_vm_writev process_madvise process_mrelease pidfd_getfd kcmp
    add_key request_key keyctl
    bpf perf_event_open userfaultfd lookup_dcookie syslog
    io_uring_setup io_uring_enter io_uring_register
    mount umount umount2 pivot_root chroot move_mount open_tree fsopen fsconfig fsmount fspick mount_setattr statmount
    listmount setns unshare
    name_to_handle_at open_by_handle_at
    fanotify_init fanotify_mark inotify_init inotify_init1 inotify_add_watch inotify_rm_watch
    acct adjtimex clock_adjtime clock_settime settimeofday stime delete_module finit_module init_module
    kexec_load kexec_file_load reboot swapon swapoff quotactl quotactl_fd nfsservctl sethostname setdomainname
    ioperm iopl modify_ldt vhangup vm86 vm86old uselib ustat sysfs _sysctl get_kernel_syms create_module query_module
    migrate_pages move_pages set_mempolicy_home_node memfd_secret
    """.split()
)

#: Memory that belongs to no process: only a cgroup counts it. Where there is none these answer ENOSYS; shared memory of
#: POSIX is in the scratch space, which has a size.
UNCOUNTED: tuple[str, ...] = ("memfd_create", "shmget")

#: Flags of clone(2) that would make a namespace; with any of them the call is refused. clone3 hides its flags behind a
#: pointer that a filter cannot read: it answers ENOSYS and libc falls back to clone.
CLONE_NAMESPACE_FLAGS = (0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000, 0x00000080)

#: Address families of socket(2) and socketpair(2): AF_UNIX, AF_INET, AF_INET6; others (NETLINK, PACKET, VSOCK, ALG, …)
#: answer EAFNOSUPPORT.
SOCKET_FAMILIES = (1, 2, 10)
#: AF_NETLINK is refused by the other name that socket(2) has for it, EINVAL: libzmq lists interfaces before it binds
#: to any TCP address (ipykernel does, to one of 127.0.0.1), goes on without at EINVAL, and aborts at anything else.
NETLINK = 16
#: AF_MAX of Linux 6; larger numbers answer ENOSYS.
SOCKET_FAMILY_COUNT = 46

#: By call, the request in its second argument that is refused: pushing input into a terminal (TIOCSTI, ioctl_tty(2)),
#: and word of changes in a directory (F_NOTIFY, fcntl(2)).
REFUSED_REQUESTS = {"ioctl": 0x5412, "fcntl": 1026}

#: personality(2) values that keep the process what it is: PER_LINUX and "only tell me".
PERSONALITIES = (0x0, 0xFFFFFFFF)
