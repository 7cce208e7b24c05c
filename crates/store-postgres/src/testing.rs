//! A PostgreSQL server of one's own: in a temporary folder, on a free port of the loopback address, as an ordinary user.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// Set where a missing server is a failure and no reason to skip.
const REQUIRED: &str = "PILEUS_REQUIRE_POSTGRES";

pub struct Server {
    dir: TempDir,
    programs: PathBuf,
    port: u16,
    /// Whom to become, for the server refuses to run as root.
    user: Option<&'static str>,
}

impl Server {
    /// Starts a server, or says loudly why the caller's test is skipped: `scripts/postgres.sh` installs one.
    ///
    /// # Panics
    /// When it is installed and does not start, or is not installed and `PILEUS_REQUIRE_POSTGRES` is set.
    pub fn start() -> Option<Server> {
        Server::start_with(&[], |_| {})
    }

    /// With more settings, after `prepare` was given the data folder.
    pub fn start_with(settings: &[&str], prepare: impl FnOnce(&Path)) -> Option<Server> {
        let Some(programs) = programs() else {
            assert!(std::env::var_os(REQUIRED).is_none(), "PostgreSQL is required and not installed");
            eprintln!(
                "SKIPPED: PostgreSQL is not installed under /usr/lib/postgresql; scripts/postgres.sh installs it"
            );
            return None;
        };
        let dir = tempfile::Builder::new().prefix("pileus-postgres-").tempdir().expect("a folder is made");
        let user = is_root().then_some("postgres");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let port = listener.local_addr().expect("it has an address").port();
        drop(listener);
        let server = Server { dir, programs, port, user };
        server.give_away(server.dir.path());
        let data = server.data();
        server.run("initdb", &["-D", &data, "-U", "pileus", "-A", "trust", "-E", "UTF8", "--no-locale"]);
        let mut lines = format!(
            "listen_addresses = '127.0.0.1'\nport = {port}\nunix_socket_directories = '{}'\nmax_connections = 200\n\
             shared_buffers = 128MB\n",
            server.dir.path().display()
        );
        settings.iter().for_each(|setting| lines.push_str(&format!("{setting}\n")));
        let file = Path::new(&data).join("postgresql.auto.conf");
        std::fs::write(&file, lines).expect("settings are written");
        prepare(Path::new(&data));
        server.give_away(server.dir.path());
        server.up();
        Some(server)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn url(&self) -> String {
        format!("postgres://pileus@127.0.0.1:{}/postgres", self.port)
    }

    pub fn up(&self) {
        let log = self.dir.path().join("log");
        self.run(
            "pg_ctl",
            &["-D", &self.data(), "-w", "-t", "60", "-l", &log.display().to_string(), "start"],
        );
    }

    /// As `kill -9` of every process of it: `immediate`; or ending what runs: `fast`.
    pub fn down(&self, mode: &str) {
        self.run("pg_ctl", &["-D", &self.data(), "-w", "-t", "60", "-m", mode, "stop"]);
    }

    /// User and system time of the server's processes so far; those that have ended are not counted.
    pub fn cpu(&self) -> std::time::Duration {
        let file =
            std::fs::read_to_string(Path::new(&self.data()).join("postmaster.pid")).unwrap_or_default();
        let first = file.lines().next().unwrap_or_default().to_owned();
        let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        let stats = entries.filter_map(|entry| std::fs::read_to_string(entry.path().join("stat")).ok());
        let mut ticks = 0;
        for stat in stats {
            // After the name, which is in brackets: state, parent, .., user and system ticks of ten milliseconds.
            let (Some((pid, _)), Some((_, rest))) = (stat.split_once(' '), stat.rsplit_once(") ")) else {
                continue;
            };
            let fields: Vec<&str> = rest.split(' ').collect();
            if pid == first || fields.get(1) == Some(&first.as_str()) {
                ticks +=
                    fields.iter().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum::<u64>();
            }
        }
        std::time::Duration::from_millis(ticks * 10)
    }

    fn data(&self) -> String {
        self.dir.path().join("data").display().to_string()
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        let program = self.programs.join(program);
        let mut command = match self.user {
            Some(user) => {
                let mut command = Command::new("runuser");
                command.args(["-u", user, "--"]).arg(&program);
                command
            }
            None => Command::new(&program),
        };
        // Output to a file: a server that is started keeps the pipe of a waiting parent open.
        let log = std::fs::File::create(self.dir.path().join("output")).expect("a file is made");
        let again = log.try_clone().expect("a file is shared");
        let status = command.args(arguments).current_dir("/").stdout(log).stderr(again).status();
        let output = || std::fs::read_to_string(self.dir.path().join("output")).unwrap_or_default();
        assert!(status.is_ok_and(|status| status.success()), "{}: {}", program.display(), output());
    }

    fn give_away(&self, path: &Path) {
        if let Some(user) = self.user {
            let status = Command::new("chown").arg("-R").arg(user).arg(path).status();
            assert!(status.is_ok_and(|status| status.success()), "the folder cannot be given to {user}");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let data = self.data();
        if Path::new(&data).join("postmaster.pid").exists() {
            self.down("immediate");
        }
    }
}

/// Where the newest PostgreSQL that is installed keeps its programs.
pub fn programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    let mut folders: Vec<PathBuf> = versions.flatten().map(|version| version.path().join("bin")).collect();
    folders.retain(|folder| folder.join("initdb").exists());
    folders.sort();
    folders.pop()
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n")
}
