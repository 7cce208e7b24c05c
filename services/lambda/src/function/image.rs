//! Container images as code: read from OCI layouts in the operator's folder of images, kept as blobs, unpacked on a node when a
//! function first runs there.
//!
//! Source: OCI Image Format Specification, "Image Layout", "Image Manifest", "Layer Filesystem Changeset" (whiteouts); AWS Lambda
//! Developer Guide, "Create a Lambda function using a container image". Recorded: the sentences.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

use bytes::Bytes;
use pileus_api_lambda as api;
use pileus_blobs::{Blob, Blobs};
use pileus_platform::Cx;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Code;
use super::code::blobs;
use super::unpack::{Folders, beside, remove};
use crate::error::LambdaError;
use crate::state::Lambda;

/// Source: "Lambda quotas" (container image code package size): 10 GB, uncompressed.
const MAX_IMAGE: u64 = 10 << 30;
const MAX_MANIFEST: u64 = 4 << 20;
const PART: usize = 1 << 20;

/// What an image says of how it is run, and what the function says instead.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Image {
    /// As the caller named it.
    pub uri: String,
    /// Of its manifest: `sha256:..`
    pub digest: String,
    pub layers: Vec<Blob>,
    pub entrypoint: Vec<String>,
    pub command: Vec<String>,
    pub working_directory: String,
    pub environment: BTreeMap<String, String>,
}

/// `ImageConfig`
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Overrides {
    pub entrypoint: Option<Vec<String>>,
    pub command: Option<Vec<String>>,
    pub working_directory: Option<String>,
}

impl Overrides {
    /// What is empty says nothing.
    pub fn of(given: api::ImageConfig) -> Overrides {
        let words = |list: Option<Vec<String>>| list.filter(|list| !list.is_empty());
        Overrides {
            entrypoint: words(given.entry_point),
            command: words(given.command),
            working_directory: given.working_directory.filter(|text| !text.is_empty()),
        }
    }

    pub fn show(&self) -> Option<api::ImageConfigResponse> {
        if *self == Overrides::default() {
            return None;
        }
        let image_config = api::ImageConfig {
            entry_point: self.entrypoint.clone(),
            command: self.command.clone(),
            working_directory: self.working_directory.clone(),
        };
        Some(api::ImageConfigResponse { image_config: Some(image_config), error: None })
    }
}

impl Image {
    /// Entry point, command and folder as the function runs them. An entry point of the function's own drops the image's command.
    pub fn run(&self, overrides: &Overrides) -> (Vec<String>, Vec<String>, String) {
        let command = match (&overrides.command, &overrides.entrypoint) {
            (Some(command), _) => command.clone(),
            (None, Some(_)) => Vec::new(),
            (None, None) => self.command.clone(),
        };
        let entrypoint = overrides.entrypoint.clone().unwrap_or_else(|| self.entrypoint.clone());
        let folder = overrides.working_directory.clone().unwrap_or_else(|| self.working_directory.clone());
        (entrypoint, command, folder)
    }

    /// `..dkr.ecr..amazonaws.com/name@sha256:..`
    pub fn resolved_uri(&self) -> String {
        let bare = self.uri.split('@').next().unwrap_or_default();
        let name = match bare.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => name,
            _ => bare,
        };
        format!("{name}@{}", self.digest)
    }
}

/// Repository, and a tag or a digest.
#[derive(Debug, PartialEq, Eq)]
struct Reference {
    repository: String,
    tag: String,
    digest: Option<String>,
}

/// An image of the account's own registry: `<account>.dkr.ecr.<region>.amazonaws.com/<repository>[:tag][@digest]`.
fn reference(uri: &str) -> Option<Reference> {
    let (registry, rest) = uri.split_once('/')?;
    let labels: Vec<&str> = registry.split('.').collect();
    let is_account =
        labels.first().is_some_and(|text| text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit()));
    if !is_account || labels.get(1..3) != Some(&["dkr", "ecr"][..]) {
        return None;
    }
    let (rest, digest) = match rest.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest.to_owned())),
        None => (rest, None),
    };
    let (repository, tag) = rest.rsplit_once(':').unwrap_or((rest, "latest"));
    let is_plain = |name: &str| {
        !name.is_empty()
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-/".contains(&b))
            && !name.contains("..")
    };
    let digest_is_plain =
        digest.as_ref().is_none_or(|digest| digest.strip_prefix("sha256:").is_some_and(is_plain));
    (is_plain(repository) && !repository.starts_with('/') && is_plain(tag) && digest_is_plain)
        .then(|| Reference { repository: repository.to_owned(), tag: tag.to_owned(), digest })
}

/// Reads an image and keeps its layers.
///
/// # Errors
/// `InvalidParameterValueException` for an address that names no image of this cloud, or an image that cannot be read.
pub async fn keep(cx: &Cx, uri: String, architecture: &str) -> Result<(Code, Image), LambdaError> {
    let invalid =
        || LambdaError::invalid(format!("Source image {uri} is not valid. Provide a valid source image."));
    let wanted = reference(&uri).ok_or_else(invalid)?;
    let missing =
        || LambdaError::invalid(format!("Source image {uri} does not exist. Provide a valid source image."));
    let images = cx.state::<Lambda>().images().ok_or_else(missing)?;
    let layout = images.join(&wanted.repository);
    let machine = if architecture == "arm64" { "arm64" } else { "amd64" };
    let looked = tokio::task::spawn_blocking(move || {
        Manifest::find(&layout, &wanted, machine).map(|found| (layout, found))
    });
    let looked = looked.await.map_err(|error| LambdaError::Internal(error.to_string()))?;
    let (layout, manifest) = looked.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => missing(),
        _ => LambdaError::invalid(format!("Source image {uri} cannot be read: {error}")),
    })?;
    let store = blobs(cx);
    let mut layers = Vec::with_capacity(manifest.layers.len());
    let mut size = 0u64;
    for (digest, media) in &manifest.layers {
        if !media.ends_with("tar") && !media.ends_with("gzip") {
            return Err(LambdaError::missing(&format!(
                "image layers of type {media} as code of Lambda functions"
            )));
        }
        let blob = copy(&store, &blob_path(&layout, digest), MAX_IMAGE.saturating_sub(size)).await?;
        if format!("sha256:{}", hex::encode(blob.sha256)) != *digest {
            return Err(invalid());
        }
        size += blob.length;
        layers.push(blob);
    }
    let blob = store
        .put(manifest.config_bytes.clone())
        .await
        .map_err(|error| LambdaError::Internal(error.to_string()))?;
    let image = manifest.image(uri, layers);
    Ok((Code { blob, unzipped: 0 }, image))
}

fn blob_path(layout: &Path, digest: &str) -> PathBuf {
    layout.join("blobs").join(digest.replace(':', "/"))
}

async fn copy(store: &Blobs, path: &Path, limit: u64) -> Result<Blob, LambdaError> {
    use tokio::io::AsyncReadExt as _;
    let internal = |error: &dyn std::fmt::Display| LambdaError::Internal(error.to_string());
    let mut file = tokio::fs::File::open(path).await.map_err(|error| internal(&error))?;
    let mut writer = store.writer().await.map_err(|error| internal(&error))?;
    loop {
        let mut part = Vec::with_capacity(PART);
        (&mut file).take(PART as u64).read_to_end(&mut part).await.map_err(|error| internal(&error))?;
        if part.is_empty() {
            return writer.finish().await.map_err(|error| internal(&error));
        }
        if writer.length() + part.len() as u64 > limit {
            return Err(LambdaError::invalid("Image size exceeded limit: 10 GB."));
        }
        writer.write(part.into()).await.map_err(|error| internal(&error))?;
    }
}

/// A manifest with its configuration.
struct Manifest {
    digest: String,
    config_bytes: Bytes,
    config: Value,
    /// Digest and media type, the lowest first.
    layers: Vec<(String, String)>,
}

impl Manifest {
    fn find(layout: &Path, wanted: &Reference, machine: &str) -> io::Result<Manifest> {
        let bad = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
        let index: Value = serde_json::from_slice(&read(&layout.join("index.json"))?)?;
        let mut descriptor = choose(&index, wanted).ok_or(io::ErrorKind::NotFound)?.clone();
        loop {
            let digest =
                descriptor.get("digest").and_then(Value::as_str).ok_or_else(|| bad("no digest"))?.to_owned();
            if !digest.strip_prefix("sha256:").is_some_and(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit())) {
                return Err(bad("a digest is not of SHA-256"));
            }
            let bytes = read(&blob_path(layout, &digest))?;
            if format!("sha256:{}", hex::encode(ring::digest::digest(&ring::digest::SHA256, &bytes)))
                != digest
            {
                return Err(bad("a manifest is not what its digest says"));
            }
            let manifest: Value = serde_json::from_slice(&bytes)?;
            if let Some(manifests) = manifest.get("manifests").and_then(Value::as_array) {
                let fits = |one: &&Value| {
                    let field = |name| {
                        one.get("platform").and_then(|platform| platform.get(name)).and_then(Value::as_str)
                    };
                    field("architecture") == Some(machine) && field("os").is_none_or(|os| os == "linux")
                };
                descriptor =
                    manifests.iter().find(fits).ok_or_else(|| bad("it is for other machines"))?.clone();
                continue;
            }
            let text = |value: &Value, name: &str| {
                value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
            };
            let config_digest =
                manifest.get("config").map(|config| text(config, "digest")).unwrap_or_default();
            let config_bytes = Bytes::from(read(&blob_path(layout, &config_digest))?);
            let config = serde_json::from_slice(&config_bytes)?;
            let layers = manifest.get("layers").and_then(Value::as_array).cloned().unwrap_or_default();
            let layers =
                layers.iter().map(|layer| (text(layer, "digest"), text(layer, "mediaType"))).collect();
            return Ok(Manifest { digest, config_bytes, config, layers });
        }
    }

    fn image(&self, uri: String, layers: Vec<Blob>) -> Image {
        let run = self.config.get("config").cloned().unwrap_or_default();
        let words = |name: &str| -> Vec<String> {
            let list = run.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
            list.iter().filter_map(Value::as_str).map(str::to_owned).collect()
        };
        let environment = words("Env");
        let pair =
            |text: &String| text.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
        Image {
            uri,
            digest: self.digest.clone(),
            layers,
            entrypoint: words("Entrypoint"),
            command: words("Cmd"),
            working_directory: run.get("WorkingDir").and_then(Value::as_str).unwrap_or_default().to_owned(),
            environment: environment.iter().filter_map(pair).collect(),
        }
    }
}

/// The descriptor that a tag or a digest names. A layout of one image needs no names.
fn choose<'a>(index: &'a Value, wanted: &Reference) -> Option<&'a Value> {
    let all = index.get("manifests")?.as_array()?;
    if let Some(digest) = &wanted.digest {
        return all.iter().find(|one| one.get("digest").and_then(Value::as_str) == Some(digest));
    }
    let named = |one: &&Value| {
        let note =
            |name: &str| one.get("annotations").and_then(|notes| notes.get(name)).and_then(Value::as_str);
        let is_tag = |name: &str| name == wanted.tag || name.ends_with(&format!(":{}", wanted.tag));
        ["org.opencontainers.image.ref.name", "io.containerd.image.name"]
            .iter()
            .any(|name| note(name).is_some_and(is_tag))
    };
    let has_names = all.iter().any(|one| one.get("annotations").is_some());
    all.iter().find(named).or_else(|| all.first().filter(|_| all.len() == 1 && !has_names))
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(MAX_MANIFEST).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The root of an image on this node; unpacked now if it was not before.
pub async fn unpacked(
    folders: &Folders,
    store: &Blobs,
    root: &Path,
    image: &Image,
) -> Result<PathBuf, LambdaError> {
    let name = image.digest.trim_start_matches("sha256:");
    let folder = root.join(format!("image-{name}"));
    let (store, layers) = (store.clone(), image.layers.clone());
    let fill = |to: PathBuf| async move {
        // A layer that is not a file of this machine yet.
        let fetched = beside(&to, ".layer");
        let laid = lay_all(&store, &layers, &to, &fetched).await;
        let _ = tokio::fs::remove_file(&fetched).await;
        laid
    };
    folders.make(&folder, fill).await?;
    Ok(folder)
}

async fn lay_all(store: &Blobs, layers: &[Blob], to: &Path, fetched: &Path) -> Result<(), LambdaError> {
    let internal = |error: &dyn std::fmt::Display| {
        LambdaError::Internal(format!("an image cannot be unpacked: {error}"))
    };
    for layer in layers {
        let file = match store.local_path(&layer.id) {
            Some(path) => path,
            None => fetch(store, layer, fetched).await?,
        };
        let to = to.to_owned();
        let done = tokio::task::spawn_blocking(move || lay(fs::File::open(&file)?, &to)).await;
        done.map_err(|error| internal(&error))?.map_err(|error| internal(&error))?;
    }
    let to = to.to_owned();
    let done = tokio::task::spawn_blocking(move || finish(&to)).await;
    done.map_err(|error| internal(&error))?.map_err(|error| internal(&error))
}

async fn fetch(store: &Blobs, layer: &Blob, to: &Path) -> Result<PathBuf, LambdaError> {
    use tokio::io::AsyncWriteExt as _;
    let internal = |error: &dyn std::fmt::Display| LambdaError::Internal(error.to_string());
    let mut reader = store.reader(layer, 0..layer.length).await.map_err(|error| internal(&error))?;
    let mut file = tokio::fs::File::create(to).await.map_err(|error| internal(&error))?;
    while let Some(part) = reader.next().await.map_err(|error| internal(&error))? {
        file.write_all(&part).await.map_err(|error| internal(&error))?;
    }
    file.flush().await.map_err(|error| internal(&error))?;
    Ok(to.to_owned())
}

/// Lays one layer over what is there: files come, whiteouts take.
fn lay(mut layer: impl Read + io::Seek, root: &Path) -> io::Result<()> {
    fs::create_dir_all(root)?;
    let mut magic = [0u8; 2];
    let is_gzip = layer.read_exact(&mut magic).is_ok() && magic == [0x1f, 0x8b];
    layer.rewind()?;
    let plain: Box<dyn Read> = match is_gzip {
        true => Box::new(flate2::read::MultiGzDecoder::new(io::BufReader::new(layer))),
        false => Box::new(io::BufReader::new(layer)),
    };
    let mut archive = tar::Archive::new(plain);
    archive.set_preserve_mtime(true);
    archive.set_overwrite(true);
    // Folders last: one that may not be written must hold what comes after it.
    let mut folders = Vec::new();
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = entry.path()?.into_owned();
        let Some(path) = inside(&path) else { continue };
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        let parent = resolve(root, path.parent().unwrap_or(Path::new("")));
        let Some(parent) = parent else { continue };
        if name == ".wh..wh..opq" {
            empty(&parent)?;
            continue;
        }
        if let Some(gone) = name.strip_prefix(".wh.") {
            remove(&parent.join(gone))?;
            continue;
        }
        if name.is_empty() {
            continue;
        }
        fs::create_dir_all(&parent)?;
        let target = parent.join(&name);
        match entry.header().entry_type() {
            tar::EntryType::Directory => {
                if fs::symlink_metadata(&target).is_ok_and(|there| !there.is_dir()) {
                    remove(&target)?;
                }
                fs::create_dir_all(&target)?;
                folders.push((target, entry.header().mode().unwrap_or(0o755)));
            }
            tar::EntryType::Link => {
                let to = entry.link_name()?.and_then(|to| inside(&to));
                let to = to.and_then(|to| Some(resolve(root, to.parent()?)?.join(to.file_name()?)));
                if let Some(to) = to {
                    remove(&target)?;
                    fs::hard_link(to, &target)?;
                }
            }
            tar::EntryType::Symlink => {
                if let Some(to) = entry.link_name()? {
                    remove(&target)?;
                    std::os::unix::fs::symlink(to, &target)?;
                }
            }
            tar::EntryType::Regular | tar::EntryType::Continuous | tar::EntryType::GNUSparse => {
                remove(&target)?;
                let mode = entry.header().mode().unwrap_or(0o644) & 0o777;
                write(&mut entry, &target, mode)?;
            }
            // Devices and pipes are the sandbox's.
            _ => {}
        }
    }
    for (folder, mode) in folders {
        use std::os::unix::fs::PermissionsExt as _;
        // Gone again with a later entry.
        let _ = fs::set_permissions(folder, fs::Permissions::from_mode(mode & 0o777 | 0o700));
    }
    Ok(())
}

fn write(entry: &mut impl Read, target: &Path, mode: u32) -> io::Result<()> {
    use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(target)?;
    io::copy(entry, &mut file)?;
    file.set_permissions(fs::Permissions::from_mode(mode))
}

/// A path of an archive without what leads out of it.
fn inside(path: &Path) -> Option<PathBuf> {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => clean.push(name),
            Component::CurDir | Component::RootDir => {}
            Component::ParentDir | Component::Prefix(_) => return None,
        }
    }
    Some(clean)
}

/// A folder below `root`, links followed as they mean inside of the image; `None`: it would lead out, or round in circles.
fn resolve(root: &Path, path: &Path) -> Option<PathBuf> {
    let mut rest: Vec<std::ffi::OsString> = path.iter().rev().map(ToOwned::to_owned).collect();
    let mut at = PathBuf::new();
    let mut links = 0;
    while let Some(name) = rest.pop() {
        if name == ".." {
            at.pop();
            continue;
        }
        if name == "." || name == "/" {
            continue;
        }
        let here = root.join(&at).join(&name);
        match fs::read_link(&here) {
            Ok(to) => {
                links += 1;
                if links > 40 {
                    return None;
                }
                if to.is_absolute() {
                    at = PathBuf::new();
                }
                rest.extend(to.iter().rev().map(ToOwned::to_owned));
            }
            Err(_) => at.push(name),
        }
    }
    Some(root.join(at))
}

fn empty(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        remove(&entry.path())?;
    }
    Ok(())
}

/// Makes sure of the places that a sandbox mounts over.
fn finish(root: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::create_dir_all(root)?;
    fs::set_permissions(root, fs::Permissions::from_mode(0o755))?;
    for folder in ["proc", "dev", "tmp", "etc"] {
        let place = root.join(folder);
        if !fs::symlink_metadata(&place).is_ok_and(|there| there.is_dir()) {
            remove(&place)?;
            fs::create_dir_all(&place)?;
        }
    }
    for file in ["etc/resolv.conf", "etc/hosts"] {
        let place = root.join(file);
        if !fs::symlink_metadata(&place).is_ok_and(|there| there.is_file()) {
            remove(&place)?;
            fs::write(&place, "")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_named_by_the_accounts_registry() {
        let registry = "123456789012.dkr.ecr.us-east-1.amazonaws.com";
        let cases = [
            (format!("{registry}/hello"), Some(("hello", "latest"))),
            (format!("{registry}/team/hello:v1"), Some(("team/hello", "v1"))),
            (format!("{registry}/hello@sha256:ab"), Some(("hello", "latest"))),
            (format!("{registry}/../hello:v1"), None),
            (format!("{registry}/"), None),
            ("docker.io/library/python:3.12".to_owned(), None),
            ("hello".to_owned(), None),
        ];
        for (uri, expected) in cases {
            let got = reference(&uri);
            assert_eq!(
                got.as_ref().map(|one| (one.repository.as_str(), one.tag.as_str())),
                expected,
                "{uri}"
            );
        }
    }

    fn layer(entries: &[(&str, &str)]) -> io::Cursor<Vec<u8>> {
        let mut builder = tar::Builder::new(Vec::new());
        for (path, data) in entries {
            let mut header = tar::Header::new_gnu();
            if let Some(to) = data.strip_prefix("-> ") {
                header.set_entry_type(tar::EntryType::Symlink);
                header.set_size(0);
                builder.append_link(&mut header, path, to).expect("a link");
                continue;
            }
            header.set_size(data.len() as u64);
            header.set_mode(0o644);
            // Written by hand: the builder itself refuses what leads out.
            let name = header.as_gnu_mut().expect("gnu");
            name.name[..path.len()].copy_from_slice(path.as_bytes());
            header.set_cksum();
            builder.append(&header, data.as_bytes()).expect("a file");
        }
        io::Cursor::new(builder.into_inner().expect("an archive"))
    }

    #[test]
    fn layers_lie_over_each_other_whiteouts_take_and_nothing_leads_out() {
        let dir = tempfile::tempdir().expect("a folder");
        let root = dir.path().join("root");
        let outside = dir.path().join("outside");
        fs::create_dir(&outside).expect("made");
        let out = outside.to_string_lossy().into_owned();
        lay(
            layer(&[("a/one", "1"), ("a/two", "2"), ("b/three", "3"), ("c/old", "4"), ("link", "-> a")]),
            &root,
        )
        .expect("laid");
        lay(layer(&[("a/.wh.one", ""), ("c/.wh..wh..opq", ""), ("c/new", "5"), ("link/four", "6")]), &root)
            .expect("laid");
        lay(layer(&[("evil", &format!("-> {out}")), ("evil/file", "7"), ("../up", "8")]), &root)
            .expect("laid");
        let has = |path: &str| root.join(path).is_file();
        assert!(!has("a/one") && has("a/two") && has("b/three") && !has("c/old") && has("c/new"));
        assert!(has("a/four"), "through a link inside");
        assert_eq!(fs::read_dir(&outside).expect("there").count(), 0, "a link that leads out leads nowhere");
        assert!(!dir.path().join("up").exists());
        finish(&root).expect("done");
        assert!(has("etc/resolv.conf") && root.join("proc").is_dir());
    }

    #[test]
    fn what_a_function_says_goes_over_what_its_image_says() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<String>>();
        let image = Image {
            uri: "123456789012.dkr.ecr.us-east-1.amazonaws.com/hello:v1".into(),
            digest: "sha256:ab".into(),
            layers: Vec::new(),
            entrypoint: words("/entry a"),
            command: words("app.handler"),
            working_directory: "/var/task".into(),
            environment: BTreeMap::new(),
        };
        assert_eq!(image.resolved_uri(), "123456789012.dkr.ecr.us-east-1.amazonaws.com/hello@sha256:ab");
        let plain = image.run(&Overrides::default());
        assert_eq!(plain, (words("/entry a"), words("app.handler"), "/var/task".to_owned()));
        let command = Overrides { command: Some(words("other")), ..Overrides::default() };
        assert_eq!(image.run(&command), (words("/entry a"), words("other"), "/var/task".to_owned()));
        let entry = Overrides { entrypoint: Some(words("/mine")), ..Overrides::default() };
        assert_eq!(image.run(&entry), (words("/mine"), Vec::new(), "/var/task".to_owned()));
    }
}
