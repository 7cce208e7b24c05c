//! Online backups of an embedded store: a socket in the data directory, which only the node's own user can open. Whoever
//! connects is sent the cloud as it is at that moment, in the form of `pileus_store::transfer`.
//!
//! Not a control endpoint: what is sent holds every secret of the cloud.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use pileus_store::Store;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;

use crate::config::{Engine, NodeConfig};
use crate::large_objects;

/// Where a node of this data directory is asked for a backup.
pub fn socket(data_dir: &Path) -> PathBuf {
    data_dir.join("backup.sock")
}

/// Listening; the socket goes when this is dropped.
pub(crate) struct Backups {
    listening: JoinHandle<()>,
    path: PathBuf,
}

/// `None` where there is nothing to back up, or where the database's own means are at hand.
pub(crate) fn serve(config: &NodeConfig, store: &Store) -> Option<Backups> {
    if !matches!(config.engine, Engine::Fjall | Engine::Redb) {
        return None;
    }
    let path = socket(&config.data_dir);
    let listener = match listen(&path) {
        Ok(listener) => listener,
        // Paths of sockets are short: a deep directory must not keep the node from starting.
        Err(error) => {
            tracing::warn!(%error, path = %path.display(), "there will be no online backups");
            return None;
        }
    };
    let (config, store) = (config.clone(), store.clone());
    let listening = tokio::spawn(async move {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    tokio::spawn(send(config.clone(), store.clone(), stream));
                }
                Err(error) => {
                    tracing::warn!(%error, "a request for a backup could not be accepted");
                    tokio::task::yield_now().await;
                }
            }
        }
    });
    Some(Backups { listening, path })
}

/// The data directory's lock is held: a socket that is there was left by a node that is gone.
fn listen(path: &Path) -> io::Result<UnixListener> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

async fn send(config: NodeConfig, store: Store, mut stream: UnixStream) {
    let sent = async {
        let mut export = large_objects::export(&config, &store).await.map_err(io::Error::other)?;
        while let Some(chunk) = export.next().await.map_err(io::Error::other)? {
            stream.write_all(&chunk).await?;
        }
        stream.shutdown().await?;
        Ok::<_, io::Error>(export.entries())
    };
    match sent.await {
        Ok(entries) => tracing::info!(entries, "a backup was taken"),
        Err(error) => tracing::warn!(%error, "a backup broke off"),
    }
}

impl Drop for Backups {
    fn drop(&mut self) {
        self.listening.abort();
        let _ = fs::remove_file(&self.path);
    }
}
