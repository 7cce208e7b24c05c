//! The system calls that a function may make: a list of what is allowed, as a program for the kernel's filter.
//!
//! What programs in a container ordinarily need is on it. What changes the machine (mounts, modules, time, namespaces), looks
//! into other processes, or has a history of kernel faults (io_uring, bpf, userfaultfd, keys) is not: `EPERM`. Calls newer than
//! this list are `ENOSYS`, so that libraries fall back.
#![allow(unsafe_code)]

use std::io;
use std::sync::OnceLock;

#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xc000_00b7;

/// Above every number that this list was made from.
const NEWEST: u32 = 463;

const ALLOW: u32 = 0x7fff_0000;
const KILL_PROCESS: u32 = 0x8000_0000;
const ERRNO: u32 = 0x0005_0000;

/// Every way to make a namespace.
const NAMESPACES: u32 = 0x7e02_0080;

macro_rules! numbers {
    ($($name:ident)*) => { &[$(libc::$name),*] };
}

/// On every architecture.
#[rustfmt::skip]
const COMMON: &[libc::c_long] = numbers! {
    SYS_accept SYS_accept4 SYS_bind SYS_brk SYS_capget SYS_capset SYS_chdir SYS_clock_getres SYS_clock_gettime
    SYS_clock_nanosleep SYS_close SYS_close_range SYS_connect SYS_copy_file_range SYS_dup SYS_dup3 SYS_epoll_create1
    SYS_epoll_ctl SYS_epoll_pwait SYS_epoll_pwait2 SYS_eventfd2 SYS_execve SYS_execveat SYS_exit SYS_exit_group
    SYS_faccessat SYS_faccessat2 SYS_fadvise64 SYS_fallocate SYS_fchdir SYS_fchmod SYS_fchmodat SYS_fchown SYS_fchownat
    SYS_fcntl SYS_fdatasync SYS_fgetxattr SYS_flistxattr SYS_flock SYS_fremovexattr SYS_fsetxattr SYS_fstat SYS_fstatfs
    SYS_fsync SYS_ftruncate SYS_futex SYS_getcpu SYS_getcwd SYS_getdents64 SYS_getegid SYS_geteuid SYS_getgid
    SYS_getgroups SYS_getitimer SYS_getpeername SYS_getpgid SYS_getpid SYS_getppid SYS_getpriority SYS_getrandom
    SYS_getresgid SYS_getresuid SYS_getrlimit SYS_get_robust_list SYS_getrusage SYS_getsid SYS_getsockname
    SYS_getsockopt SYS_gettid SYS_gettimeofday SYS_getuid SYS_getxattr SYS_inotify_add_watch SYS_inotify_init1
    SYS_inotify_rm_watch SYS_ioprio_get SYS_ioprio_set SYS_kill SYS_landlock_add_rule SYS_landlock_create_ruleset
    SYS_landlock_restrict_self SYS_lgetxattr SYS_linkat SYS_listen SYS_listxattr SYS_llistxattr SYS_lremovexattr
    SYS_lseek SYS_lsetxattr SYS_madvise SYS_membarrier SYS_memfd_create SYS_mincore SYS_mkdirat SYS_mlock SYS_mlock2
    SYS_mlockall SYS_mmap SYS_mprotect SYS_mremap SYS_msgctl SYS_msgget SYS_msgrcv SYS_msgsnd SYS_msync SYS_munlock
    SYS_munlockall SYS_munmap SYS_nanosleep SYS_newfstatat SYS_openat SYS_openat2 SYS_pidfd_open
    SYS_pidfd_send_signal SYS_pipe2 SYS_pkey_alloc SYS_pkey_free SYS_pkey_mprotect SYS_ppoll SYS_prctl SYS_pread64
    SYS_preadv SYS_preadv2 SYS_prlimit64 SYS_pselect6 SYS_pwrite64 SYS_pwritev SYS_pwritev2 SYS_read SYS_readahead
    SYS_readlinkat SYS_readv SYS_recvfrom SYS_recvmmsg SYS_recvmsg SYS_remap_file_pages SYS_removexattr SYS_renameat
    SYS_renameat2 SYS_restart_syscall SYS_rseq SYS_rt_sigaction SYS_rt_sigpending SYS_rt_sigprocmask
    SYS_rt_sigqueueinfo SYS_rt_sigreturn SYS_rt_sigsuspend SYS_rt_sigtimedwait SYS_rt_tgsigqueueinfo
    SYS_sched_getaffinity SYS_sched_getattr SYS_sched_getparam SYS_sched_get_priority_max SYS_sched_get_priority_min
    SYS_sched_getscheduler SYS_sched_rr_get_interval SYS_sched_setaffinity SYS_sched_setattr SYS_sched_setparam
    SYS_sched_setscheduler SYS_sched_yield SYS_seccomp SYS_semctl SYS_semget SYS_semop SYS_semtimedop SYS_sendfile
    SYS_sendmmsg SYS_sendmsg SYS_sendto SYS_setfsgid SYS_setfsuid SYS_setgid SYS_setgroups SYS_setitimer SYS_setpgid
    SYS_setpriority SYS_setregid SYS_setresgid SYS_setresuid SYS_setreuid SYS_setrlimit SYS_set_robust_list SYS_setsid
    SYS_setsockopt SYS_set_tid_address SYS_setuid SYS_setxattr SYS_shmat SYS_shmctl SYS_shmdt SYS_shmget SYS_shutdown
    SYS_sigaltstack SYS_signalfd4 SYS_socketpair SYS_splice SYS_statfs SYS_statx SYS_symlinkat SYS_sync
    SYS_sync_file_range SYS_syncfs SYS_sysinfo SYS_tee SYS_tgkill SYS_timer_create SYS_timer_delete
    SYS_timer_getoverrun SYS_timer_gettime SYS_timer_settime SYS_timerfd_create SYS_timerfd_gettime
    SYS_timerfd_settime SYS_times SYS_tkill SYS_truncate SYS_umask SYS_uname SYS_unlinkat SYS_utimensat SYS_vmsplice
    SYS_wait4 SYS_waitid SYS_write SYS_writev
};

#[cfg(target_arch = "x86_64")]
#[rustfmt::skip]
const LEGACY: &[libc::c_long] = numbers! {
    SYS_access SYS_alarm SYS_arch_prctl SYS_chmod SYS_chown SYS_creat SYS_dup2 SYS_epoll_create SYS_epoll_wait
    SYS_eventfd SYS_fork SYS_futimesat SYS_getdents SYS_getpgrp SYS_inotify_init SYS_lchown SYS_link SYS_lstat SYS_mkdir
    SYS_open SYS_pause SYS_pipe SYS_poll SYS_readlink SYS_rename SYS_rmdir SYS_select SYS_signalfd SYS_stat SYS_symlink
    SYS_time SYS_unlink SYS_utime SYS_utimes SYS_vfork
};
#[cfg(not(target_arch = "x86_64"))]
const LEGACY: &[libc::c_long] = &[];

#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Instruction {
    code: u16,
    if_true: u8,
    if_false: u8,
    value: u32,
}

const LOAD: u16 = 0x20;
const JUMP: u16 = 0x05;
const EQUAL: u16 = 0x15;
const GREATER: u16 = 0x25;
const AT_LEAST: u16 = 0x35;
const ANY_BIT: u16 = 0x45;
const RETURN: u16 = 0x06;

const NUMBER: u32 = 0;
const ARCH: u32 = 4;
/// The low half of the first and second argument.
const FIRST: u32 = 16;
const SECOND: u32 = 24;

static PROGRAM: OnceLock<Vec<Instruction>> = OnceLock::new();

/// Makes the program ahead of time, so that clones of this process have it.
pub fn prepare() {
    PROGRAM.get_or_init(program);
}

/// From here on this process and its children make allowed calls only. Needs `no_new_privs`.
pub fn install() -> io::Result<()> {
    #[repr(C)]
    struct Filter {
        length: libc::c_ushort,
        first: *const Instruction,
    }
    let program = PROGRAM.get_or_init(program);
    let filter = Filter { length: program.len() as libc::c_ushort, first: program.as_ptr() };
    const SET_MODE_FILTER: libc::c_long = 1;
    // SAFETY: the struct is laid out as `sock_fprog`, and the program it points at is never freed.
    let result =
        unsafe { libc::syscall(libc::SYS_seccomp, SET_MODE_FILTER, 0 as libc::c_long, &raw const filter) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn step(code: u16, value: u32, if_true: u8, if_false: u8) -> Instruction {
    Instruction { code, if_true, if_false, value }
}

fn refuse(errno: libc::c_int) -> Instruction {
    step(RETURN, ERRNO | errno as u32, 0, 0)
}

fn program() -> Vec<Instruction> {
    let mut steps = vec![
        step(LOAD, ARCH, 0, 0),
        step(EQUAL, ARCHITECTURE, 1, 0),
        step(RETURN, KILL_PROCESS, 0, 0),
        step(LOAD, NUMBER, 0, 0),
        // Newer than this list, and the x32 calls.
        step(GREATER, NEWEST, 0, 1),
        refuse(libc::ENOSYS),
        // Its flags are in memory, where no filter can look: the C library falls back to `clone`.
        step(EQUAL, libc::SYS_clone3 as u32, 0, 1),
        refuse(libc::ENOSYS),
        step(EQUAL, libc::SYS_clone as u32, 0, 4),
        step(LOAD, FIRST, 0, 0),
        step(ANY_BIT, NAMESPACES, 0, 1),
        refuse(libc::EPERM),
        step(RETURN, ALLOW, 0, 0),
        step(EQUAL, libc::SYS_socket as u32, 0, 7),
        step(LOAD, FIRST, 0, 0),
        step(EQUAL, libc::AF_UNIX as u32, 4, 0),
        step(EQUAL, libc::AF_INET as u32, 3, 0),
        step(EQUAL, libc::AF_INET6 as u32, 2, 0),
        // Routes and addresses, for `getifaddrs`.
        step(EQUAL, libc::AF_NETLINK as u32, 1, 0),
        refuse(libc::EPERM),
        step(RETURN, ALLOW, 0, 0),
        step(EQUAL, libc::SYS_ioctl as u32, 0, 5),
        step(LOAD, SECOND, 0, 0),
        // Typing into a terminal.
        step(EQUAL, libc::TIOCSTI as u32, 1, 0),
        step(EQUAL, libc::TIOCLINUX as u32, 0, 1),
        refuse(libc::EPERM),
        step(RETURN, ALLOW, 0, 0),
    ];
    emit(&ranges(), &mut steps);
    steps
}

/// The allowed numbers as ranges without gaps, in order.
fn ranges() -> Vec<(u32, u32)> {
    let mut numbers: Vec<u32> = COMMON.iter().chain(LEGACY).map(|number| *number as u32).collect();
    numbers.sort_unstable();
    numbers.dedup();
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => ranges.push((number, number)),
        }
    }
    ranges
}

/// A binary search: a few steps for each call rather than one for each allowed number.
fn emit(ranges: &[(u32, u32)], steps: &mut Vec<Instruction>) {
    match ranges {
        [] => steps.push(refuse(libc::EPERM)),
        [(first, last)] => {
            steps.push(step(AT_LEAST, *first, 0, 1));
            steps.push(step(GREATER, *last, 0, 1));
            steps.push(refuse(libc::EPERM));
            steps.push(step(RETURN, ALLOW, 0, 0));
        }
        _ => {
            let (left, right) = ranges.split_at(ranges.len() / 2);
            let mut below = Vec::new();
            emit(left, &mut below);
            steps.push(step(AT_LEAST, right[0].0, 0, 1));
            steps.push(step(JUMP, below.len() as u32, 0, 0));
            steps.append(&mut below);
            emit(right, steps);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel would answer: the filter's machine, as far as this program uses it.
    fn judge(number: u32, arguments: [u32; 2]) -> u32 {
        let program = program();
        let (mut at, mut loaded) = (0usize, 0u32);
        loop {
            let Instruction { code, if_true, if_false, value } = program[at];
            let jump = |holds: bool| usize::from(if holds { if_true } else { if_false });
            at += 1;
            match code {
                LOAD => {
                    loaded = match value {
                        NUMBER => number,
                        ARCH => ARCHITECTURE,
                        FIRST => arguments[0],
                        _ => arguments[1],
                    }
                }
                JUMP => at += value as usize,
                EQUAL => at += jump(loaded == value),
                GREATER => at += jump(loaded > value),
                AT_LEAST => at += jump(loaded >= value),
                ANY_BIT => at += jump(loaded & value != 0),
                _ => return value,
            }
        }
    }

    #[test]
    fn exactly_the_listed_calls_are_allowed() {
        let eperm = ERRNO | libc::EPERM as u32;
        let special =
            [libc::SYS_clone, libc::SYS_clone3, libc::SYS_socket, libc::SYS_ioctl].map(|n| n as u32);
        for number in (0..=NEWEST).filter(|number| !special.contains(number)) {
            let is_listed = COMMON.iter().chain(LEGACY).any(|listed| *listed as u32 == number);
            assert_eq!(judge(number, [0, 0]), if is_listed { ALLOW } else { eperm }, "call {number}");
        }
        assert_eq!(judge(NEWEST + 1, [0, 0]), ERRNO | libc::ENOSYS as u32);
        assert_eq!(judge(0x4000_0000, [0, 0]), ERRNO | libc::ENOSYS as u32, "x32");
    }

    #[test]
    fn some_calls_are_allowed_with_some_arguments_only() {
        let eperm = ERRNO | libc::EPERM as u32;
        let cases = [
            ("a thread", libc::SYS_clone, [libc::CLONE_VM as u32 | libc::CLONE_THREAD as u32, 0], ALLOW),
            ("a user namespace", libc::SYS_clone, [libc::CLONE_NEWUSER as u32, 0], eperm),
            ("a mount namespace", libc::SYS_clone, [libc::CLONE_NEWNS as u32, 0], eperm),
            ("clone3", libc::SYS_clone3, [0, 0], ERRNO | libc::ENOSYS as u32),
            ("tcp", libc::SYS_socket, [libc::AF_INET as u32, 0], ALLOW),
            ("unix", libc::SYS_socket, [libc::AF_UNIX as u32, 0], ALLOW),
            ("kernel crypto", libc::SYS_socket, [libc::AF_ALG as u32, 0], eperm),
            ("raw packets", libc::SYS_socket, [libc::AF_PACKET as u32, 0], eperm),
            ("virtual sockets", libc::SYS_socket, [libc::AF_VSOCK as u32, 0], eperm),
            ("terminal size", libc::SYS_ioctl, [0, libc::TIOCGWINSZ as u32], ALLOW),
            ("terminal input", libc::SYS_ioctl, [0, libc::TIOCSTI as u32], eperm),
        ];
        for (name, number, arguments, expected) in cases {
            assert_eq!(judge(number as u32, arguments), expected, "{name}");
        }
    }
}
