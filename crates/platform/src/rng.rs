//! The operating system's generator, asked for a block at a time.

#![allow(clippy::disallowed_methods)] // the one place that asks the operating system for chance

use std::cell::RefCell;

use pileus_core::Rng;
use ring::rand::{SecureRandom, SystemRandom};

/// Random bytes fit for secrets.
pub struct SystemRng(SystemRandom);

const BLOCK: usize = 1_024;

thread_local! {
    /// Bytes that no one has been given yet, and where they begin. Each byte is handed out once, then overwritten.
    static UNUSED: RefCell<([u8; BLOCK], usize)> = const { RefCell::new(([0; BLOCK], BLOCK)) };
}

impl SystemRng {
    pub fn new() -> SystemRng {
        SystemRng(SystemRandom::new())
    }

    fn ask(&self, bytes: &mut [u8]) {
        self.0.fill(bytes).expect("the kernel's generator answers: getrandom(2) fails only on a bad address");
    }
}

impl Default for SystemRng {
    fn default() -> SystemRng {
        SystemRng::new()
    }
}

impl Rng for SystemRng {
    /// A request takes a few dozen bytes in several draws: one system call serves a score of requests.
    fn fill(&self, bytes: &mut [u8]) {
        if bytes.len() > BLOCK / 4 {
            return self.ask(bytes);
        }
        UNUSED.with_borrow_mut(|(block, next)| {
            if BLOCK - *next < bytes.len() {
                self.ask(block);
                *next = 0;
            }
            let given = &mut block[*next..*next + bytes.len()];
            bytes.copy_from_slice(given);
            given.fill(0);
            *next += bytes.len();
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_byte_is_given_twice() {
        let rng = SystemRng::new();
        let mut seen = std::collections::HashSet::new();
        for _ in 0..10_000 {
            let mut bytes = [0u8; 16];
            rng.fill(&mut bytes);
            assert!(seen.insert(bytes));
        }
    }
}
