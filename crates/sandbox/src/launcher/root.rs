//! The root file system of environments: the machine's interpreters read-only, and nothing else of the machine.
//!
//! It is made once, in the launcher's mount namespace; a clone of that namespace needs only `/proc`, `/tmp` and the code.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::Path;

use super::protocol::{LevelWord, Setup};
use super::tun;
use crate::sys;

/// What Amazon Linux's sandbox user and group are called by number.
const FUNCTION_UID: u32 = 993;
const FUNCTION_GID: u32 = 990;

/// Of the machine's own folders. What is a link there is the same link here.
const SYSTEM: [&str; 8] = ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix/store"];

/// Of `/etc`: what interpreters and TLS libraries look for.
const ETC: [&str; 8] =
    ["ssl", "pki", "ca-certificates", "alternatives", "ld.so.cache", "ld.so.conf", "localtime", "mime.types"];

const DEVICES: [&str; 5] = ["null", "zero", "full", "random", "urandom"];

/// Who the function is, where each environment has a user of its own.
pub fn users(uid: u32) -> [(&'static str, String); 2] {
    let passwd = format!(
        "root:x:0:0:root:/root:/sbin/nologin\nsbx_user1051:x:{uid}:{uid}::/home/sbx_user1051:/sbin/nologin\n"
    );
    [("/etc/passwd", passwd), ("/etc/group", format!("root:x:0:\nsbx_user1051:x:{uid}:\n"))]
}

/// Files that must exist for the C library to name users and hosts.
const FILES: [(&str, &str); 5] = [
    (
        "/etc/passwd",
        "root:x:0:0:root:/root:/sbin/nologin\nsbx_user1051:x:993:990::/home/sbx_user1051:/sbin/nologin\n",
    ),
    ("/etc/group", "root:x:0:\nsbx_user1051:x:990:\n"),
    ("/etc/hosts", "127.0.0.1 localhost sandbox.localdomain sandbox\n::1 localhost\n"),
    ("/etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n"),
    // Where names are asked for: the engine answers there, for functions that reach the outside.
    ("/etc/resolv.conf", "nameserver 169.254.100.5\noptions timeout:2 attempts:2\n"),
];

/// The two views that a launcher has: of the machine, and of what functions see.
pub struct Namespaces {
    machine: Option<OwnedFd>,
    functions: Option<OwnedFd>,
    /// The machine's folder of network devices.
    pub devices: Option<OwnedFd>,
}

impl Namespaces {
    /// A read-only mount of a folder of the machine, attached nowhere yet.
    pub fn open_tree(&self, path: &Path) -> io::Result<OwnedFd> {
        let path = path.to_str().ok_or(io::ErrorKind::InvalidInput)?;
        let (Some(machine), Some(functions)) = (&self.machine, &self.functions) else {
            return sys::open_tree_read_only(path);
        };
        set_namespace(machine)?;
        let tree = sys::open_tree_read_only(path);
        set_namespace(functions)?;
        tree
    }
}

fn set_namespace(namespace: &OwnedFd) -> io::Result<()> {
    sys::set_mount_namespace(namespace.as_raw_fd())
}

/// Moves this process into a mount namespace whose root is that of functions.
pub fn enter(setup: &Setup) -> io::Result<Namespaces> {
    let devices = if setup.has_devices { tun::devices() } else { None };
    match setup.level {
        LevelWord::Process => return Ok(Namespaces { machine: None, functions: None, devices: None }),
        LevelWord::Rootless => enter_user_namespace().map_err(named("a user namespace"))?,
        LevelWord::Full => sys::unshare(libc::CLONE_NEWNS).map_err(named("a mount namespace"))?,
    }
    sys::mount("", "/", "", libc::MS_REC | libc::MS_PRIVATE, "").map_err(named("private mounts"))?;
    let machine = OwnedFd::from(fs::File::open("/proc/self/ns/mnt")?);
    sys::unshare(libc::CLONE_NEWNS).map_err(named("a mount namespace"))?;
    let functions = OwnedFd::from(fs::File::open("/proc/self/ns/mnt")?);
    build(setup)?;
    std::env::set_current_dir(&setup.staging)?;
    sys::pivot_root(".", ".").map_err(named("pivot_root"))?;
    sys::detach_mount(".").map_err(named("leaving the machine's root"))?;
    std::env::set_current_dir("/")?;
    Ok(Namespaces { machine: Some(machine), functions: Some(functions), devices })
}

fn enter_user_namespace() -> io::Result<()> {
    let (uid, gid) = (sys::uid(), sys::gid());
    sys::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNS)?;
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("{FUNCTION_UID} {uid} 1"))?;
    fs::write("/proc/self/gid_map", format!("{FUNCTION_GID} {gid} 1"))
}

fn named(what: &'static str) -> impl Fn(io::Error) -> io::Error {
    move |error| io::Error::new(error.kind(), format!("{what}: {error}"))
}

fn build(setup: &Setup) -> io::Result<()> {
    let staging = setup.staging.to_str().ok_or(io::ErrorKind::InvalidInput)?;
    let at = |path: &str| format!("{staging}{path}");
    sys::mount("tmpfs", staging, "tmpfs", libc::MS_NOSUID | libc::MS_NODEV, "mode=755,size=16m")
        .map_err(named("a root of tmpfs"))?;
    for dir in [
        "/etc",
        "/dev",
        "/proc",
        "/sys",
        "/tmp",
        "/opt",
        "/mnt",
        "/root",
        "/var/task",
        "/var/lang",
        "/var/runtime",
    ] {
        fs::create_dir_all(at(dir))?;
    }
    for (path, text) in FILES {
        fs::write(at(path), text)?;
    }
    for path in SYSTEM {
        copy_or_bind(path, &at(path)).map_err(named(path))?;
    }
    let java = fs::read_dir("/etc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok());
    let java: Vec<String> = java.filter(|name| name.starts_with("java")).collect();
    for name in ETC.into_iter().chain(java.iter().map(String::as_str)) {
        let path = format!("/etc/{name}");
        copy_or_bind(&path, &at(&path))
            .map_err(|error| io::Error::new(error.kind(), format!("{path}: {error}")))?;
    }
    devices(staging)?;
    bind(&setup.runtime_dir.to_string_lossy(), &at("/var/runtime")).map_err(named("/var/runtime"))?;
    read_only(&at("/var/runtime"))?;
    if let Some(packages) = &setup.packages_dir {
        let target = at("/var/runtime/packages");
        bind(&packages.to_string_lossy(), &target).map_err(named("/var/runtime/packages"))?;
        // ECMAScript modules know no NODE_PATH: they look upward from where they lie.
        let modules = "runtime/packages/nodejs/node_modules";
        std::os::unix::fs::symlink(modules, at("/var/node_modules"))?;
        read_only(&target)?;
    }
    if setup.level == LevelWord::Rootless {
        // The kernel lets an unprivileged namespace mount a `proc` only where a whole one is already to be seen.
        sys::mount("/proc", &at("/proc"), "", libc::MS_BIND | libc::MS_REC, "").map_err(named("/proc"))?;
    }
    let flags = libc::MS_REMOUNT | libc::MS_BIND | libc::MS_RDONLY | libc::MS_NOSUID | libc::MS_NODEV;
    sys::mount("", staging, "", flags, "").map_err(named("a read-only root"))
}

/// A link stays a link, a file is copied, a folder is mounted read-only; what does not exist is left out.
fn copy_or_bind(path: &str, target: &str) -> io::Result<()> {
    let Ok(kind) = fs::symlink_metadata(path) else { return Ok(()) };
    if let Some(parent) = Path::new(target).parent() {
        fs::create_dir_all(parent)?;
    }
    if kind.is_symlink() && !path.starts_with("/etc/") {
        return std::os::unix::fs::symlink(fs::read_link(path)?, target);
    }
    if fs::metadata(path).is_ok_and(|kind| kind.is_dir()) {
        fs::create_dir_all(target)?;
        let source = fs::canonicalize(path)?;
        bind(&source.to_string_lossy(), target)?;
        return read_only(target);
    }
    match fs::read(path) {
        Ok(bytes) => fs::write(target, bytes),
        Err(_) => Ok(()), // a link to nowhere, or not for us to read
    }
}

fn bind(source: &str, target: &str) -> io::Result<()> {
    sys::mount(source, target, "", libc::MS_BIND | libc::MS_REC, "")
}

fn read_only(target: &str) -> io::Result<()> {
    sys::make_read_only(target)
}

fn devices(staging: &str) -> io::Result<()> {
    for name in DEVICES {
        let target = format!("{staging}/dev/{name}");
        fs::write(&target, "")?;
        sys::mount(&format!("/dev/{name}"), &target, "", libc::MS_BIND, "").map_err(named("a device"))?;
    }
    let links = [
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
    ];
    for (name, to) in links {
        std::os::unix::fs::symlink(to, format!("{staging}/dev/{name}"))?;
    }
    Ok(())
}
