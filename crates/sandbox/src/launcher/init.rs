//! Process 1 of an environment: prepares the sandbox, starts the function's processes, reaps them, and kills them when told.
//!
//! It handles messages of the engine only and reads nothing that a function writes. When it ends, or the engine does, the
//! kernel ends every process of the environment. At level L0 there is no namespace, and it hunts its descendants itself.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::{AsFd as _, AsRawFd as _, FromRawFd as _, IntoRawFd as _, OwnedFd, RawFd};

use super::protocol::{Command, LevelWord, Notice, Start, StartError};
use super::{confine, root, tun};
use crate::{channel, sys};

/// Where the Runtime API answers, as in AWS.
pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(169, 254, 100, 1);
pub const API_PORT: u16 = 9001;
/// For a connection that never leaves this machine.
const CONNECT: std::time::Duration = std::time::Duration::from_millis(200);

/// Of `/proc`: the machine's settings, which a function could otherwise write where the engine runs as root without being able
/// to give functions users of their own.
const READ_ONLY_PROC: [&str; 4] = ["/proc/sys", "/proc/irq", "/proc/bus", "/proc/sysrq-trigger"];

struct Init {
    level: LevelWord,
    control: OwnedFd,
    log: OwnedFd,
    /// Running processes that were asked for by name.
    processes: Vec<(String, libc::pid_t)>,
    /// Where the waiting interpreter reads its release.
    release: Option<OwnedFd>,
    /// The environment's network device, until the engine has it.
    device: Option<OwnedFd>,
}

pub fn run(level: LevelWord, control: RawFd, log: RawFd, devices: Option<RawFd>) -> ! {
    let init = match prepare(level, control, log, devices) {
        Ok(init) => init,
        Err(_) => sys::exit(1),
    };
    init.serve()
}

fn prepare(level: LevelWord, control: RawFd, log: RawFd, devices: Option<RawFd>) -> io::Result<Init> {
    // A machine without such devices, or one that gives none to this user: functions reach the node and nothing beyond it.
    let device = devices.and_then(|devices| tun::open(devices).ok());
    if level != LevelWord::Process {
        // Without a namespace the init must live on for a moment, to hunt what it started.
        sys::set_parent_death_signal(libc::SIGKILL);
    }
    // Everything else is the launcher's: its own control socket, other environments' requests.
    let (control, log) = (sys::dup_above(control, 64)?, sys::dup_above(log, 64)?);
    let device = device.map(|device| sys::dup_above(device.into_raw_fd(), 64)).transpose()?;
    sys::dup_to(control, 3)?;
    sys::dup_to(log, 4)?;
    if let Some(device) = device {
        sys::dup_to(device, 5)?;
    }
    sys::close_from(5 + i32::from(device.is_some()));
    // SAFETY: numbers 3, 4 and, where there is a device, 5 were made a line above, and nothing else here owns them.
    let (control, log, device) = unsafe {
        let device = device.map(|_| OwnedFd::from_raw_fd(5));
        (OwnedFd::from_raw_fd(3), OwnedFd::from_raw_fd(4), device)
    };
    if let Some(device) = &device {
        sys::set_inheritable(device.as_fd(), false)?;
    }
    sys::set_inheritable(control.as_fd(), false)?;
    sys::set_inheritable(log.as_fd(), false)?;
    for signal in [libc::SIGCHLD, libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGPIPE] {
        sys::default_signal(signal);
    }
    match level {
        LevelWord::Process => sys::set_subreaper(),
        LevelWord::Rootless | LevelWord::Full => confine::bound()?,
    }
    Ok(Init { level, control, log, processes: Vec::new(), release: None, device })
}

impl Init {
    fn serve(mut self) -> ! {
        let children = match sys::signal_descriptor(libc::SIGCHLD) {
            Ok(children) => children,
            Err(_) => sys::exit(1),
        };
        loop {
            let Ok(ready) = sys::wait_readable(&[self.control.as_raw_fd(), children.as_raw_fd()]) else {
                self.end()
            };
            if ready[1] {
                sys::drain(children.as_fd());
                self.reap();
            }
            if !ready[0] {
                continue;
            }
            match channel::receive_blocking::<Command>(self.control.as_fd()) {
                Ok(Some((command, fds))) => self.obey(command, fds),
                Ok(None) | Err(_) => self.end(),
            }
        }
    }

    fn end(&mut self) -> ! {
        if self.level == LevelWord::Process {
            kill_descendants();
        }
        sys::exit(0)
    }

    fn say(&self, notice: &Notice, fds: &[RawFd]) {
        // A failure means that the engine is gone: the next receive sees it.
        let _ = channel::send(self.control.as_fd(), notice, fds);
    }

    fn reap(&mut self) {
        while let Some((pid, status)) = sys::reap() {
            if let Some(at) = self.processes.iter().position(|(_, known)| *known == pid) {
                let (name, _) = self.processes.swap_remove(at);
                self.say(&Notice::Exited { name, status }, &[]);
            }
        }
    }

    fn obey(&mut self, command: Command, fds: Vec<OwnedFd>) {
        let done = match command {
            Command::Prepare { hostname, endpoint_port } => self.prepare_sandbox(&hostname, endpoint_port),
            Command::Mount { targets } => attach(&targets, &fds).map(|()| self.say(&Notice::Mounted, &[])),
            Command::Attach { is_image, uid, tmp_mb, targets, release } => {
                self.attach(is_image, uid, tmp_mb, &targets, &fds, release.as_deref())
            }
            Command::Start(start) => {
                let name = start.name.clone();
                let error = self.start(start, fds).err();
                self.say(&Notice::Started { name, error }, &[]);
                Ok(())
            }
            Command::Connect { port } => {
                // In reach at once, or not there.
                let to = (Ipv4Addr::LOCALHOST, port).into();
                let stream = TcpStream::connect_timeout(&to, CONNECT).ok();
                let fds: Vec<RawFd> = stream.iter().map(|stream| stream.as_raw_fd()).collect();
                self.say(&Notice::Connected, &fds);
                Ok(())
            }
            Command::Signal { name, signal } => {
                let found = self.processes.iter().find(|(known, _)| *known == name);
                found.map_or(Ok(()), |(_, pid)| sys::kill(*pid, signal))
            }
            Command::Reset => {
                self.reset();
                self.say(&Notice::Reset, &[]);
                Ok(())
            }
        };
        if let Err(error) = done {
            self.say(&Notice::Failed { why: error.to_string() }, &[]);
        }
    }

    fn prepare_sandbox(&mut self, hostname: &str, endpoint_port: u16) -> io::Result<()> {
        if self.level == LevelWord::Process {
            let api = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            let api_port = api.local_addr()?.port();
            self.say(&Notice::Up { api_port, has_device: false }, &[api.as_raw_fd()]);
            return Ok(());
        }
        sys::set_undumpable();
        if self.level == LevelWord::Full {
            sys::unshare(libc::CLONE_NEWCGROUP)?;
        }
        sys::set_hostname(hostname)?;
        sys::raise_loopback(ADDRESS)?;
        let api = TcpListener::bind((IpAddr::V4(ADDRESS), API_PORT))?;
        let flags = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
        sys::mount("proc", "/proc", "proc", flags, "")?;
        for path in READ_ONLY_PROC {
            if std::path::Path::new(path).exists() {
                sys::mount(path, path, "", libc::MS_BIND | libc::MS_REC, "")?;
                sys::make_read_only(path)?;
            }
        }
        let endpoint = match endpoint_port {
            0 => None,
            port => Some(TcpListener::bind((IpAddr::V4(ADDRESS), port))?),
        };
        let device = self.device.take().filter(|device| tun::configure(device).is_ok());
        let mut fds = vec![api.as_raw_fd()];
        fds.extend(endpoint.as_ref().map(|endpoint| endpoint.as_raw_fd()));
        fds.extend(device.as_ref().map(|device| device.as_raw_fd()));
        self.say(&Notice::Up { api_port: API_PORT, has_device: device.is_some() }, &fds);
        Ok(())
    }

    fn attach(
        &mut self,
        is_image: bool,
        uid: u32,
        tmp_mb: u32,
        targets: &[String],
        fds: &[OwnedFd],
        release: Option<&str>,
    ) -> io::Result<()> {
        if self.level != LevelWord::Process {
            attach(targets, fds)?;
            let owner =
                if self.level == LevelWord::Full { format!(",uid={uid},gid={uid}") } else { String::new() };
            let data = format!("mode=700,size={tmp_mb}m,nr_inodes={}{owner}", u64::from(tmp_mb) * 256);
            let tmp = if is_image { "/mnt/tmp" } else { "/tmp" };
            sys::mount("tmpfs", tmp, "tmpfs", libc::MS_NOSUID | libc::MS_NODEV, &data)?;
            if is_image {
                enter_image("/mnt")?;
            } else if self.level == LevelWord::Full {
                name_users(uid)?;
            }
            confine::keep_only_init_capabilities()?;
        }
        if let (Some(release), Some(fd)) = (release, self.release.take()) {
            std::fs::File::from(fd).write_all(release.as_bytes())?;
        }
        self.say(&Notice::Attached, &[]);
        Ok(())
    }

    fn start(&mut self, start: Start, fds: Vec<OwnedFd>) -> Result<(), StartError> {
        let failed = |error: &io::Error| StartError::Exec {
            program: start.programs.first().cloned().unwrap_or_default(),
            errno: error.raw_os_error().unwrap_or(libc::EINVAL),
        };
        let program = start.programs.iter().find(|path| std::path::Path::new(path).exists()).cloned();
        let program = program.ok_or(StartError::Missing)?;
        let image = Image::new(&start, &program).map_err(|error| failed(&error))?;
        let (outcome, outcome_write) = sys::pipe().map_err(|error| failed(&error))?;
        let waiting =
            if start.is_waiting { Some(sys::pipe().map_err(|error| failed(&error))?) } else { None };
        let output = fds.first().filter(|_| start.own_output).unwrap_or(&self.log).as_raw_fd();
        // SAFETY: an init has one thread: it is a clone of the launcher, and starts none.
        let child = unsafe { sys::fork() }.map_err(|error| failed(&error))?;
        let Some(pid) = child else {
            let release = waiting.as_ref().map(|(read, _)| read.as_raw_fd());
            let error =
                become_program(self.level, &start, &image, output, release, outcome_write.as_raw_fd());
            let number = error.raw_os_error().unwrap_or(libc::EINVAL);
            // SAFETY: number 5 is the outcome pipe since `become_program`; the bytes live on this stack.
            unsafe { libc::write(OUTCOME, (&raw const number).cast(), size_of::<i32>()) };
            sys::exit(127)
        };
        drop(outcome_write);
        if let Some((_, write)) = waiting {
            self.release = Some(write);
        }
        let mut number = [0u8; 4];
        if std::fs::File::from(outcome).read_exact(&mut number).is_ok() {
            return Err(StartError::Exec { program, errno: i32::from_ne_bytes(number) });
        }
        self.processes.push((start.name, pid));
        Ok(())
    }

    /// Every process of the function is gone when this returns, and none of them is spoken of again.
    fn reset(&mut self) {
        self.processes.clear();
        self.release = None;
        if self.level == LevelWord::Process {
            kill_descendants();
            return;
        }
        loop {
            let _ = sys::kill(-1, libc::SIGKILL);
            if sys::reap_blocking().is_none() {
                return;
            }
        }
    }
}

fn attach(targets: &[String], fds: &[OwnedFd]) -> io::Result<()> {
    for (target, fd) in targets.iter().zip(fds) {
        sys::move_mount(fd.as_fd(), target)
            .map_err(|error| io::Error::new(error.kind(), format!("{target}: {error}")))?;
    }
    Ok(())
}

/// Programs look up who they are (`os.homedir`, `getpwuid`): two small files over those of every environment. They lie in `/tmp`
/// for as long as it takes to mount them.
fn name_users(uid: u32) -> io::Result<()> {
    for (path, text) in root::users(uid) {
        let file = "/tmp/.users";
        std::fs::write(file, text)?;
        sys::mount(file, path, "", libc::MS_BIND, "")?;
        std::fs::remove_file(file)?;
    }
    Ok(())
}

/// Makes the image at `root` the whole of what the function sees, with this sandbox's devices, processes and names of hosts in it.
fn enter_image(root: &str) -> io::Result<()> {
    for path in ["/proc", "/dev", "/etc/resolv.conf", "/etc/hosts"] {
        let target = format!("{root}{path}");
        sys::mount(path, &target, "", libc::MS_BIND | libc::MS_REC, "")
            .map_err(|error| io::Error::new(error.kind(), format!("{path} of the image: {error}")))?;
    }
    std::env::set_current_dir(root)?;
    sys::pivot_root(".", ".")?;
    sys::detach_mount(".")?;
    std::env::set_current_dir("/")
}

/// What exec wants, made before the fork.
struct Image {
    program: CString,
    arguments: Vec<CString>,
    environment: Vec<CString>,
}

impl Image {
    fn new(start: &Start, program: &str) -> io::Result<Image> {
        let mut arguments = vec![sys::c_string(program)?];
        for argument in &start.arguments {
            arguments.push(sys::c_string(argument)?);
        }
        let environment =
            start.environment.iter().map(|(name, value)| sys::c_string(&format!("{name}={value}")));
        Ok(Image {
            program: sys::c_string(program)?,
            arguments,
            environment: environment.collect::<io::Result<_>>()?,
        })
    }
}

/// Where a started process finds the engine's release, and where it tells why exec failed.
const RELEASE: RawFd = 3;
const OUTCOME: RawFd = 5;

/// In the child: returns only when it could not become the program.
fn become_program(
    level: LevelWord,
    start: &Start,
    image: &Image,
    output: RawFd,
    release: Option<RawFd>,
    outcome: RawFd,
) -> io::Error {
    let steps = || -> io::Result<()> {
        // Out of the way of the numbers that are about to be given new meanings.
        let outcome = sys::dup_above(outcome, 64)?;
        let output = sys::dup_above(output, 64)?;
        let release = release.map(|fd| sys::dup_above(fd, 64)).transpose()?;
        sys::dup_to(outcome, OUTCOME)?;
        sys::close_on_exec(OUTCOME)?;
        sys::dup_to(output, 1)?;
        sys::dup_to(output, 2)?;
        if let Some(release) = release {
            sys::dup_to(release, RELEASE)?;
        } else {
            sys::close(RELEASE);
        }
        sys::close(4);
        sys::close_from(OUTCOME + 1);
        sys::unblock_signals();
        sys::new_session();
        if level == LevelWord::Process {
            sys::set_parent_death_signal(libc::SIGKILL);
        }
        // An image may name a folder that it does not have; the C library's `chdir` would fail the same way.
        std::env::set_current_dir(&start.directory)?;
        confine::become_function(level, start.uid)
    };
    match steps() {
        Ok(()) => sys::exec(&image.program, &image.arguments, &image.environment),
        Err(error) => error,
    }
}

/// Without a process namespace: kills what descends from this process until nothing does. As the subreaper it inherits every
/// orphan, so nothing gets away by forking twice.
fn kill_descendants() {
    loop {
        let below = descendants();
        if below.is_empty() {
            return;
        }
        for pid in &below {
            let _ = sys::kill(*pid, libc::SIGKILL);
        }
        while sys::reap().is_some() {}
        sys::yield_now();
    }
}

fn descendants() -> Vec<libc::pid_t> {
    let mut parents = Vec::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<libc::pid_t>().ok()) else {
            continue;
        };
        let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        // The name in brackets may hold anything: the fields begin after the last bracket.
        let fields = stat.rsplit_once(") ").map(|(_, rest)| rest).unwrap_or_default();
        let parent = fields.split(' ').nth(1).and_then(|text| text.parse::<libc::pid_t>().ok());
        parents.extend(parent.map(|parent| (pid, parent)));
    }
    let mut found = vec![std::process::id() as libc::pid_t];
    let mut at = 0;
    while at < found.len() {
        let parent = found[at];
        found.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid));
        at += 1;
    }
    found.split_off(1)
}
