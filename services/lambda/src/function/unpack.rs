//! Packages as folders on this node: each is made once, and is whole or not there.
//!
//! A folder is filled under another name and gets its own with a rename. Whoever wants one that is being made waits for it. The
//! work goes on when nobody waits any more, so that it never stops in the middle; what fails leaves nothing behind, and what
//! a killed node left goes before the next attempt.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::OwnedMutexGuard;

use crate::error::LambdaError;

/// Stands between a folder's name and the process that fills it.
const HALF: &str = ".new-";

/// The folders that this node makes now.
#[derive(Default)]
pub struct Folders {
    turns: Mutex<HashMap<PathBuf, Weak<tokio::sync::Mutex<()>>>>,
}

impl Folders {
    /// Makes sure that `folder` is there, and has `fill` make it otherwise, under the name that it is given.
    ///
    /// # Errors
    /// What `fill` says, and `Internal` for what the file system does not do.
    pub async fn make<F, Fut>(&self, folder: &Path, fill: F) -> Result<(), LambdaError>
    where
        F: FnOnce(PathBuf) -> Fut + Send + 'static,
        Fut: Future<Output = Result<(), LambdaError>> + Send + 'static,
    {
        if is_there(folder).await {
            return Ok(());
        }
        let turn = self.turn(folder).await;
        if is_there(folder).await {
            return Ok(());
        }
        let folder = folder.to_owned();
        let work = tokio::spawn(async move {
            let _turn = turn;
            let half = half_of(&folder);
            blocking({
                let folder = folder.clone();
                move || remove_leftovers(&folder)
            })
            .await?;
            let filled = fill(half.clone()).await;
            blocking(move || match &filled {
                Ok(()) => rename(&half, &folder).map(|()| filled),
                Err(_) => remove(&half).map(|()| filled),
            })
            .await?
        });
        work.await.map_err(internal)?
    }

    async fn turn(&self, folder: &Path) -> OwnedMutexGuard<()> {
        let turn = {
            let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
            turns.retain(|_, turn| turn.strong_count() > 0);
            match turns.get(folder).and_then(Weak::upgrade) {
                Some(turn) => turn,
                None => {
                    let turn = Arc::new(tokio::sync::Mutex::new(()));
                    turns.insert(folder.to_owned(), Arc::downgrade(&turn));
                    turn
                }
            }
        };
        turn.lock_owned().await
    }
}

async fn is_there(folder: &Path) -> bool {
    tokio::fs::try_exists(folder).await.unwrap_or(false)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, LambdaError> {
    tokio::task::spawn_blocking(work).await.map_err(internal)?.map_err(internal)
}

fn internal(error: impl std::fmt::Display) -> LambdaError {
    LambdaError::Internal(format!("a package cannot be unpacked: {error}"))
}

/// Two nodes of one machine may share a folder, and fill it beside each other.
fn half_of(folder: &Path) -> PathBuf {
    beside(folder, &format!("{HALF}{}", std::process::id()))
}

/// A path in the same folder, whose name goes on.
pub fn beside(path: &Path, more: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(more);
    path.with_file_name(name)
}

/// Removes what was begun for this folder by processes that are gone, earlier ones with our number included.
fn remove_leftovers(folder: &Path) -> io::Result<()> {
    let (Some(root), Some(name)) = (folder.parent(), folder.file_name().and_then(|name| name.to_str()))
    else {
        return Ok(());
    };
    for entry in std::fs::read_dir(root)? {
        let entry = entry?;
        let found = entry.file_name();
        let rest = found.to_str().and_then(|found| found.strip_prefix(name)?.strip_prefix(HALF));
        let process = rest.and_then(|rest| rest.split('.').next()?.parse::<u32>().ok());
        let Some(process) = process else { continue };
        if process == std::process::id() || !Path::new("/proc").join(process.to_string()).exists() {
            remove(&entry.path())?;
        }
    }
    Ok(())
}

fn rename(half: &Path, folder: &Path) -> io::Result<()> {
    match std::fs::rename(half, folder) {
        // Another node was quicker with the same package.
        Err(_) if folder.exists() => remove(half),
        Err(error) => {
            remove(half)?;
            Err(error)
        }
        Ok(()) => Ok(()),
    }
}

/// Removes a file, a link or a folder, if it is there.
pub fn remove(path: &Path) -> io::Result<()> {
    let removed = match std::fs::symlink_metadata(path) {
        Ok(there) if there.is_dir() => std::fs::remove_dir_all(path),
        Ok(_) => std::fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::{Notify, oneshot};

    use super::*;

    fn names(root: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(root).expect("a folder");
        let mut names: Vec<String> =
            entries.map(|entry| entry.expect("one").file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    async fn write(to: PathBuf) -> Result<(), LambdaError> {
        std::fs::create_dir(&to).map_err(internal)?;
        std::fs::write(to.join("file"), "whole").map_err(internal)
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn of_many_who_want_a_folder_one_makes_it_and_nobody_sees_half_of_it() {
        let dir = tempfile::tempdir().expect("a folder");
        let (folders, made) = (Arc::new(Folders::default()), Arc::new(AtomicUsize::new(0)));
        let all = (0..32).map(|_| {
            let (folders, made, folder) = (folders.clone(), made.clone(), dir.path().join("digest"));
            tokio::spawn(async move {
                let fill = |to| async move {
                    made.fetch_add(1, Ordering::SeqCst);
                    write(to).await
                };
                folders.make(&folder, fill).await.expect("made");
                std::fs::read_to_string(folder.join("file")).expect("whole")
            })
        });
        for one in futures_util::future::join_all(all).await {
            assert_eq!(one.expect("no panic"), "whole");
        }
        assert_eq!(made.load(Ordering::SeqCst), 1);
        assert_eq!(names(dir.path()), ["digest"]);
    }

    #[tokio::test]
    async fn what_nobody_waits_for_any_more_is_finished_all_the_same() {
        let dir = tempfile::tempdir().expect("a folder");
        let (folders, folder) = (Arc::new(Folders::default()), dir.path().join("digest"));
        let (begun, has_begun) = oneshot::channel();
        let go_on = Arc::new(Notify::new());
        let waiting = {
            let (folders, folder, go_on) = (folders.clone(), folder.clone(), go_on.clone());
            let fill = |to| async move {
                begun.send(()).expect("somebody hears");
                go_on.notified().await;
                write(to).await
            };
            tokio::spawn(async move { folders.make(&folder, fill).await })
        };
        has_begun.await.expect("begun");
        waiting.abort();
        assert!(waiting.await.expect_err("ended early").is_cancelled());
        go_on.notify_one();
        // Whoever comes next waits for it rather than making it anew.
        let again = |_| async { Err(LambdaError::Internal("made twice".to_owned())) };
        folders.make(&folder, again).await.expect("there");
        assert_eq!(names(dir.path()), ["digest"]);
    }

    #[tokio::test]
    async fn what_fails_or_was_killed_leaves_nothing_behind() {
        let dir = tempfile::tempdir().expect("a folder");
        let (folders, folder) = (Folders::default(), dir.path().join("digest"));
        // No process has this number; another folder's half is not ours to remove.
        for name in ["digest.new-4294967295", "digest.new-4294967295.layer", "other.new-4294967295"] {
            std::fs::create_dir(dir.path().join(name)).expect("made");
        }
        std::fs::create_dir(half_of(&folder)).expect("made");
        let failing = |to: PathBuf| async move {
            write(to).await?;
            Err(LambdaError::Internal("the archive is not readable".to_owned()))
        };
        let error = folders.make(&folder, failing).await.expect_err("it failed");
        assert_eq!(error.to_string(), "the archive is not readable");
        assert_eq!(names(dir.path()), ["other.new-4294967295"]);
        folders.make(&folder, write).await.expect("made");
        assert_eq!(names(dir.path()), ["digest", "other.new-4294967295"]);
    }
}
