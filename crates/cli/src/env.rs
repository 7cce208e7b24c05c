//! `pileus env`: `eval "$(pileus env)"` points the AWS CLI and every SDK at the node.

use clap::Args;

#[derive(Args)]
pub struct Env {
    /// Port of the node
    #[arg(long, env = "PILEUS_PORT", default_value_t = 4566)]
    port: u16,
    /// Region to work in
    #[arg(long, env = "PILEUS_REGION", default_value = "us-east-1")]
    region: String,
    /// Access key id: `test` (or a 12-digit account number) works in the development profile
    #[arg(long, default_value = "test")]
    access_key_id: String,
    /// Its secret
    #[arg(long, default_value = "test")]
    secret_access_key: String,
    /// Lines that take it all back
    #[arg(long)]
    unset: bool,
}

pub fn run(env: Env) -> Result<(), String> {
    let values = [
        ("AWS_ENDPOINT_URL", format!("http://localhost:{}", env.port)),
        ("AWS_ACCESS_KEY_ID", env.access_key_id),
        ("AWS_SECRET_ACCESS_KEY", env.secret_access_key),
        ("AWS_REGION", env.region.clone()),
        ("AWS_DEFAULT_REGION", env.region),
    ];
    for (name, value) in values {
        if env.unset {
            println!("unset {name}");
        } else {
            println!("export {name}={}", quoted(&value));
        }
    }
    if !env.unset {
        println!("# Version 1 of the AWS CLI ignores AWS_ENDPOINT_URL for SQS alone; there, add:");
        println!("#   aws --endpoint-url http://localhost:{} sqs ..", env.port);
    }
    Ok(())
}

/// As a shell word.
pub fn quoted(value: &str) -> String {
    let is_plain = value.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_./:+=".contains(&b));
    if is_plain { value.to_owned() } else { format!("'{}'", value.replace('\'', r"'\''")) }
}
