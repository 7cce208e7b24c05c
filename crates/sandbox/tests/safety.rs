//! What a function cannot do to the machine, to other functions, and to the engine. With namespaces only: level L0 is no boundary.

#![allow(clippy::unwrap_used)]

mod common;

use std::time::Duration;

use common::{Bench, text};
use pileus_sandbox::*;

const ATTEMPTS: &str = r#"
import ctypes, errno, glob, os, socket
libc = ctypes.CDLL(None, use_errno=True)

def denied(result):
    return result != 0 and errno.errorcode.get(ctypes.get_errno(), 'none')

def reads(path):
    try:
        with open(path) as file:
            file.read(1)
        return True
    except OSError:
        return False

def writes(path):
    try:
        with open(path, 'w') as file:
            file.write('x')
        return True
    except OSError:
        return False

def connects(host, port):
    try:
        socket.create_connection((host, port), 1).close()
        return True
    except OSError:
        return False

def handler(event, context):
    status = dict(line.split(':\t', 1) for line in open('/proc/self/status').read().splitlines() if ':\t' in line)
    return {
        'mount': denied(libc.mount(b'x', b'/tmp', b'tmpfs', 0, None)),
        'unshare': denied(libc.unshare(0x10000000)),
        'setns': denied(libc.setns(0, 0)),
        'ptrace': denied(libc.ptrace(16, 1, None, None)),
        'module': denied(libc.syscall(313, 0, b'', 0)),
        'bpf': denied(libc.syscall(321, 0, None, 0)),
        'io_uring': denied(libc.syscall(425, 1, None)),
        'keyctl': denied(libc.syscall(250, 0, 0, 0, 0, 0)),
        'reboot': denied(libc.syscall(169, 0, 0, 0, None)),
        'setuid': denied(libc.setuid(0)),
        'chroot': denied(libc.chroot(b'/tmp')),
        'raw': denied(min(0, libc.socket(17, 3, 0))),
        'capabilities': [status[name].strip() for name in ('CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb')],
        'no_new_privileges': status['NoNewPrivs'].strip(),
        'seccomp': status['Seccomp'].strip(),
        'uid': os.getuid(),
        'pids': sorted(int(name) for name in os.listdir('/proc') if name.isdigit()),
        'init_signal': denied(libc.kill(1, 9)) if os.path.exists('/proc/1') else 'gone',
        'init_alive': os.path.exists('/proc/1'),
        'init_environ': reads('/proc/1/environ'),
        'init_fds': bool(glob.glob('/proc/1/fd/*')),
        'reads': [path for path in event['paths'] if reads(path)],
        'writes': [path for path in ('/x', '/usr/x', '/var/task/x', '/opt/x', '/etc/passwd', '/var/runtime/python/bootstrap.py', '/proc/sys/kernel/hostname', '/proc/sysrq-trigger') if writes(path)],
        'tmp': writes('/tmp/x'),
        'listing': sorted(os.listdir('/')),
        'network': [port for port in event['ports'] if connects('127.0.0.1', port)],
        'interfaces': sorted(name for _, name in socket.if_nameindex()),
        'fds': len(os.listdir('/proc/self/fd')),
    }
"#;

#[tokio::test]
async fn a_function_can_do_nothing_to_the_machine() {
    let bench = Bench::start().await;
    if bench.level() == Level::Process {
        return;
    }
    let spec = bench.python("attempts", ATTEMPTS);
    let secret = bench.write("secret", "x", 0o644);
    let host = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = host.local_addr().unwrap().port();
    let event = serde_json::json!({
        "paths": [secret, "/etc/shadow", "/root/.bashrc", "/home", "/var/log/dpkg.log", "/proc/1/maps", "/proc/kcore", "/dev/mem", "/dev/vda"],
        "ports": [port, 22],
    });
    let seen: serde_json::Value = serde_json::from_str(&bench.call(&spec, &event.to_string()).await).unwrap();
    for name in [
        "mount", "unshare", "setns", "ptrace", "module", "bpf", "io_uring", "keyctl", "reboot", "setuid",
        "chroot", "raw",
    ] {
        // Without root there is no other user to become: not even the number is known.
        let is_unknown_user = name == "setuid" && bench.level() == Level::Rootless && seen[name] == "EINVAL";
        assert!(seen[name] == "EPERM" || is_unknown_user, "{name}: {seen}");
    }
    assert_eq!(seen["capabilities"], serde_json::json!(vec!["0000000000000000"; 5]), "{seen}");
    assert_eq!((&seen["no_new_privileges"], &seen["seccomp"]), (&"1".into(), &"2".into()));
    assert_ne!(seen["uid"], 0);
    assert_eq!(seen["pids"].as_array().unwrap().len(), 2, "its init and itself: {seen}");
    assert_eq!(seen["init_alive"], true);
    assert_eq!(seen["init_environ"], false, "{seen}");
    assert_eq!(seen["reads"], serde_json::json!([]), "{seen}");
    assert_eq!(seen["writes"], serde_json::json!([]), "{seen}");
    assert_eq!(seen["tmp"], true);
    assert_eq!(seen["network"], serde_json::json!([]));
    assert_eq!(seen["interfaces"], serde_json::json!(["lo"]));
    assert!(seen["fds"].as_u64().unwrap() < 10, "nothing is inherited: {seen}");
    bench.engine.stop().await;
}

#[tokio::test]
async fn bombs_end_as_aws_would_report_them_and_leave_no_trace() {
    let bench = Bench::start().await;
    if bench.level() == Level::Process {
        return;
    }
    let has_cgroups = !bench.engine.report().cgroups.starts_with("none");
    let disk = "def handler(e, c):\n    try:\n        with open('/tmp/x', 'wb') as f:\n            for _ in range(600):\n                f.write(b'x' * 1048576)\n    except OSError as error:\n        return error.errno\n";
    let spec = bench.python("disk", disk);
    assert_eq!(bench.call(&spec, "{}").await, libc::ENOSPC.to_string());
    let fds = "import os\ndef handler(e, c):\n    kept = []\n    try:\n        while True: kept.append(os.open('/dev/null', 0))\n    except OSError as error:\n        return [error.errno, len(kept) < 1024]\n";
    let spec = bench.python("fds", fds);
    assert_eq!(bench.call(&spec, "{}").await, format!("[{}, true]", libc::EMFILE));
    if has_cgroups {
        let memory = "def handler(e, c):\n    kept = []\n    while True: kept.append(bytearray(8 << 20))\n";
        let spec = bench.python("memory", memory);
        let outcome = bench.invoke(&spec, "{}").await;
        assert!(text(&outcome).contains("Runtime exited with error: signal: killed"), "{}", text(&outcome));
        assert_eq!(outcome.report.max_memory_mb, 256);
        let forks = "import os, time\ndef handler(e, c):\n    made = 0\n    try:\n        while made < 5000:\n            if os.fork() == 0: time.sleep(1000)\n            made += 1\n    except OSError as error:\n        return [error.errno, made < 1100]\n";
        let mut spec = bench.python("forks", forks);
        spec.memory_mb = 2048;
        assert_eq!(bench.call(&spec, "{}").await, format!("[{}, true]", libc::EAGAIN));
    }
    bench.engine.stop().await;
    assert_eq!(bench.engine.stats().environments, 0);
}

#[tokio::test]
async fn nothing_outlives_its_environment_not_even_a_daemon() {
    let bench = Bench::start().await;
    let mark = format!("outlive-{}", std::process::id());
    let source = daemon(&format!("1234{}", std::process::id()));
    let spec = bench.python(&mark, &source);
    assert_eq!(bench.call(&spec, "{}").await, "true");
    let wanted = format!("1234{}", std::process::id());
    // The program's words are to be seen a moment after it has begun.
    let begun = async {
        while running(&wanted) == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), begun)
        .await
        .expect("the daemon runs while its environment is there");
    bench.engine.drop_function(&spec.id);
    let gone = async {
        while running(&wanted) > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), gone).await.expect("the daemon ends with its environment");
    bench.engine.stop().await;
}

/// A function that leaves a process in a session of its own. `Popen` returns once that runs its program.
fn daemon(seconds: &str) -> String {
    format!(
        "import subprocess\ndef handler(e, c):\n    subprocess.Popen(['sleep', '{seconds}'], start_new_session=True)\n    return True\n"
    )
}

/// Ends the process that it holds, also when a test fails.
struct Killed(std::process::Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Processes of the machine whose command line holds `text`, this test's own excepted.
fn running(text: &str) -> usize {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = entries.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    lines.filter(|line| String::from_utf8_lossy(line).split('\0').any(|word| word == text)).count()
}

/// Not a test of its own: what `an_engine_that_is_killed_leaves_nothing_behind` kills.
#[tokio::test]
async fn the_engine_that_is_killed() {
    let Ok(mark) = std::env::var("PILEUS_TEST_MARK") else { return };
    let bench = Bench::start().await;
    let source = daemon(&mark);
    let spec = bench.python("orphan", &source);
    assert_eq!(bench.call(&spec, "{}").await, "true");
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn an_engine_that_is_killed_leaves_nothing_behind() {
    let mark = format!("5678{}", std::process::id());
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "the_engine_that_is_killed"])
        .env("PILEUS_TEST_MARK", &mark)
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let of_child = format!("{}-", child.id());
    let child = Killed(child);
    let wait = |wanted: usize| {
        let mark = mark.clone();
        let reached = async move {
            while running(&mark) != wanted {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), reached)
    };
    wait(1).await.expect("the function's process runs");
    drop(child);
    wait(0).await.expect("it ends with the engine");
    // The next engine clears away the folders of the limits.
    Bench::start().await.engine.stop().await;
    let left = std::fs::read_to_string("/proc/self/cgroup").unwrap();
    let groups = left
        .lines()
        .filter_map(|line| line.split(':').nth(2))
        .map(|path| format!("/sys/fs/cgroup/memory{path}/pileus"));
    for dir in groups.filter(|dir| std::path::Path::new(dir).exists()) {
        let stale = std::fs::read_dir(&dir)
            .unwrap()
            .flatten()
            .filter(|entry| entry.file_name().to_string_lossy().starts_with(&of_child));
        assert_eq!(stale.count(), 0, "{dir}");
    }
}
