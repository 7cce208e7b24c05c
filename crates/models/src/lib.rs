//! The models of all APIs, embedded as text. Headers are read at the first call; a service is built when it is first asked
//! for, and lives for ever.
//!
//! | File       | Holds                                                            |
//! |------------|------------------------------------------------------------------|
//! | `catalog.rs` | the models as routing sees them                                 |
//! | `table.rs` | the texts (written by `cargo xtask models gen`)                  |

mod catalog;
mod table;

pub use catalog::catalog;

use std::sync::{LazyLock, OnceLock};

use pileus_wire::model::{self, ModelHeader};
use pileus_wire::schema::Service;

/// One API.
#[derive(Debug)]
pub struct Entry {
    /// Our name: `sqs`, `apigatewayv2`.
    pub name: &'static str,
    /// What routing needs, its overlay laid over it.
    pub header: ModelHeader,
    model: &'static str,
    overlay: &'static str,
    service: OnceLock<&'static Service>,
}

impl Entry {
    /// The whole service; built at the first call.
    pub fn service(&self) -> &'static Service {
        self.service.get_or_init(|| {
            let built = model::read(self.model).and_then(|mut model| {
                model::overlay(&mut model, self.overlay)?;
                model::build(model)
            });
            built.unwrap_or_else(|error| {
                panic!("the embedded model of {} is sound, tests say: {error}", self.name)
            })
        })
    }
}

static ENTRIES: LazyLock<Vec<Entry>> = LazyLock::new(|| table::TEXTS.iter().map(entry).collect());

fn entry((name, model, overlay): &(&'static str, &'static str, &'static str)) -> Entry {
    let header = model::read_header(model, overlay);
    let header = header.expect("headers of the embedded models are sound: a test reads each");
    Entry { name, header, model, overlay, service: OnceLock::new() }
}

/// All APIs, sorted by name.
pub fn all() -> &'static [Entry] {
    &ENTRIES
}

/// The API of this name, its header alone.
pub fn entry_of(name: &str) -> Option<&'static Entry> {
    let entries = all();
    entries.binary_search_by(|entry| entry.name.cmp(name)).ok().map(|at| &entries[at])
}

/// The service of this name.
pub fn service(name: &str) -> Option<&'static Service> {
    entry_of(name).map(Entry::service)
}

#[cfg(test)]
mod tests;
