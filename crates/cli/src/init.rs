//! `pileus init`.

use clap::Args;

#[derive(Args)]
pub struct Init {}

pub fn run(_: Init) -> Result<(), String> {
    Err("not yet".into())
}
