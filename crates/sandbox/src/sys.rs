//! The system calls that the standard library does not offer, each behind a function that cannot be misused for memory.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

pub fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn check_long(result: libc::c_long) -> io::Result<libc::c_long> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

pub fn c_string(text: &str) -> io::Result<CString> {
    CString::new(text).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))
}

/// Takes a descriptor that a system call has just made.
fn own(fd: RawFd) -> OwnedFd {
    // SAFETY: the callers hand in a descriptor that the kernel has just returned and that nobody else holds.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// A pair of connected sockets that keep message borders and carry descriptors.
pub fn seqpacket_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut fds = [0; 2];
    // SAFETY: the array has room for the two descriptors.
    check(unsafe {
        libc::socketpair(libc::AF_UNIX, libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC, 0, fds.as_mut_ptr())
    })?;
    Ok((own(fds[0]), own(fds[1])))
}

/// Read end, write end.
pub fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut fds = [0; 2];
    // SAFETY: the array has room for the two descriptors.
    check(unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC) })?;
    Ok((own(fds[0]), own(fds[1])))
}

pub fn set_nonblocking(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: fcntl with integer arguments touches no memory.
    unsafe {
        let flags = check(libc::fcntl(fd.as_raw_fd(), libc::F_GETFL))?;
        check(libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, flags | libc::O_NONBLOCK))?;
    }
    Ok(())
}

pub fn set_inheritable(fd: BorrowedFd<'_>, inheritable: bool) -> io::Result<()> {
    let flags = if inheritable { 0 } else { libc::FD_CLOEXEC };
    // SAFETY: fcntl with integer arguments touches no memory.
    check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFD, flags) })?;
    Ok(())
}

/// What a started process sees as `to`; kept across exec.
pub fn dup_to(from: RawFd, to: RawFd) -> io::Result<()> {
    if from == to {
        // SAFETY: fcntl with integer arguments touches no memory.
        check(unsafe { libc::fcntl(to, libc::F_SETFD, 0) })?;
        return Ok(());
    }
    // SAFETY: dup2 with integer arguments touches no memory. What `to` was before is closed: callers own that number.
    check(unsafe { libc::dup2(from, to) })?;
    Ok(())
}

/// A copy of `fd` with a number of at least `least`, closed on exec.
pub fn dup_above(fd: RawFd, least: RawFd) -> io::Result<RawFd> {
    // SAFETY: fcntl with integer arguments touches no memory.
    check(unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, least) })
}

/// Closes every descriptor from `first` on. Only for a process that is about to forget what it had.
pub fn close_from(first: RawFd) {
    // SAFETY: closing descriptors touches no memory; the caller holds none of them as an owned value that it uses again.
    unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, 0) };
}

/// Namespaces and options for a new process; the parent gets the pid and a descriptor of it, the child `None`.
///
/// # Safety
/// The calling process must have one thread only: the child goes on with a copy of its memory.
pub unsafe fn clone_process(flags: u64, cgroup: Option<RawFd>) -> io::Result<Option<(libc::pid_t, OwnedFd)>> {
    let mut pidfd: RawFd = -1;
    let mut flags = flags | libc::CLONE_PIDFD as u64;
    let mut args = CloneArgs {
        pidfd: (&raw mut pidfd) as u64,
        exit_signal: libc::SIGCHLD as u64,
        ..CloneArgs::default()
    };
    if let Some(cgroup) = cgroup {
        flags |= CLONE_INTO_CGROUP;
        args.cgroup = cgroup as u64;
    }
    args.flags = flags;
    // SAFETY: the struct is laid out as the kernel wants it and its size is handed over; without CLONE_VM the child has memory of
    // its own, and the caller promises a single thread.
    let pid =
        check_long(unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of::<CloneArgs>()) })?;
    Ok((pid != 0).then(|| (pid as libc::pid_t, own(pidfd))))
}

const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// # Safety
/// The calling process must have one thread only.
pub unsafe fn fork() -> io::Result<Option<libc::pid_t>> {
    // SAFETY: the caller promises a single thread, so the child's copy of memory is whole.
    let pid = check(unsafe { libc::fork() })?;
    Ok((pid != 0).then_some(pid))
}

pub fn kill(pid: libc::pid_t, signal: libc::c_int) -> io::Result<()> {
    // SAFETY: kill touches no memory.
    check(unsafe { libc::kill(pid, signal) })?;
    Ok(())
}

/// Signals the process behind a pidfd: never a later one of the same number.
pub fn pidfd_kill(pidfd: BorrowedFd<'_>, signal: libc::c_int) -> io::Result<()> {
    // SAFETY: no pointer but a null one is handed over.
    check_long(unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal,
            std::ptr::null::<libc::c_void>(),
            0,
        )
    })?;
    Ok(())
}

/// A child that has ended: its pid and raw wait status. `None`: none has ended yet, or there is none.
pub fn reap() -> Option<(libc::pid_t, libc::c_int)> {
    let mut status = 0;
    // SAFETY: the status is a live integer.
    let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) };
    (pid > 0).then_some((pid, status))
}

pub fn mount(source: &str, target: &str, kind: &str, flags: libc::c_ulong, data: &str) -> io::Result<()> {
    let (source, target, kind, data) =
        (c_string(source)?, c_string(target)?, c_string(kind)?, c_string(data)?);
    // SAFETY: four terminated strings that live until the call returns.
    check(unsafe {
        libc::mount(source.as_ptr(), target.as_ptr(), kind.as_ptr(), flags, data.as_ptr().cast())
    })?;
    Ok(())
}

pub fn detach_mount(target: &str) -> io::Result<()> {
    let target = c_string(target)?;
    // SAFETY: a terminated string that lives until the call returns.
    check(unsafe { libc::umount2(target.as_ptr(), libc::MNT_DETACH) })?;
    Ok(())
}

pub fn pivot_root(new: &str, old: &str) -> io::Result<()> {
    let (new, old) = (c_string(new)?, c_string(old)?);
    // SAFETY: two terminated strings that live until the call returns.
    check_long(unsafe { libc::syscall(libc::SYS_pivot_root, new.as_ptr(), old.as_ptr()) })?;
    Ok(())
}

pub fn unshare(flags: libc::c_int) -> io::Result<()> {
    // SAFETY: unshare touches no memory.
    check(unsafe { libc::unshare(flags) })?;
    Ok(())
}

const OPEN_TREE_CLONE: libc::c_uint = 1;
const AT_RECURSIVE: libc::c_uint = 0x8000;
const MOVE_MOUNT_F_EMPTY_PATH: libc::c_uint = 4;

/// A copy of the mounts at `path` that is attached nowhere yet: read-only, without devices and set-user-id programs.
pub fn open_tree_read_only(path: &str) -> io::Result<OwnedFd> {
    let path = c_string(path)?;
    let flags = OPEN_TREE_CLONE | AT_RECURSIVE | libc::O_CLOEXEC as libc::c_uint;
    // SAFETY: a terminated string that lives until the call returns.
    let fd = check_long(unsafe { libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, path.as_ptr(), flags) })?;
    let tree = own(fd as RawFd);
    set_read_only(&tree)?;
    Ok(tree)
}

const RDONLY: u64 = 1;
const NOSUID: u64 = 2;
const NODEV: u64 = 4;

#[repr(C)]
struct MountAttr {
    set: u64,
    clear: u64,
    propagation: u64,
    userns: u64,
}

fn set_read_only(tree: &OwnedFd) -> io::Result<()> {
    let attributes =
        MountAttr { set: RDONLY | NOSUID | NODEV, clear: 0, propagation: libc::MS_PRIVATE, userns: 0 };
    mount_setattr(tree.as_raw_fd(), c"", libc::AT_EMPTY_PATH as libc::c_uint, &attributes)
}

/// The mounts at and below `target` become read-only, without devices and set-user-id programs.
pub fn make_read_only(target: &str) -> io::Result<()> {
    let attributes =
        MountAttr { set: RDONLY | NOSUID | NODEV, clear: 0, propagation: libc::MS_PRIVATE, userns: 0 };
    mount_setattr(libc::AT_FDCWD, &c_string(target)?, 0, &attributes)
}

fn mount_setattr(fd: RawFd, path: &CStr, flags: libc::c_uint, attributes: &MountAttr) -> io::Result<()> {
    // SAFETY: a terminated string, and a struct whose size is handed over.
    check_long(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            fd,
            path.as_ptr(),
            flags | AT_RECURSIVE,
            std::ptr::from_ref(attributes),
            size_of::<MountAttr>(),
        )
    })?;
    Ok(())
}

/// Moves this process, which must have one thread, into another mount namespace.
pub fn set_mount_namespace(namespace: RawFd) -> io::Result<()> {
    // SAFETY: setns touches no memory.
    check(unsafe { libc::setns(namespace, libc::CLONE_NEWNS) })?;
    Ok(())
}

pub fn move_mount(tree: BorrowedFd<'_>, target: &str) -> io::Result<()> {
    let target = c_string(target)?;
    // SAFETY: terminated strings that live until the call returns.
    check_long(unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            tree.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_FDCWD,
            target.as_ptr(),
            MOVE_MOUNT_F_EMPTY_PATH,
        )
    })?;
    Ok(())
}

pub fn set_parent_death_signal(signal: libc::c_int) {
    // SAFETY: prctl with integer arguments.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, signal) };
}

/// Nobody of the same user may read this process's memory or descriptors.
pub fn set_undumpable() {
    // SAFETY: prctl with integer arguments.
    unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0) };
}

/// Orphans below this process become its children.
pub fn set_subreaper() {
    // SAFETY: prctl with integer arguments.
    unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1) };
}

pub fn set_hostname(name: &str) -> io::Result<()> {
    // SAFETY: pointer and length of one live string.
    check(unsafe { libc::sethostname(name.as_ptr().cast(), name.len()) })?;
    Ok(())
}

pub fn default_signal(signal: libc::c_int) {
    // SAFETY: setting a default disposition installs no handler.
    unsafe { libc::signal(signal, libc::SIG_DFL) };
}

pub fn ignore_signal(signal: libc::c_int) {
    // SAFETY: ignoring installs no handler.
    unsafe { libc::signal(signal, libc::SIG_IGN) };
}

pub fn uid() -> u32 {
    // SAFETY: cannot fail, touches no memory.
    unsafe { libc::geteuid() }
}

pub fn gid() -> u32 {
    // SAFETY: cannot fail, touches no memory.
    unsafe { libc::getegid() }
}

/// Replaces this process. Returns only on failure.
pub fn exec(program: &CStr, argv: &[CString], env: &[CString]) -> io::Error {
    let mut argv: Vec<*const libc::c_char> = argv.iter().map(|arg| arg.as_ptr()).collect();
    argv.push(std::ptr::null());
    let mut env: Vec<*const libc::c_char> = env.iter().map(|arg| arg.as_ptr()).collect();
    env.push(std::ptr::null());
    // SAFETY: both lists end in null and point at terminated strings that outlive the call.
    unsafe { libc::execve(program.as_ptr(), argv.as_ptr(), env.as_ptr()) };
    io::Error::last_os_error()
}

pub fn exit(status: i32) -> ! {
    // SAFETY: ends this process without running destructors of memory that it shares by copy only.
    unsafe { libc::_exit(status) }
}

/// Signals as a descriptor: `signal` is blocked and read from it instead.
pub fn signal_descriptor(signal: libc::c_int) -> io::Result<OwnedFd> {
    // SAFETY: the set is initialised before it is read.
    unsafe {
        let mut set = std::mem::zeroed::<libc::sigset_t>();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, signal);
        check(libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()))?;
        Ok(own(check(libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK))?))
    }
}

/// Empties what `signal_descriptor` has gathered.
pub fn drain(fd: BorrowedFd<'_>) {
    let mut buffer = [0u8; 1024];
    // SAFETY: pointer and length of one live buffer.
    while unsafe { libc::read(fd.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len()) } > 0 {}
}

/// No signal is blocked from here on: a blocked set survives exec.
pub fn unblock_signals() {
    // SAFETY: the set is initialised before it is read.
    unsafe {
        let mut set = std::mem::zeroed::<libc::sigset_t>();
        libc::sigemptyset(&raw mut set);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut());
    }
}

/// Waits until one of the descriptors can be read or has ended.
pub fn wait_readable(fds: &[RawFd]) -> io::Result<Vec<bool>> {
    let mut polled: Vec<libc::pollfd> =
        fds.iter().map(|fd| libc::pollfd { fd: *fd, events: libc::POLLIN, revents: 0 }).collect();
    // SAFETY: pointer and length of one live list.
    let result = check(unsafe { libc::poll(polled.as_mut_ptr(), polled.len() as libc::nfds_t, -1) });
    match result {
        Ok(_) => Ok(polled.iter().map(|entry| entry.revents != 0).collect()),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(vec![false; fds.len()]),
        Err(error) => Err(error),
    }
}

/// Waits for a child to end; `None` when there is none left.
pub fn reap_blocking() -> Option<libc::pid_t> {
    loop {
        // SAFETY: a null status is allowed.
        let pid = unsafe { libc::waitpid(-1, std::ptr::null_mut(), 0) };
        if pid > 0 {
            return Some(pid);
        }
        if io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
            return None;
        }
    }
}

pub fn close_on_exec(fd: RawFd) -> io::Result<()> {
    // SAFETY: fcntl with integer arguments touches no memory.
    check(unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) })?;
    Ok(())
}

/// Closes a number that no owned value stands for.
pub fn close(fd: RawFd) {
    // SAFETY: closing touches no memory; callers name numbers that no owned value of theirs is used for again.
    unsafe { libc::close(fd) };
}

pub fn new_session() {
    // SAFETY: touches no memory.
    unsafe { libc::setsid() };
}

pub fn yield_now() {
    // SAFETY: touches no memory.
    unsafe { libc::sched_yield() };
}

/// Brings the loopback device up in this network namespace and gives it one more address.
pub fn raise_loopback(address: std::net::Ipv4Addr) -> io::Result<()> {
    // SAFETY: the requests are all-zero where they are not set, their names end in zero, and they live until the calls return;
    // a socket address fits the union's room for one.
    unsafe {
        let socket = own(check(libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0))?);
        let mut device = std::mem::zeroed::<libc::ifreq>();
        name_device(&mut device, b"lo");
        device.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
        check(libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &raw mut device))?;
        let mut alias = std::mem::zeroed::<libc::ifreq>();
        name_device(&mut alias, b"lo:0");
        let wanted = libc::sockaddr_in {
            sin_family: libc::AF_INET as libc::sa_family_t,
            sin_port: 0,
            sin_addr: libc::in_addr { s_addr: u32::from(address).to_be() },
            sin_zero: [0; 8],
        };
        std::ptr::copy_nonoverlapping(
            (&raw const wanted).cast::<u8>(),
            (&raw mut alias.ifr_ifru.ifru_addr).cast::<u8>(),
            size_of::<libc::sockaddr_in>(),
        );
        check(libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFADDR as _, &raw mut alias))?;
    }
    Ok(())
}

fn name_device(request: &mut libc::ifreq, name: &[u8]) {
    for (to, from) in request.ifr_name.iter_mut().zip(name) {
        *to = *from as libc::c_char;
    }
}

/// Waits for the kernel, in a thread that may block: no rule of ours depends on how long.
pub fn pause_ms(millis: u32) {
    // SAFETY: polls no descriptor.
    unsafe { libc::poll(std::ptr::null_mut(), 0, millis as libc::c_int) };
}
