//! `cargo xtask sim`: whole nodes in one thread from a seed, over a store that fails (`crates/sim`).

use crate::sh;

/// Seeds of every test run.
const SEEDS: &str = "0..250";

#[derive(clap::Args)]
pub struct Args {
    /// One seed, with its trace
    #[arg(long)]
    seed: Option<u64>,
    /// Seeds from A up to and without B
    #[arg(long, value_name = "A..B")]
    seeds: Option<String>,
    /// New seeds, for so long
    #[arg(long)]
    minutes: Option<u64>,
    /// Break the store on purpose: loses-commits, skips-checks, reads-the-past, shares-leases
    #[arg(long)]
    bug: Option<String>,
}

impl Args {
    /// What every test run does.
    pub fn short() -> Args {
        Args { seed: None, seeds: Some(SEEDS.to_owned()), minutes: None, bug: None }
    }
}

pub fn run(args: &Args) -> Result<(), String> {
    let mut command = ["run", "--quiet", "--package", "pileus-sim", "--"].map(str::to_owned).to_vec();
    let number = |number: Option<u64>| number.map(|number| number.to_string());
    let options = [
        ("--seed", number(args.seed)),
        ("--seeds", args.seeds.clone()),
        ("--minutes", number(args.minutes)),
        ("--bug", args.bug.clone()),
    ];
    for (name, value) in options {
        command.extend(value.into_iter().flat_map(|value| [name.to_owned(), value]));
    }
    sh::run("cargo", command)
}
