use std::time::Duration;

use super::*;
use crate::testing;

async fn nothing_beside(_: &Store) -> Result<(), TransferError> {
    Ok(())
}

async fn exported(store: &Store) -> Vec<u8> {
    let mut export = Export::new(store, "1.0").unwrap();
    let mut file = Vec::new();
    while let Some(chunk) = export.next().await.unwrap() {
        file.extend_from_slice(&chunk);
    }
    file
}

async fn rows(store: &Store) -> Vec<(Space, Bytes, Bytes)> {
    let mut all = Vec::new();
    for space in Space::ALL {
        let mut range = KeyRange::default();
        loop {
            let page = store.scan(space, &range, 1_000).await.unwrap();
            let Some(last) = page.entries.last() else { break };
            range = range.after(&last.key);
            let kept = page.entries.into_iter().filter(|entry| is_of_the_cloud(space, &entry.key));
            all.extend(kept.map(|entry| (space, entry.key, entry.value)));
        }
    }
    all
}

/// Rows in every space, more than a page, large ones, a sequence; and what is not to be moved: a lease, reserved versions.
async fn filled() -> Store {
    let (store, _) = testing::memory().unwrap();
    for space in Space::ALL {
        for part in 0..3u16 {
            let batch = (0..400u16).fold(Batch::new(), |batch, row| {
                let key = [b"row/", &(part * 400 + row).to_be_bytes()[..]].concat();
                batch.put(space, key, vec![row as u8; usize::from(row)])
            });
            store.write(batch, Durability::Durable).await.unwrap();
        }
    }
    let large = Batch::new().put(Space::Object, "large", vec![7; Limits::DEFAULT.max_value]);
    store.write(large, Durability::Durable).await.unwrap();
    store.sequence("numbers", 10).await.unwrap();
    store.lease("work", Duration::from_secs(10)).await.unwrap().unwrap();
    store
}

#[tokio::test]
async fn what_is_exported_and_imported_is_the_same_cloud() {
    let source = filled().await;
    let file = exported(&source).await;
    let (header, entries) = check(&file[..]).unwrap();
    assert_eq!((header.release.as_str(), header.engine.as_str()), ("1.0", "memory"));
    let (target, _) = testing::memory().unwrap();
    assert_eq!(import(&target, &file[..], false, nothing_beside).await.unwrap(), entries);
    assert_eq!(rows(&target).await, rows(&source).await);
    assert_eq!(rows(&target).await.len() as u64, entries);
    assert!(!is_unfinished(&target).await.unwrap());
    // Numbers go on, a lease is free.
    assert_eq!(target.sequence("numbers", 1).await.unwrap(), 11..12);
    assert!(target.lease("work", Duration::from_secs(10)).await.unwrap().is_some());
}

#[tokio::test]
async fn an_export_shows_one_moment_of_a_store_that_goes_on_changing() {
    let source = filled().await;
    let before = rows(&source).await;
    let mut export = Export::new(&source, "1.0").unwrap();
    let mut file = Vec::new();
    let mut number = 0u32;
    while let Some(chunk) = export.next().await.unwrap() {
        file.extend_from_slice(&chunk);
        number += 1;
        let batch = Batch::new()
            .put(Space::Sys, "zz/late", number.to_be_bytes().to_vec())
            .delete(Space::Sys, [b"row/", &number.to_be_bytes()[2..]].concat());
        source.write(batch, Durability::Durable).await.unwrap();
    }
    let (target, _) = testing::memory().unwrap();
    import(&target, &file[..], false, nothing_beside).await.unwrap();
    assert_eq!(rows(&target).await, before);
}

#[tokio::test]
async fn a_store_that_holds_something_is_refused_unless_it_is_to_be_replaced() {
    let file = exported(&filled().await).await;
    let (target, _) = testing::memory().unwrap();
    let own = Batch::new().put(Space::Items, "mine", "x").put(Space::Sys, "node/session-key", "y");
    target.write(own, Durability::Durable).await.unwrap();
    let refused = import(&target, &file[..], false, nothing_beside).await.unwrap_err();
    assert!(matches!(&refused, TransferError::NotEmpty(what) if what.contains("\"items\"")), "{refused}");
    assert!(target.get(Space::Items, b"mine").await.unwrap().is_some());
    import(&target, &file[..], true, nothing_beside).await.unwrap();
    assert!(target.get(Space::Items, b"mine").await.unwrap().is_none());
    assert!(target.get(Space::Sys, b"node/session-key").await.unwrap().is_none());
}

#[tokio::test]
async fn an_import_that_was_interrupted_is_known() {
    let file = exported(&filled().await).await;
    let (target, _) = testing::memory().unwrap();
    let broken = import(&target, &file[..file.len() / 2], false, nothing_beside).await;
    assert!(matches!(broken, Err(TransferError::Cut)), "{broken:?}");
    assert!(is_unfinished(&target).await.unwrap());
    let refused = import(&target, &file[..], false, nothing_beside).await.unwrap_err().to_string();
    assert!(refused.contains("interrupted"), "{refused}");
    import(&target, &file[..], true, nothing_beside).await.unwrap();
    assert!(!is_unfinished(&target).await.unwrap());
}

#[tokio::test]
async fn no_damaged_file_is_taken_for_whole() {
    let (store, _) = testing::memory().unwrap();
    let batch = Batch::new().put(Space::Meta, "a", "1").put(Space::Queue, "b", "22");
    store.write(batch, Durability::Durable).await.unwrap();
    let file = exported(&store).await;
    check(&file[..]).unwrap();
    for length in 0..file.len() {
        assert!(check(&file[..length]).is_err(), "cut at {length}");
    }
    for at in 0..file.len() {
        for bit in [0, 7] {
            let mut flipped = file.clone();
            flipped[at] ^= 1 << bit;
            assert!(check(&flipped[..]).is_err(), "bit {bit} of byte {at}");
        }
    }
    assert!(check(&[&file[..], b"x"].concat()[..]).is_err());
    let mut newer = file.clone();
    newer[MAGIC.len() + 3] = 9;
    assert!(check(&newer[..]).unwrap_err().to_string().contains("format 9, of a newer release"));
    assert!(matches!(check(&b"hello, this is a text"[..]), Err(TransferError::Foreign)));
}
