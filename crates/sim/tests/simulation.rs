//! The simulation itself: that a seed says everything, that broken stores are found, and that what was found stays fixed.

use pileus_sim::{Bug, Options, run};

#[test]
fn a_seed_says_everything() {
    let mut hashes = Vec::new();
    for seed in [3, 47, 78, 90] {
        let hash = |_| run(seed, Options::default()).expect("a simulation in which all holds").hash;
        let twice = [1, 2].map(hash);
        assert_eq!(twice[0], twice[1], "seed {seed}");
        hashes.push(twice[0]);
    }
    hashes.sort_unstable();
    hashes.dedup();
    assert_eq!(hashes.len(), 4, "other seeds, other simulations");
}

#[test]
fn a_store_with_a_fault_is_found_within_a_few_seeds() {
    const SEEDS: u64 = 12;
    for (name, bug) in Bug::ALL {
        let broken =
            (0..SEEDS).find_map(|seed| run(seed, Options { bug: Some(bug), ..Options::default() }).err());
        let broken = broken.unwrap_or_else(|| panic!("{name} was not found by {SEEDS} seeds"));
        println!("{name}: {broken}");
    }
}

/// Seeds that have found something. What they found has tests of its own, since a seed is another simulation after every
/// change of what happens in it.
#[test]
fn seeds_that_have_found_something() {
    for seed in [14, 25, 78, 234, 257, 306] {
        if let Err(broken) = run(seed, Options::default()) {
            panic!("{broken}");
        }
    }
}
