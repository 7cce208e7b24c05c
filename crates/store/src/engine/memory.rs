//! The engine without a disk: for `--memory`, tests and the simulator. Nothing survives the process.
//!
//! Every key keeps its latest write and, while a snapshot may look at them, the writes before it. Removed keys stay as
//! tombstones for just as long.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};

use bytes::Bytes;
use pileus_core::Clock;

use super::{Engine, EngineError, SyncRead, read_page};
use crate::committer::Changes;
use crate::embedded::Embedded;
use crate::kv::SpaceMap;
use crate::{Direction, Durability, Entry, Found, KeyRange, Kv, Page, Space, StoreError, Version};

/// Opens an empty store in memory.
pub fn open(clock: Arc<dyn Clock>) -> Result<Arc<dyn Kv>, StoreError> {
    Ok(Arc::new(Embedded::start(Memory::default(), clock)?))
}

#[derive(Default)]
struct Memory(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: RwLock<State>,
    /// How many snapshots look at each tick. Locked after `state`.
    pins: Mutex<BTreeMap<u64, usize>>,
}

#[derive(Default)]
struct State {
    keys: SpaceMap<Slot>,
    /// Counts the batches applied.
    tick: u64,
    /// Keys with writes to forget, in the order of the ticks that made them so.
    garbage: VecDeque<(u64, Space, Bytes)>,
}

struct Slot {
    latest: Written,
    /// Ascending by tick.
    older: Vec<Written>,
}

struct Written {
    tick: u64,
    version: Version,
    value: Option<Bytes>,
}

impl Slot {
    fn at(&self, tick: u64) -> Option<(&Bytes, Version)> {
        let mut newest_first = std::iter::once(&self.latest).chain(self.older.iter().rev());
        let written = newest_first.find(|written| written.tick <= tick)?;
        written.value.as_ref().map(|value| (value, written.version))
    }
}

impl State {
    fn get(&self, space: Space, key: &[u8], tick: u64) -> Option<(Bytes, Version)> {
        let (value, version) = self.keys.get(space, key)?.at(tick)?;
        Some((value.clone(), version))
    }

    fn scan(
        &self,
        space: Space,
        range: &KeyRange,
        limit: usize,
        direction: Direction,
        tick: u64,
    ) -> Result<Page, EngineError> {
        let visible = |(key, slot): (&Bytes, &Slot)| {
            let (value, version) = slot.at(tick)?;
            Some(Ok(Entry { key: key.clone(), value: value.clone(), version }))
        };
        let entries = self.keys.range(space, range);
        read_page(entries, limit, direction, visible)
    }

    /// Forgets what no snapshot at or after `oldest` can see.
    fn collect(&mut self, oldest: u64) {
        while self.garbage.front().is_some_and(|(tick, ..)| *tick <= oldest) {
            let Some((_, space, key)) = self.garbage.pop_front() else { break };
            let keys = self.keys.space_mut(space);
            let Some(slot) = keys.get_mut(&key) else { continue };
            // The newest write at or before `oldest` hides all that came before it.
            let hidden = if slot.latest.tick <= oldest {
                slot.older.len()
            } else {
                slot.older.iter().rposition(|written| written.tick <= oldest).unwrap_or(0)
            };
            slot.older.drain(..hidden);
            if slot.older.is_empty() && slot.latest.value.is_none() && slot.latest.tick <= oldest {
                keys.remove(&key);
            }
        }
    }
}

impl Shared {
    fn state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SyncRead for Memory {
    fn get(&self, space: Space, key: &[u8]) -> Result<Found, EngineError> {
        Ok(self.0.state().get(space, key, u64::MAX))
    }

    fn scan(
        &self,
        space: Space,
        range: &KeyRange,
        limit: usize,
        direction: Direction,
    ) -> Result<Page, EngineError> {
        self.0.state().scan(space, range, limit, direction, u64::MAX)
    }
}

impl Engine for Memory {
    const NAME: &'static str = "memory";
    type Snapshot = Snapshot;

    fn snapshot(&self) -> Result<Snapshot, EngineError> {
        let state = self.0.state();
        let mut pins = self.0.pins.lock().unwrap_or_else(PoisonError::into_inner);
        *pins.entry(state.tick).or_default() += 1;
        Ok(Snapshot { shared: self.0.clone(), tick: state.tick })
    }

    fn apply(&self, changes: Changes, _: Durability) -> Result<(), EngineError> {
        let mut state = self.0.state.write().unwrap_or_else(PoisonError::into_inner);
        let state = &mut *state;
        state.tick += 1;
        let tick = state.tick;
        for (space, key, (version, value)) in changes.into_entries() {
            let removed = value.is_none();
            let written = Written { tick, version, value };
            match state.keys.space_mut(space).get_mut(&key) {
                Some(slot) => {
                    slot.older.push(std::mem::replace(&mut slot.latest, written));
                    state.garbage.push_back((tick, space, key));
                }
                None if removed => {}
                None => {
                    state.keys.space_mut(space).insert(key, Slot { latest: written, older: Vec::new() });
                }
            }
        }
        let pins = self.0.pins.lock().unwrap_or_else(PoisonError::into_inner);
        let oldest = pins.keys().next().copied().unwrap_or(tick);
        drop(pins);
        state.collect(oldest);
        Ok(())
    }

    fn recover(&self) -> Result<(), EngineError> {
        Ok(())
    }

    fn close(&self) -> Result<(), EngineError> {
        Ok(())
    }
}

struct Snapshot {
    shared: Arc<Shared>,
    tick: u64,
}

impl SyncRead for Snapshot {
    fn get(&self, space: Space, key: &[u8]) -> Result<Found, EngineError> {
        Ok(self.shared.state().get(space, key, self.tick))
    }

    fn scan(
        &self,
        space: Space,
        range: &KeyRange,
        limit: usize,
        direction: Direction,
    ) -> Result<Page, EngineError> {
        self.shared.state().scan(space, range, limit, direction, self.tick)
    }
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        let mut pins = self.shared.pins.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = pins.get_mut(&self.tick) {
            *count -= 1;
            if *count == 0 {
                pins.remove(&self.tick);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(memory: &Memory, version: Version, key: &'static str, value: Option<&'static str>) {
        let mut changes = Changes::default();
        let value = value.map(|value| Bytes::from_static(value.as_bytes()));
        changes.space_mut(Space::Meta).insert(Bytes::from_static(key.as_bytes()), (version, value));
        memory.apply(changes, Durability::Durable).unwrap();
    }

    #[test]
    fn a_snapshot_keeps_its_moment_and_nothing_is_kept_after_it() {
        let memory = Memory::default();
        change(&memory, 1, "a", Some("one"));
        let first = memory.snapshot().unwrap();
        change(&memory, 2, "a", Some("two"));
        let second = memory.snapshot().unwrap();
        change(&memory, 3, "a", None);
        let value = |read: &dyn SyncRead| read.get(Space::Meta, b"a").unwrap().map(|(value, _)| value);
        assert_eq!(value(&first).as_deref(), Some(&b"one"[..]));
        assert_eq!(value(&second).as_deref(), Some(&b"two"[..]));
        assert_eq!(value(&memory), None);
        drop(first);
        change(&memory, 4, "b", Some("x"));
        assert_eq!(value(&second).as_deref(), Some(&b"two"[..]));
        drop(second);
        change(&memory, 5, "b", None);
        let state = memory.0.state();
        assert!(state.keys.is_empty() && state.garbage.is_empty());
    }
}
