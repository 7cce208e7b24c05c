//! Zip archives: what a package holds, and unpacking it. Only what packages use: stored and deflated entries, links, modes.
//!
//! Source: PKWARE, ".ZIP File Format Specification" (APPNOTE), sections 4.3 and 4.5.

use std::fs;
use std::io::{self, Read as _};
use std::path::{Component, Path, PathBuf};

use flate2::read::DeflateDecoder;

const END: &[u8] = b"PK\x05\x06";
const ENTRY: u32 = 0x0201_4b50;
const LOCAL: u32 = 0x0403_4b50;
/// Most entries of one package: a bound on memory.
const MAX_ENTRIES: usize = 200_000;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ZipError {
    #[error("the archive is not readable: {0}")]
    Malformed(&'static str),
    #[error("the archive unpacks to more than {0} bytes")]
    TooLarge(u64),
}

const fn bad(what: &'static str) -> ZipError {
    ZipError::Malformed(what)
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub name: String,
    pub size: u64,
    compressed: u64,
    method: u16,
    offset: u64,
    /// Of a system that has them.
    mode: Option<u32>,
}

impl Entry {
    fn is_directory(&self) -> bool {
        self.name.ends_with('/')
    }

    fn is_link(&self) -> bool {
        self.mode.is_some_and(|mode| mode & 0o170_000 == 0o120_000)
    }
}

/// Reads the table of contents.
pub fn entries(archive: &[u8]) -> Result<Vec<Entry>, ZipError> {
    let from = archive.len().saturating_sub(65_557);
    let tail = archive.get(from..).unwrap_or_default();
    let end = tail.windows(4).rposition(|at| at == END).ok_or(bad("it has no end"))? + from;
    let mut count = u64::from(u16_at(archive, end + 10)?);
    let mut at = u64::from(u32_at(archive, end + 16)?);
    if (count == 0xffff || at == 0xffff_ffff)
        && let Some(locator) = end.checked_sub(20)
        && archive.get(locator..locator + 4) == Some(b"PK\x06\x07")
    {
        let end64 = usize::try_from(u64_at(archive, locator + 8)?).map_err(|_| bad("its end is far away"))?;
        count = u64_at(archive, end64.saturating_add(32))?;
        at = u64_at(archive, end64.saturating_add(48))?;
    }
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    if count > MAX_ENTRIES {
        return Err(bad("it has too many entries"));
    }
    let mut at = usize::try_from(at).map_err(|_| bad("its contents are far away"))?;
    let mut found = Vec::with_capacity(count.min(4_096));
    for _ in 0..count {
        let (entry, next) = entry_at(archive, at)?;
        found.push(entry);
        at = next;
    }
    Ok(found)
}

fn entry_at(archive: &[u8], at: usize) -> Result<(Entry, usize), ZipError> {
    if u32_at(archive, at)? != ENTRY {
        return Err(bad("an entry is broken"));
    }
    let field = |offset| u16_at(archive, at + offset).map(usize::from);
    let (name_length, extra_length, comment_length) = (field(28)?, field(30)?, field(32)?);
    let made_by_unix = u16_at(archive, at + 4)? >> 8 == 3;
    let attributes = u32_at(archive, at + 38)?;
    let name_from = at + 46;
    let extra_from = name_from + name_length;
    let name = archive.get(name_from..extra_from).ok_or(bad("a name is cut off"))?;
    let extra = archive.get(extra_from..extra_from + extra_length).ok_or(bad("an entry is cut off"))?;
    if u16_at(archive, at + 8)? & 1 != 0 {
        return Err(bad("an entry is encrypted"));
    }
    let mut entry = Entry {
        name: String::from_utf8_lossy(name).replace('\\', "/"),
        method: u16_at(archive, at + 10)?,
        compressed: u64::from(u32_at(archive, at + 20)?),
        size: u64::from(u32_at(archive, at + 24)?),
        offset: u64::from(u32_at(archive, at + 42)?),
        mode: made_by_unix.then_some(attributes >> 16).filter(|mode| *mode != 0),
    };
    widen(&mut entry, extra)?;
    Ok((entry, extra_from + extra_length + comment_length))
}

/// Sizes and offsets of more than 32 bits.
fn widen(entry: &mut Entry, mut extra: &[u8]) -> Result<(), ZipError> {
    while extra.len() >= 4 {
        let (id, length) = (u16_at(extra, 0)?, usize::from(u16_at(extra, 2)?));
        let body = extra.get(4..4 + length).ok_or(bad("an extra field is cut off"))?;
        if id == 1 {
            let mut at = 0;
            for value in [&mut entry.size, &mut entry.compressed, &mut entry.offset] {
                if *value == 0xffff_ffff {
                    *value = u64_at(body, at)?;
                    at += 8;
                }
            }
        }
        extra = &extra[4 + length..];
    }
    Ok(())
}

/// What the whole archive unpacks to, by its table of contents.
pub fn unpacked_size(entries: &[Entry]) -> u64 {
    entries.iter().fold(0u64, |sum, entry| sum.saturating_add(entry.size))
}

/// The bytes of an entry, no more than it says it has.
fn content(archive: &[u8], entry: &Entry) -> Result<Vec<u8>, ZipError> {
    let at = usize::try_from(entry.offset).map_err(|_| bad("an entry is far away"))?;
    if u32_at(archive, at)? != LOCAL {
        return Err(bad("an entry is not where it should be"));
    }
    let skip = 30 + usize::from(u16_at(archive, at + 26)?) + usize::from(u16_at(archive, at + 28)?);
    let length = usize::try_from(entry.compressed).map_err(|_| bad("an entry is too long"))?;
    let from = at.checked_add(skip).ok_or(bad("an entry is far away"))?;
    let to = from.checked_add(length).ok_or(bad("an entry is too long"))?;
    let packed = archive.get(from..to).ok_or(bad("an entry is cut off"))?;
    match entry.method {
        0 if entry.size == entry.compressed => Ok(packed.to_vec()),
        8 => {
            let mut whole = Vec::with_capacity(usize::try_from(entry.size.min(1 << 24)).unwrap_or(0));
            let mut reader = DeflateDecoder::new(packed).take(entry.size.saturating_add(1));
            reader.read_to_end(&mut whole).map_err(|_| bad("an entry does not unpack"))?;
            if whole.len() as u64 != entry.size {
                return Err(bad("an entry has another size than it says"));
            }
            Ok(whole)
        }
        _ => Err(bad("an entry is packed in an unknown way")),
    }
}

/// Reads every entry: an archive that passes can be unpacked.
pub fn verify(archive: &[u8], limit: u64) -> Result<u64, ZipError> {
    let entries = entries(archive)?;
    let size = unpacked_size(&entries);
    if size > limit {
        return Err(ZipError::TooLarge(limit));
    }
    for entry in &entries {
        inside(&entry.name)?;
        content(archive, entry)?;
    }
    Ok(size)
}

/// The path of an entry below the folder that it is unpacked into.
fn inside(name: &str) -> Result<PathBuf, ZipError> {
    let mut path = PathBuf::new();
    for part in Path::new(name).components() {
        match part {
            Component::Normal(part) => path.push(part),
            Component::CurDir => {}
            _ => return Err(bad("an entry lies outside of the archive")),
        }
    }
    Ok(path)
}

/// Unpacks into a new folder, readable by everybody. Blocking.
pub fn unpack(archive: &[u8], to: &Path) -> io::Result<()> {
    let invalid = |error: ZipError| io::Error::new(io::ErrorKind::InvalidData, error);
    let entries = entries(archive).map_err(invalid)?;
    fs::create_dir_all(to)?;
    set_mode(to, 0o755)?;
    let mut links = Vec::new();
    for entry in &entries {
        let path = to.join(inside(&entry.name).map_err(invalid)?);
        if entry.is_directory() {
            make_folders(to, &path)?;
            continue;
        }
        if let Some(parent) = path.parent() {
            make_folders(to, parent)?;
        }
        let content = content(archive, entry).map_err(invalid)?;
        if entry.is_link() {
            links.push((path, content));
            continue;
        }
        fs::write(&path, content)?;
        // Whoever built the archive may have kept everything to himself; a function runs as somebody else.
        let is_executable = entry.mode.is_some_and(|mode| mode & 0o111 != 0);
        set_mode(&path, if is_executable { 0o755 } else { 0o644 })?;
    }
    // Last, so that nothing is written through one.
    for (path, target) in links {
        let target = String::from_utf8_lossy(&target).into_owned();
        if !path.exists() {
            std::os::unix::fs::symlink(target, &path)?;
        }
    }
    Ok(())
}

fn make_folders(root: &Path, path: &Path) -> io::Result<()> {
    fs::create_dir_all(path)?;
    let mut at = path;
    while at != root {
        set_mode(at, 0o755)?;
        match at.parent() {
            Some(parent) => at = parent,
            None => break,
        }
    }
    Ok(())
}

fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

fn bytes_at<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], ZipError> {
    let found = at.checked_add(N).and_then(|end| bytes.get(at..end)).and_then(|part| part.try_into().ok());
    found.ok_or(bad("it is cut off"))
}

fn u16_at(bytes: &[u8], at: usize) -> Result<u16, ZipError> {
    bytes_at(bytes, at).map(u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Result<u32, ZipError> {
    bytes_at(bytes, at).map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Result<u64, ZipError> {
    bytes_at(bytes, at).map(u64::from_le_bytes)
}

#[cfg(test)]
mod tests;
