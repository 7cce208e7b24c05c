//! `pileus init`: the first key of a cloud that trusts only the keys that it issued.

use clap::Args;
use pileus_core::AccountId;
use pileus_node::{Engine, Node};

use crate::settings::{Settings, Up};

#[derive(Args)]
pub struct Init {
    /// Twelve-digit account number [default: 000000000000]
    #[arg(long, env = "PILEUS_ACCOUNT")]
    account: Option<String>,
    /// Name of the administrator
    #[arg(long, default_value = "admin")]
    user: String,
    #[command(flatten)]
    up: Up,
}

pub fn run(init: Init) -> Result<(), String> {
    let account = match &init.account {
        Some(text) => {
            AccountId::parse(text).ok_or(format!("{text:?} is not a twelve-digit account number"))?
        }
        None => AccountId::DEFAULT,
    };
    let settings: Settings = init.up.resolve()?;
    let config = settings.node_config()?;
    if config.engine == Engine::Memory {
        return Err("a cloud in memory forgets its keys: leave --memory out".to_owned());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let key =
        runtime.block_on(Node::init(&config, account, &init.user)).map_err(|error| error.to_string())?;
    println!("Administrator {} of account {account}. The secret is shown this once:\n", key.user_name);
    println!("aws_access_key_id = {}", key.access_key_id);
    println!("aws_secret_access_key = {}", key.secret_access_key);
    println!(
        "\nPut both lines under a profile in ~/.aws/credentials, then start with `pileus up --profile server`."
    );
    Ok(())
}
