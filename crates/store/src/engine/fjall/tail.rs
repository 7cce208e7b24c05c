//! The last batch of a journal, when a loss of power has left it with holes.
//!
//! The pages of a batch that was being written reach the disk in any order. fjall drops a last batch whose end is missing,
//! but refuses to open when the end is there and something before it is not. Such a batch was never acknowledged: it is
//! cut off here, and kept beside. Damage further back is not touched, since that may have been acknowledged.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

/// What every batch ends with.
const TRAILER: &[u8] = b"FJL\x03";

/// A journal without its last batch, which can be put back.
pub(super) struct Cut {
    journal: PathBuf,
    whole: Vec<u8>,
    length: usize,
}

/// Cuts the last batch off the newest journal in fjall's directory; none if there is none.
pub(super) fn cut_last_batch(fjall: &Path) -> std::io::Result<Option<Cut>> {
    let Some(journal) = newest_journal(fjall)? else { return Ok(None) };
    let whole = std::fs::read(&journal)?;
    let written = written(&whole);
    if !written.ends_with(TRAILER) {
        return Ok(None);
    }
    let length = written.len() - last_batch(written).len();
    std::fs::write(journal.with_extension("cut"), &written[length..])?;
    let file = OpenOptions::new().write(true).open(&journal)?;
    file.set_len(length as u64)?;
    file.sync_all()?;
    Ok(Some(Cut { journal, whole, length }))
}

impl Cut {
    pub fn journal(&self) -> &Path {
        &self.journal
    }

    pub fn at(&self) -> usize {
        self.length
    }

    /// Undoes the cut.
    pub fn restore(self) -> std::io::Result<()> {
        let mut file = File::create(&self.journal)?;
        file.write_all(&self.whole)?;
        file.sync_all()
    }
}

/// The journal with the greatest number: the one that is written to.
pub(crate) fn newest_journal(fjall: &Path) -> std::io::Result<Option<PathBuf>> {
    let mut journals: Vec<(u64, PathBuf)> = Vec::new();
    for entry in std::fs::read_dir(fjall)? {
        let path = entry?.path();
        let number = path.file_stem().and_then(|stem| stem.to_str()?.parse().ok());
        if let Some(number) = number.filter(|_| path.extension().is_some_and(|extension| extension == "jnl"))
        {
            journals.push((number, path));
        }
    }
    Ok(journals.into_iter().max().map(|(_, path)| path))
}

/// A journal is allocated ahead: it is zero behind what was written.
pub(crate) fn written(journal: &[u8]) -> &[u8] {
    let end = journal.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    &journal[..end]
}

/// What lies behind the last trailer but one. Should a value hold the same four bytes, it is a part of the last batch,
/// and what is left of that is an unfinished batch.
pub(crate) fn last_batch(written: &[u8]) -> &[u8] {
    let body = written.strip_suffix(TRAILER).unwrap_or(written);
    let start =
        body.windows(TRAILER.len()).rposition(|window| window == TRAILER).map_or(0, |at| at + TRAILER.len());
    &written[start..]
}
