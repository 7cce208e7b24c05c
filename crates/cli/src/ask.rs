//! Commands that ask a running node: `status`, `clock`, `reset`, `iam`, `ca`, `mail`.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::client::ask;

#[derive(Args)]
pub struct Node {
    /// Port of the node
    #[arg(long, env = "PILEUS_PORT", default_value_t = 4566)]
    port: u16,
}

#[derive(Args)]
pub struct ClockArgs {
    #[command(flatten)]
    node: Node,
    #[command(subcommand)]
    command: Option<ClockCommand>,
}

#[derive(Subcommand)]
enum ClockCommand {
    /// Move forward: `90s`, `15m`, `36h`, `35d`. Timers, expiries and waits follow
    Advance { by: String },
    /// Stand still
    Freeze,
    /// Run on from where it stands
    Resume,
}

#[derive(Args)]
pub struct Reset {
    #[command(flatten)]
    node: Node,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

#[derive(Args)]
pub struct Iam {
    #[command(subcommand)]
    command: IamCommand,
}

#[derive(Subcommand)]
enum IamCommand {
    /// Say why requests were denied: the deciding statement, and the smallest policy that would allow them
    Explain {
        /// Request id of the denied call (AWS's errors show it); without one, the latest denials
        request_id: Option<String>,
        #[command(flatten)]
        node: Node,
    },
}

#[derive(Args)]
pub struct Mail {
    #[command(flatten)]
    node: Node,
    /// Only what was sent to this address, number or device
    #[arg(long)]
    to: Option<String>,
    /// How many, the newest last
    #[arg(long, default_value_t = 10)]
    limit: u32,
}

#[derive(Args)]
pub struct Ca {
    #[command(flatten)]
    node: Node,
}

/// The local mailbox, as a person reads it.
pub fn mail(args: Mail) -> Result<(), String> {
    // Encoded as a whole: an address holds `+` and `@`.
    let encode = |text: &str| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
    let to = args.to.as_deref().map(|to| format!("&to={}", encode(to))).unwrap_or_default();
    let path = format!("/_pileus/mail?limit={}{to}", args.limit);
    let answer = ask(args.node.port, "GET", &path, None)?;
    let mails = answer.get("mails").and_then(Value::as_array).cloned().unwrap_or_default();
    if mails.is_empty() {
        println!("there is no mail");
    }
    for mail in mails.iter().rev() {
        let word = |key: &str| mail.get(key).and_then(Value::as_str).unwrap_or_default();
        let to = mail.get("to").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
        println!(
            "{}  {}  {} -> {}",
            word("at"),
            word("channel"),
            word("from"),
            to.collect::<Vec<_>>().join(", ")
        );
        if !word("subject").is_empty() {
            println!("Subject: {}", word("subject"));
        }
        println!("\n{}\n", word("body"));
    }
    Ok(())
}

pub fn status(node: Node) -> Result<(), String> {
    let health = ask(node.port, "GET", "/_pileus/health", None)?;
    let services = health.get("services").and_then(Value::as_object);
    let names: Vec<&str> = services.iter().flat_map(|map| map.keys()).map(String::as_str).collect();
    let version = health.get("version").and_then(Value::as_str).unwrap_or("?");
    println!("pileus {version} answers on port {}", node.port);
    println!("services: {}", names.join(", "));
    let answer = ask(node.port, "GET", "/_pileus/nodes", None)?;
    let nodes = answer.get("nodes").and_then(Value::as_array).cloned().unwrap_or_default();
    if !nodes.is_empty() {
        let asked = answer.get("asked").and_then(Value::as_str).unwrap_or_default();
        print!("{}", table(&nodes, asked));
    }
    Ok(())
}

/// The nodes that share a store, a line for each; a star marks the one that was asked.
fn table(nodes: &[Value], asked: &str) -> String {
    let mut text = format!(
        "\n  {:<16} {:<9} {:<10} {:<22} {:<21} {}\n",
        "NODE", "STATE", "VERSION", "ADDRESS", "SINCE", "LAST SEEN"
    );
    for node in nodes {
        let word = |key: &str| node.get(key).and_then(Value::as_str).unwrap_or("?");
        let seen = node.get("seen_seconds_ago").and_then(Value::as_f64).unwrap_or(0.0);
        let since = word("since").split('.').next().unwrap_or_default().trim_end_matches('Z');
        text.push_str(&format!(
            "{} {:<16} {:<9} {:<10} {:<22} {:<21} {seen:.0} s ago\n",
            if word("name") == asked { '*' } else { ' ' },
            word("name"),
            word("state"),
            word("version"),
            word("address"),
            since,
        ));
    }
    text
}

pub fn clock(args: ClockArgs) -> Result<(), String> {
    let port = args.node.port;
    let answer = match args.command {
        None => ask(port, "GET", "/_pileus/clock", None)?,
        Some(command) => {
            let change = match command {
                ClockCommand::Advance { by } => json!({ "advance_seconds": seconds(&by)? }),
                ClockCommand::Freeze => json!({ "freeze": true }),
                ClockCommand::Resume => json!({ "resume": true }),
            };
            ask(port, "POST", "/_pileus/clock", Some(change))?
        }
    };
    let now = answer.get("now").and_then(Value::as_str).unwrap_or("?");
    let frozen = answer.get("frozen").and_then(Value::as_bool).unwrap_or(false);
    let ahead = answer.get("ahead_seconds").and_then(Value::as_f64).unwrap_or(0.0);
    println!("{now}{} ({ahead:.0} s ahead of real time)", if frozen { ", standing still" } else { "" });
    Ok(())
}

/// `90s`, `15m`, `36h`, `35d`, or plain seconds.
fn seconds(text: &str) -> Result<f64, String> {
    let (number, unit) = match text.char_indices().find(|(_, c)| c.is_ascii_alphabetic()) {
        Some((at, _)) => text.split_at(at),
        None => (text, "s"),
    };
    let factor = match unit {
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3_600.0,
        "d" => 86_400.0,
        _ => return Err(format!("{text:?}: the unit is one of s, m, h, d")),
    };
    let number: f64 = number.parse().map_err(|_| format!("{text:?} is not a duration such as 15m"))?;
    Ok(number * factor)
}

pub fn reset(reset: Reset) -> Result<(), String> {
    if !reset.yes {
        eprint!(
            "This forgets every resource, message and identity of the node on port {}. Type `yes`: ",
            reset.node.port
        );
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).map_err(|error| error.to_string())?;
        if line.trim() != "yes" {
            return Err("nothing was changed".to_owned());
        }
    }
    ask(reset.node.port, "POST", "/_pileus/state/reset", None)?;
    println!("the node is empty");
    Ok(())
}

pub fn iam(iam: Iam) -> Result<(), String> {
    let IamCommand::Explain { request_id, node } = iam.command;
    let path = match &request_id {
        Some(id) if id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') => {
            format!("/_pileus/iam/denials?request_id={id}")
        }
        Some(id) => return Err(format!("{id:?} is not a request id")),
        None => "/_pileus/iam/denials".to_owned(),
    };
    let answer = ask(node.port, "GET", &path, None)?;
    let denials = answer.get("denials").and_then(Value::as_array).cloned().unwrap_or_default();
    if denials.is_empty() {
        return Err("the node remembers no such denial (it keeps the latest 256 since its start)".to_owned());
    }
    for denial in denials {
        let text = |key: &str| denial.get(key).and_then(Value::as_str).unwrap_or("").to_owned();
        println!(
            "{} request {}\n{}\n\n{}\n",
            text("time"),
            text("request_id"),
            text("message"),
            text("explanation")
        );
    }
    Ok(())
}

pub fn ca(ca: Ca) -> Result<(), String> {
    let pem = ask(ca.node.port, "GET", "/_pileus/ca", None)?;
    print!("{}", pem.as_str().unwrap_or_default());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_listed_and_the_asked_one_is_marked() {
        let nodes = [
            json!({ "name": "a", "state": "working", "version": "1.0", "address": "10.0.0.1:4566",
                    "since": "2026-01-01T00:00:00.000Z", "seen_seconds_ago": 0.6 }),
            json!({ "name": "b", "state": "gone" }),
        ];
        let text = table(&nodes, "a");
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[2].starts_with("* a ") && lines[2].contains("10.0.0.1:4566"), "{text}");
        assert!(lines[2].contains("2026-01-01T00:00:00 ") && lines[2].ends_with("1 s ago"), "{text}");
        assert!(lines[3].starts_with("  b ") && lines[3].contains("gone"), "{text}");
    }

    #[test]
    fn durations_are_read_with_their_unit() {
        let cases = [
            ("90s", Ok(90.0)),
            ("15m", Ok(900.0)),
            ("36h", Ok(129_600.0)),
            ("35d", Ok(3_024_000.0)),
            ("7", Ok(7.0)),
        ];
        for (text, expected) in cases {
            assert_eq!(seconds(text), expected, "{text}");
        }
        for bad in ["", "d", "5w", "1.2.3s"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }
}
