//! The operating system's generator.

#![allow(clippy::disallowed_methods)] // the one place that asks the operating system for chance

use pileus_core::Rng;
use ring::rand::{SecureRandom, SystemRandom};

/// Random bytes fit for secrets.
pub struct SystemRng(SystemRandom);

impl SystemRng {
    pub fn new() -> SystemRng {
        SystemRng(SystemRandom::new())
    }
}

impl Default for SystemRng {
    fn default() -> SystemRng {
        SystemRng::new()
    }
}

impl Rng for SystemRng {
    fn fill(&self, bytes: &mut [u8]) {
        self.0.fill(bytes).expect("the kernel's generator answers: getrandom(2) fails only on a bad address");
    }
}
