//! What a process gives up before it becomes a function: privileges, the machine's limits, system calls.
#![allow(unsafe_code)]

use std::io;

use super::protocol::LevelWord;
use super::seccomp;
use crate::sys::check;

/// Most descriptors and processes of a function.
///
/// Source: AWS Lambda Developer Guide, "Lambda quotas".
const DESCRIPTORS: u64 = 1_024;
const PROCESSES: u64 = 1_024;

const CAP_KILL: u32 = 5;
const CAP_SETGID: u32 = 6;
const CAP_SETUID: u32 = 7;

/// For an init before it has started anything: none of its children can regain a capability or a privilege.
pub fn bound() -> io::Result<()> {
    // SAFETY: prctl with integer arguments touches no memory.
    unsafe {
        for capability in 0..64 {
            if libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) < 0 {
                break; // above the last one that this kernel knows
            }
        }
        check(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))?;
    }
    Ok(())
}

/// For an init whose sandbox is complete: it keeps what starting and killing the function's processes takes.
pub fn keep_only_init_capabilities() -> io::Result<()> {
    set_capabilities(1 << CAP_KILL | 1 << CAP_SETGID | 1 << CAP_SETUID)
}

/// Before exec: limits, the function's own user, no capabilities, the filter.
pub fn become_function(level: LevelWord, uid: u32) -> io::Result<()> {
    limit(libc::RLIMIT_NOFILE, DESCRIPTORS)?;
    limit(libc::RLIMIT_CORE, 0)?;
    match level {
        LevelWord::Process => return no_new_privileges(),
        LevelWord::Full => {
            limit(libc::RLIMIT_NPROC, PROCESSES)?;
            // SAFETY: an empty list of groups, and integers.
            unsafe {
                check(libc::setgroups(0, std::ptr::null()))?;
                check(libc::setresgid(uid, uid, uid))?;
                check(libc::setresuid(uid, uid, uid))?;
            }
        }
        LevelWord::Rootless => {}
    }
    set_capabilities(0)?;
    no_new_privileges()?;
    seccomp::install()
}

fn no_new_privileges() -> io::Result<()> {
    // SAFETY: prctl with integer arguments touches no memory.
    check(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) })?;
    Ok(())
}

fn limit(resource: libc::__rlimit_resource_t, most: u64) -> io::Result<()> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls read or write one live struct only.
    unsafe {
        check(libc::getrlimit(resource, &raw mut limit))?;
        limit.rlim_max = limit.rlim_max.min(most);
        limit.rlim_cur = limit.rlim_max;
        check(libc::setrlimit(resource, &raw const limit))?;
    }
    Ok(())
}

fn set_capabilities(kept: u32) -> io::Result<()> {
    #[repr(C)]
    struct Header {
        version: u32,
        pid: i32,
    }
    #[repr(C)]
    #[derive(Clone, Copy)]
    struct Half {
        effective: u32,
        permitted: u32,
        inheritable: u32,
    }
    const VERSION_3: u32 = 0x2008_0522;
    let mut header = Header { version: VERSION_3, pid: 0 };
    let mut halves = [Half { effective: 0, permitted: 0, inheritable: 0 }; 2];
    // SAFETY: both calls take the header and two halves, as version 3 has it; all live until they return.
    unsafe {
        if libc::syscall(libc::SYS_capget, &raw mut header, halves.as_mut_ptr()) < 0 {
            return Err(io::Error::last_os_error());
        }
        let permitted = halves[0].permitted & kept;
        halves[0] = Half { effective: permitted, permitted, inheritable: 0 };
        halves[1] = Half { effective: 0, permitted: 0, inheritable: 0 };
        if libc::syscall(libc::SYS_capset, &raw mut header, halves.as_ptr()) < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}
