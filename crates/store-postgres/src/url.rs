//! Where the database is, and how it is spoken to: `postgres://user:password@host:port/database?..`.
//!
//! | Parameter                   | Meaning                                                                        |
//! |-----------------------------|--------------------------------------------------------------------------------|
//! | `sslmode`                   | `disable`; `prefer` (the default); `require`: encrypted, the server unchecked unless `sslrootcert` is given; `verify-ca`, `verify-full`: certificate, and with the latter name, checked |
//! | `sslrootcert`               | a PEM file of authorities; without it the public ones are trusted               |
//! | `pool_max_size`             | connections for reads and transactions of this node, 4 to 1,000; 18 by default   |
//! | `target_session_attrs`      | `read-write`, always: of several hosts the one that accepts writes is taken      |
//! | others                      | as PostgreSQL's own clients: `connect_timeout`, `options`, `application_name`, .. |

use std::path::PathBuf;
use std::time::Duration;

use pileus_store::StoreError;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};

use crate::tls::{self, Verify};

const DEFAULT_CONNECTIONS: usize = 18;

/// A database, as its URL describes it.
#[derive(Clone)]
pub struct Settings {
    pub config: Config,
    pub tls: tokio_postgres_rustls::MakeRustlsConnect,
    pub connections: usize,
    /// Host, port and database, without secrets: for messages.
    pub place: String,
}

impl Settings {
    /// # Errors
    /// `Unavailable`, naming the part of the URL that cannot be used. Never quotes the password.
    pub fn parse(url: &str) -> Result<Settings, StoreError> {
        let wrong =
            |reason: String| StoreError::unavailable(format!("the database's URL is unusable: {reason}"));
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return Err(wrong("it begins with neither postgres:// nor postgresql://".into()));
        }
        let (base, query) = url.split_once('?').unwrap_or((url, ""));
        let mut kept = Vec::new();
        let mut mode = "prefer".to_owned();
        let mut roots: Option<PathBuf> = None;
        let mut connections = DEFAULT_CONNECTIONS;
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match name {
                "sslmode" => mode = value.to_owned(),
                "sslrootcert" => roots = Some(unescape(value).into()),
                "pool_max_size" => {
                    let number = value.parse().ok().filter(|number| (4..=1_000).contains(number));
                    connections = number.ok_or_else(|| wrong("pool_max_size is not 4 to 1000".into()))?;
                }
                _ => kept.push(pair),
            }
        }
        let (ssl_mode, verify) = match (mode.as_str(), &roots) {
            ("disable", _) => (SslMode::Disable, Verify::Nothing),
            ("prefer", None) => (SslMode::Prefer, Verify::Nothing),
            ("require", None) => (SslMode::Require, Verify::Nothing),
            ("prefer" | "require" | "verify-ca", _) => (SslMode::Require, Verify::Authority),
            ("verify-full", _) => (SslMode::Require, Verify::AuthorityAndName),
            _ => return Err(wrong(format!("there is no sslmode {mode:?}"))),
        };
        let plain = if kept.is_empty() { base.to_owned() } else { format!("{base}?{}", kept.join("&")) };
        let mut config: Config = plain.parse().map_err(|error| wrong(crate::error::explain(&error)))?;
        config.ssl_mode(ssl_mode).target_session_attrs(TargetSessionAttrs::ReadWrite);
        detect_dead_peers(&mut config);
        if config.get_application_name().is_none() {
            config.application_name("pileus");
        }
        let tls = tls::connector(verify, roots.as_deref()).map_err(wrong)?;
        Ok(Settings { place: place(&config), config, tls, connections })
    }
}

/// A peer that is gone without a word is noticed within seconds, not within TCP's hours.
fn detect_dead_peers(config: &mut Config) {
    config
        .keepalives_idle(Duration::from_secs(2))
        .keepalives_interval(Duration::from_secs(1))
        .keepalives_retries(3)
        .tcp_user_timeout(Duration::from_secs(4));
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(Duration::from_secs(3));
    }
}

fn place(config: &Config) -> String {
    let ports = config.get_ports();
    let hosts = config.get_hosts().iter().enumerate().map(|(index, host)| {
        let port = ports.get(index).or(ports.first()).copied().unwrap_or(5432);
        match host {
            Host::Tcp(name) => format!("{name}:{port}"),
            Host::Unix(path) => format!("{}:{port}", path.display()),
        }
    });
    let hosts: Vec<String> = hosts.collect();
    format!("{}/{}", hosts.join(","), config.get_dbname().unwrap_or_default())
}

/// Undoes percent-encoding; what is not valid stays as it is.
fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let hex = tail.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match (byte, hex.and_then(|digits| u8::from_str_radix(digits, 16).ok())) {
            (b'%', Some(decoded)) => {
                bytes.push(decoded);
                rest = &tail[2..];
            }
            _ => {
                bytes.push(byte);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_or_refused_in_words_that_keep_the_password() {
        let cases = [
            ("plain", "postgres://me:secret@db:5433/cloud", Ok("db:5433/cloud")),
            ("several hosts", "postgresql://me:secret@a:1,b:2/cloud?sslmode=disable", Ok("a:1,b:2/cloud")),
            (
                "tls",
                "postgres://me:secret@db/cloud?sslmode=verify-full&pool_max_size=40",
                Ok("db:5432/cloud"),
            ),
            ("scheme", "mysql://me:secret@db/cloud", Err("neither postgres://")),
            ("mode", "postgres://me:secret@db/cloud?sslmode=maybe", Err("no sslmode \"maybe\"")),
            ("pool", "postgres://me:secret@db/cloud?pool_max_size=1", Err("pool_max_size is not 4 to 1000")),
            ("unknown", "postgres://me:secret@db/cloud?speed=high", Err("speed")),
            ("no file", "postgres://me:secret@db/cloud?sslrootcert=%2Fnowhere%2Fca", Err("/nowhere/ca")),
            ("port", "postgres://me:secret@db:x/cloud", Err("unusable")),
        ];
        for (name, url, expected) in cases {
            match (Settings::parse(url), expected) {
                (Ok(settings), Ok(place)) => assert_eq!(settings.place, place, "{name}"),
                (Err(error), Err(part)) => {
                    let text = error.to_string();
                    assert!(text.contains(part) && !text.contains("secret"), "{name}: {text}");
                }
                (Ok(_), Err(part)) => panic!("{name}: taken, expected {part:?}"),
                (Err(error), Ok(_)) => panic!("{name}: {error}"),
            }
        }
    }
}
