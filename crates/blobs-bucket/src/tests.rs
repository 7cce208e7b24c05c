//! The backend over a bucket in memory. `tests/cluster/test_bucket.py` has one that answers over HTTP.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, PutPayload};
use pileus_blobs::backend::Backend;
use pileus_blobs::{Blob, BlobError, Blobs, Swept};
use pileus_core::{BoxFuture, Clock, SeededRng, Timestamp};

use crate::bucket::PART;
use crate::{Bucket, BucketUrl, ClaimError};

const DAY: Duration = Duration::from_secs(86_400);

/// Stands still until it is set. The store in memory has the machine's own time.
struct HandClock(Mutex<Timestamp>);

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

struct Bench {
    store: Arc<InMemory>,
    clock: Arc<HandClock>,
    blobs: Blobs,
}

impl Bench {
    /// The time is far after that of anything that the store in memory takes.
    fn new() -> Bench {
        let store = Arc::new(InMemory::new());
        let clock = Arc::new(HandClock(Mutex::new(Timestamp::from_secs(1_700_000_000))));
        let bucket = Bucket::over(store.clone(), "cloud/a", clock.clone());
        let blobs = Blobs::new(Arc::new(bucket), clock.clone(), Arc::new(SeededRng::new(1))).area("test");
        Bench { store, clock, blobs }
    }

    fn bucket(&self) -> Bucket {
        Bucket::over(self.store.clone(), "cloud/a", self.clock.clone())
    }

    async fn objects(&self) -> Vec<String> {
        let listed = self.store.list_with_delimiter(None).await.unwrap();
        let (mut folders, mut found) = (listed.common_prefixes, Vec::new());
        while let Some(folder) = folders.pop() {
            let listed = self.store.list_with_delimiter(Some(&folder)).await.unwrap();
            folders.extend(listed.common_prefixes);
            found.extend(listed.objects.into_iter().map(|object| object.location.to_string()));
        }
        found.sort();
        found
    }
}

fn bytes(length: usize) -> Bytes {
    (0..length).map(|at| (at * 31 / 7) as u8).collect::<Vec<u8>>().into()
}

async fn write(blobs: &Blobs, bytes: &Bytes) -> Blob {
    let mut writer = blobs.writer().await.unwrap();
    for piece in bytes.chunks(700_001) {
        writer.write(Bytes::copy_from_slice(piece)).await.unwrap();
    }
    writer.finish().await.unwrap()
}

async fn read(blobs: &Blobs, blob: &Blob, range: std::ops::Range<u64>) -> Vec<u8> {
    let mut reader = blobs.reader(blob, range).await.unwrap();
    let mut whole = Vec::new();
    while let Some(part) = reader.next().await.unwrap() {
        whole.extend_from_slice(&part);
    }
    whole
}

#[tokio::test]
async fn blobs_of_every_length_are_read_whole_and_in_ranges() {
    let bench = Bench::new();
    for length in [0, 1, PART - 1, PART, PART + 1, 2 * PART, 2 * PART + 77] {
        let expected = bytes(length);
        let blob = write(&bench.blobs, &expected).await;
        assert_eq!(blob.length, length as u64);
        assert_eq!(bench.blobs.read(&blob, u64::MAX).await.unwrap(), expected, "{length}");
        assert_eq!(bench.bucket().length(&blob.id).await.unwrap(), Some(length as u64));
        let end = length as u64;
        for range in [0..0, 0..1, end / 2..end, end..end + 5, end.saturating_sub(3)..end] {
            let (from, to) = ((range.start as usize).min(length), (range.end as usize).min(length));
            assert_eq!(
                read(&bench.blobs, &blob, range.clone()).await,
                expected[from..to],
                "{length} {range:?}"
            );
        }
        bench.blobs.delete(&blob.id).await.unwrap();
        bench.blobs.delete(&blob.id).await.unwrap();
        assert_eq!(bench.bucket().length(&blob.id).await.unwrap(), None);
        assert!(matches!(bench.blobs.reader(&blob, 0..1).await, Err(BlobError::NotFound(_))));
    }
    assert_eq!(bench.objects().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_blob_of_another_length_is_damaged() {
    let bench = Bench::new();
    for length in [100, PART + 100] {
        let blob = write(&bench.blobs, &bytes(length)).await;
        let objects = bench.objects().await;
        let path = objects.iter().find(|path| length < PART || path.contains("/parts/")).unwrap();
        bench.store.put(&Path::from(path.as_str()), PutPayload::from_static(b"short")).await.unwrap();
        for range in [0..1, 90..100] {
            let opened = bench.blobs.reader(&blob, range).await;
            assert!(matches!(opened, Err(BlobError::Corrupt { .. })), "{length}");
        }
        bench.blobs.delete(&blob.id).await.unwrap();
    }
}

#[tokio::test]
async fn a_sweep_removes_what_nobody_refers_to() {
    let bench = Bench::new();
    let kept = write(&bench.blobs, &bytes(10)).await;
    let large = write(&bench.blobs, &bytes(PART + 1)).await;
    write(&bench.blobs, &bytes(20)).await;
    write(&bench.blobs, &bytes(PART + 2)).await;
    // A writer that died between its bytes and its name.
    let chance = "00112233445566778899";
    let lost = Path::from(format!("cloud/a/parts/test/00/{chance}"));
    bench.store.put(&lost, PutPayload::from_static(b"lost")).await.unwrap();
    let referenced: HashSet<_> = [kept.id.clone(), large.id.clone()].into();
    let sweep = |age| {
        let referenced = &referenced;
        bench.blobs.sweep(age, move |ids| async move {
            Ok::<_, BlobError>(ids.into_iter().filter(|id| referenced.contains(id)).collect())
        })
    };
    assert_eq!(sweep(DAY).await.unwrap(), Swept::default());
    // Younger by the hand clock than by the machine's: what lies apart has the machine's time, long after 2023.
    *bench.clock.0.lock().unwrap() += 100 * 365 * DAY;
    assert_eq!(sweep(DAY).await.unwrap(), Swept { asked: 4, deleted: 2, unfinished: 1 });
    assert_eq!(bench.objects().await.len(), 3);
    assert_eq!(bench.blobs.read(&large, u64::MAX).await.unwrap(), bytes(PART + 1));
    assert_eq!(bench.bucket().areas().await.unwrap(), ["test"]);
    bench.blobs.clear().await.unwrap();
    assert_eq!(bench.objects().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_dropped_writer_leaves_nothing() {
    let bench = Bench::new();
    for length in [10, 2 * PART + 1] {
        let mut writer = bench.blobs.writer().await.unwrap();
        writer.write(bytes(length)).await.unwrap();
        drop(writer);
    }
    assert_eq!(bench.objects().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_bucket_is_one_clouds() {
    let bench = Bench::new();
    let url = BucketUrl::parse("s3://box/cloud/a").unwrap();
    bench.bucket().claim("one", &url).await.unwrap();
    bench.bucket().claim("one", &url).await.unwrap();
    assert!(matches!(bench.bucket().claim("two", &url).await, Err(ClaimError::Taken { .. })));
    let beside = Bucket::over(bench.store.clone(), "cloud/b", bench.clock.clone());
    beside.claim("two", &url).await.unwrap();
}
