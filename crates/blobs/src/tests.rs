//! What every backend does, and what files do when something breaks.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use pileus_core::{BoxFuture, Clock, SeededRng, Timestamp};
use proptest::prelude::*;

use crate::{Blob, BlobError, BlobId, Blobs, Swept};

/// Stands still until it is set.
struct HandClock(Mutex<Timestamp>);

impl HandClock {
    fn new() -> Arc<HandClock> {
        Arc::new(HandClock(Mutex::new(Timestamp::from_secs(1_700_000_000))))
    }

    fn advance(&self, by: Duration) {
        *self.0.lock().unwrap() += by;
    }
}

impl Clock for HandClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }

    fn sleep_until(&self, _: Timestamp) -> BoxFuture<'static, ()> {
        Box::pin(std::future::pending())
    }
}

fn files(root: &Path) -> (Blobs, Arc<HandClock>) {
    let clock = HandClock::new();
    let blobs = Blobs::files(root, clock.clone(), Arc::new(SeededRng::new(1))).unwrap();
    (blobs.area("test"), clock)
}

fn memory() -> Blobs {
    Blobs::memory(HandClock::new(), Arc::new(SeededRng::new(1))).area("test")
}

async fn read(blobs: &Blobs, blob: &Blob, range: std::ops::Range<u64>) -> Vec<u8> {
    let mut reader = blobs.reader(blob, range).await.unwrap();
    let mut whole = Vec::new();
    while let Some(part) = reader.next().await.unwrap() {
        whole.extend_from_slice(&part);
        assert!(!part.is_empty());
    }
    assert_eq!(reader.left(), 0);
    whole
}

/// Every file below `root`, whatever its name.
fn all_files(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(all_files(&path)) } else { found.push(path) }
    }
    found
}

fn only_file(root: &Path) -> PathBuf {
    let mut files = all_files(root);
    assert_eq!(files.len(), 1);
    files.remove(0)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn what_was_written_in_pieces_is_read_in_ranges(
        pieces in prop::collection::vec(0usize..700_000, 0..6),
        start in 0u64..3_000_000,
        length in 0u64..3_000_000,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let dir = tempfile::tempdir().unwrap();
        for blobs in [files(dir.path()).0, memory()] {
            runtime.block_on(async {
                let mut expected = Vec::new();
                let mut writer = blobs.writer().await.unwrap();
                for (i, piece) in pieces.iter().enumerate() {
                    let piece: Vec<u8> = (0..*piece).map(|at| (at * 31 + i) as u8).collect();
                    expected.extend_from_slice(&piece);
                    writer.write(piece.into()).await.unwrap();
                }
                let blob = writer.finish().await.unwrap();
                assert_eq!(blob.length, expected.len() as u64);
                assert_eq!(blob.sha256, ring::digest::digest(&ring::digest::SHA256, &expected).as_ref());
                assert_eq!(blobs.read(&blob, u64::MAX).await.unwrap(), expected);
                let at = |at: u64| (at as usize).min(expected.len());
                let part = &expected[at(start)..at(start + length)];
                assert!(read(&blobs, &blob, start..start + length).await == part);
            });
        }
    }
}

#[tokio::test]
async fn a_linked_blob_outlives_the_one_that_it_was_made_of() {
    let dir = tempfile::tempdir().unwrap();
    for blobs in [files(dir.path()).0, memory()] {
        let blob = blobs.put(Bytes::from_static(b"hello")).await.unwrap();
        let linked = blobs.link(&blob).await.unwrap().expect("both can link");
        assert_ne!(linked.id, blob.id);
        assert_eq!(Blob { id: blob.id.clone(), ..linked.clone() }, blob);
        blobs.delete(&blob.id).await.unwrap();
        assert_eq!(&blobs.read(&linked, 5).await.unwrap()[..], b"hello");
        // Each name is swept by itself.
        let kept = linked.id.clone();
        let swept = blobs.sweep(Duration::ZERO, |_| {
            let kept = HashSet::from([kept.clone()]);
            async move { Ok::<_, BlobError>(kept) }
        });
        assert_eq!(swept.await.unwrap(), Swept { asked: 1, deleted: 0, unfinished: 0 });
        assert!(matches!(blobs.link(&blob).await, Err(BlobError::NotFound(id)) if id == blob.id));
        blobs.delete(&linked.id).await.unwrap();
    }
    assert_eq!(all_files(dir.path()), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn a_deleted_blob_is_gone_and_may_be_deleted_again() {
    let dir = tempfile::tempdir().unwrap();
    for blobs in [files(dir.path()).0, memory()] {
        let blob = blobs.put(Bytes::from_static(b"hello")).await.unwrap();
        let other = blobs.put(Bytes::from_static(b"hello")).await.unwrap();
        assert_ne!(blob.id, other.id);
        assert_eq!(blobs.parts.backend.length(&blob.id).await.unwrap(), Some(5));
        blobs.delete(&blob.id).await.unwrap();
        blobs.delete(&blob.id).await.unwrap();
        assert_eq!(blobs.parts.backend.length(&blob.id).await.unwrap(), None);
        assert!(matches!(blobs.reader(&blob, 0..1).await, Err(BlobError::NotFound(id)) if id == blob.id));
        assert_eq!(blobs.read(&other, 5).await.unwrap(), "hello");
        assert!(matches!(blobs.read(&other, 4).await, Err(BlobError::TooLarge { limit: 4 })));
    }
}

#[tokio::test]
async fn a_reader_goes_on_when_its_blob_is_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let (blobs, _) = files(dir.path());
    let blob = blobs.put(vec![7; 3 << 20].into()).await.unwrap();
    let mut reader = blobs.reader(&blob, 0..u64::MAX).await.unwrap();
    let mut length = reader.next().await.unwrap().unwrap().len();
    blobs.delete(&blob.id).await.unwrap();
    while let Some(part) = reader.next().await.unwrap() {
        length += part.len();
    }
    assert_eq!(length, 3 << 20);
}

#[tokio::test]
async fn an_unfinished_blob_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (blobs, _) = files(dir.path());
    let mut writer = blobs.writer().await.unwrap();
    writer.write(vec![1; 2 << 20].into()).await.unwrap();
    assert_eq!(all_files(dir.path()).len(), 1);
    drop(writer);
    assert_eq!(all_files(dir.path()), Vec::<PathBuf>::new());

    let mut writer = blobs.writer().await.unwrap().limited(10);
    writer.write(vec![1; 10].into()).await.unwrap();
    assert!(matches!(writer.write(vec![1; 1].into()).await, Err(BlobError::TooLarge { limit: 10 })));
    drop(writer);
    assert_eq!(all_files(dir.path()), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn a_blob_that_cannot_get_its_name_is_not_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let (blobs, _) = files(dir.path());
    let mut writer = blobs.writer().await.unwrap();
    writer.write(vec![1; 100].into()).await.unwrap();
    fs::remove_file(only_file(dir.path())).unwrap();
    assert!(matches!(writer.finish().await, Err(BlobError::Io(_))));
    assert_eq!(all_files(dir.path()), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn a_torn_file_is_never_read_as_the_blob() {
    let dir = tempfile::tempdir().unwrap();
    let (blobs, _) = files(dir.path());
    let bytes: Vec<u8> = (0..600_000u32).map(|at| at as u8).collect();
    let blob = blobs.put(bytes.clone().into()).await.unwrap();
    let path = only_file(dir.path());
    assert_eq!(blobs.local_path(&blob.id), Some(path.clone()));
    let is_corrupt = |result: Result<Bytes, BlobError>| matches!(result, Err(BlobError::Corrupt { id, .. }) if id == blob.id);
    for torn in [&bytes[..0], &bytes[..4_096], &bytes[..599_999], &[&bytes[..], b"x"].concat()[..]] {
        fs::write(&path, torn).unwrap();
        assert!(is_corrupt(blobs.read(&blob, u64::MAX).await), "{} bytes", torn.len());
        assert!(blobs.reader(&blob, 0..10).await.is_err());
    }
    let mut holed = bytes.clone();
    holed[300_000] ^= 1;
    fs::write(&path, holed).unwrap();
    assert!(is_corrupt(blobs.read(&blob, u64::MAX).await));
    assert!(blobs.verify(&blob).await.is_err());
    fs::write(&path, bytes).unwrap();
    blobs.verify(&blob).await.unwrap();
}

#[tokio::test]
async fn a_sweep_takes_what_is_old_and_unreferenced_and_what_dead_writers_left() {
    let dir = tempfile::tempdir().unwrap();
    let (blobs, clock) = files(dir.path());
    let day = Duration::from_secs(86_400);
    let mut kept = HashSet::new();
    let mut orphans = Vec::new();
    for i in 0..40u8 {
        let blob = blobs.put(vec![i; 10].into()).await.unwrap();
        if i % 2 == 0 {
            kept.insert(blob.id);
        } else {
            orphans.push(blob);
        }
    }
    let elsewhere = blobs.area("other").put(Bytes::from_static(b"other")).await.unwrap();
    let sweep = async || {
        let answer = |ids: Vec<BlobId>| {
            let kept: HashSet<BlobId> = ids.into_iter().filter(|id| kept.contains(id)).collect();
            async move { Ok::<_, BlobError>(kept) }
        };
        blobs.sweep(day, answer).await.unwrap()
    };
    assert_eq!(sweep().await, Swept::default());

    clock.advance(day);
    let young = blobs.put(Bytes::from_static(b"young")).await.unwrap();
    let mut writer = blobs.writer().await.unwrap();
    // A writer that the process took with it when it died, and a file that is not ours.
    let folder = only_file(&dir.path().join("other")).parent().unwrap().to_owned();
    let ours = dir.path().join("test").join(folder.file_name().unwrap());
    fs::create_dir_all(&ours).unwrap();
    fs::write(ours.join("0123456789abcdef0123.part"), "torn").unwrap();
    fs::write(ours.join("notes.txt"), "someone's").unwrap();

    assert_eq!(sweep().await, Swept { asked: 40, deleted: 20, unfinished: 1 });
    assert_eq!(sweep().await, Swept { asked: 20, deleted: 0, unfinished: 0 });
    for orphan in &orphans {
        assert!(matches!(blobs.verify(orphan).await, Err(BlobError::NotFound(_))));
    }
    blobs.verify(&young).await.unwrap();
    blobs.verify(&elsewhere).await.unwrap();
    writer.write(Bytes::from_static(b"slow")).await.unwrap();
    let slow = writer.finish().await.unwrap();
    blobs.verify(&slow).await.unwrap();

    blobs.clear().await.unwrap();
    let left: Vec<PathBuf> = all_files(dir.path());
    assert_eq!(left, [ours.join("notes.txt")]);
}

#[tokio::test]
async fn a_failed_question_deletes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (blobs, clock) = files(dir.path());
    let blob = blobs.put(Bytes::from_static(b"x")).await.unwrap();
    clock.advance(Duration::from_secs(100));
    let refuse = |_: Vec<BlobId>| async { Err::<HashSet<BlobId>, _>(BlobError::TooLarge { limit: 0 }) };
    assert!(blobs.sweep(Duration::from_secs(1), refuse).await.is_err());
    blobs.verify(&blob).await.unwrap();
}
