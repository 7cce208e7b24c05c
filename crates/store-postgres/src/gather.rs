//! Reads of single keys that come at the same moment, as one statement.
//!
//! Every request reads a row or two: of its queue, of its message. A statement for each costs the server more than the rows do.
//! So a read that finds others on their way waits for the next statement, together with all that come meanwhile; one that finds
//! none is sent at once. A read never shares a statement that was sent before it began.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use deadpool_postgres::Pool;
use pileus_store::{Found, Space, StoreError};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::read::many_of;

/// Statements under way at a time.
const STATEMENTS: usize = 2;
/// Keys of one statement: each of their values may be as large as a value can be.
const MAX_KEYS: usize = 64;

type Reply = oneshot::Sender<Result<Found, StoreError>>;

/// Cheap to clone.
#[derive(Clone)]
pub struct Gatherer(Arc<Parts>);

struct Parts {
    pool: Pool,
    handle: Handle,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    waiting: HashMap<(Space, Bytes), Vec<Reply>>,
    under_way: usize,
}

impl Gatherer {
    pub fn new(pool: Pool, handle: Handle) -> Gatherer {
        Gatherer(Arc::new(Parts { pool, handle, state: Mutex::default() }))
    }

    /// The present value.
    pub async fn get(&self, space: Space, key: Bytes) -> Result<Found, StoreError> {
        let (reply, answer) = oneshot::channel();
        let is_first = {
            let mut state = self.state();
            state.waiting.entry((space, key)).or_default().push(reply);
            let is_first = state.under_way < STATEMENTS;
            state.under_way += usize::from(is_first);
            is_first
        };
        if is_first {
            let gatherer = self.clone();
            self.0.handle.spawn(async move { gatherer.work().await });
        }
        answer.await.map_err(|_| StoreError::Closed)?
    }

    /// Reads what waits until nothing does.
    async fn work(self) {
        loop {
            let asked = {
                let mut state = self.state();
                let asked = take(&mut state.waiting);
                if asked.is_empty() {
                    state.under_way -= 1;
                    return;
                }
                asked
            };
            let (keys, replies): (Vec<_>, Vec<_>) = asked.into_iter().unzip();
            match many_of(&self.0.pool, &keys).await {
                Ok(found) => {
                    for (found, replies) in found.into_iter().zip(replies) {
                        answer(replies, &Ok(found));
                    }
                }
                Err(error) => replies.into_iter().for_each(|replies| answer(replies, &Err(error.clone()))),
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn answer(replies: Vec<Reply>, answer: &Result<Found, StoreError>) {
    for reply in replies {
        let _ = reply.send(answer.clone()); // Nobody waits for it any more.
    }
}

fn take(waiting: &mut HashMap<(Space, Bytes), Vec<Reply>>) -> Vec<((Space, Bytes), Vec<Reply>)> {
    if waiting.len() <= MAX_KEYS {
        return waiting.drain().collect();
    }
    let keys: Vec<_> = waiting.keys().take(MAX_KEYS).cloned().collect();
    keys.into_iter().filter_map(|key| waiting.remove_entry(&key)).collect()
}
