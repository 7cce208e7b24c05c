//! `/opt`: several layers as one folder, a later layer's file in place of an earlier one's.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Several environments may merge the same layers at once: each has a folder of its own until one of them is the whole.
static PARTS: AtomicU64 = AtomicU64::new(0);

/// One layer is used as it lies; several are merged by hard links (copies where the file system is another) under `dir`.
pub fn merged(dir: &Path, layers: &[PathBuf]) -> io::Result<Option<PathBuf>> {
    match layers {
        [] => return Ok(None),
        [one] => return Ok(Some(one.clone())),
        _ => {}
    }
    let mut name: u64 = 0xcbf2_9ce4_8422_2325;
    for layer in layers {
        for byte in layer.as_os_str().as_encoded_bytes().iter().chain(b"\n") {
            name = (name ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
        }
    }
    let whole = dir.join(format!("{name:016x}"));
    if whole.exists() {
        return Ok(Some(whole));
    }
    let number = PARTS.fetch_add(1, Ordering::Relaxed);
    let part = dir.join(format!("{name:016x}.part-{}-{number}", std::process::id()));
    let _ = fs::remove_dir_all(&part);
    let laid = layers.iter().try_for_each(|layer| lay(layer, &part));
    match laid.and_then(|()| fs::rename(&part, &whole)) {
        // Somebody else was quicker with the same layers.
        Err(_) if whole.exists() => fs::remove_dir_all(&part)?,
        Err(error) => {
            let _ = fs::remove_dir_all(&part);
            return Err(error);
        }
        Ok(()) => {}
    }
    Ok(Some(whole))
}

fn lay(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type()?;
        if kind.is_dir() {
            if fs::symlink_metadata(&target).is_ok_and(|there| !there.is_dir()) {
                fs::remove_file(&target)?;
            }
            lay(&source, &target)?;
            continue;
        }
        match fs::symlink_metadata(&target) {
            Ok(there) if there.is_dir() => fs::remove_dir_all(&target)?,
            Ok(_) => fs::remove_file(&target)?,
            Err(_) => {}
        }
        if kind.is_symlink() {
            std::os::unix::fs::symlink(fs::read_link(&source)?, &target)?;
        } else if fs::hard_link(&source, &target).is_err() {
            fs::copy(&source, &target)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_layer_covers_an_earlier_one_and_neither_changes() {
        let dir = tempfile::tempdir().unwrap();
        let layer = |name: &str, files: &[(&str, &str)]| {
            for (path, text) in files {
                let path = dir.path().join(name).join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            }
            dir.path().join(name)
        };
        let first = layer("a", &[("python/x.py", "old"), ("python/y.py", "kept"), ("bin", "a file")]);
        let second = layer("b", &[("python/x.py", "new"), ("bin/tool", "now a folder")]);
        let opt = merged(dir.path(), &[first.clone(), second]).unwrap().unwrap();
        let read = |path: &str| fs::read_to_string(opt.join(path)).unwrap();
        assert_eq!(
            [read("python/x.py"), read("python/y.py"), read("bin/tool")],
            ["new", "kept", "now a folder"]
        );
        assert_eq!(fs::read_to_string(first.join("python/x.py")).unwrap(), "old");
    }

    #[test]
    fn of_many_who_merge_the_same_layers_none_disturbs_another() {
        let dir = tempfile::tempdir().unwrap();
        let layers: Vec<PathBuf> = ["a", "b"]
            .map(|name| {
                let layer = dir.path().join(name);
                fs::create_dir(&layer).unwrap();
                (0..200).for_each(|at| fs::write(layer.join(format!("{name}{at}")), "").unwrap());
                layer
            })
            .into();
        let out = dir.path().join("out");
        fs::create_dir(&out).unwrap();
        std::thread::scope(|scope| {
            let merging: Vec<_> = (0..8).map(|_| scope.spawn(|| merged(&out, &layers).unwrap())).collect();
            for one in merging {
                let whole = one.join().unwrap().unwrap();
                assert_eq!(fs::read_dir(whole).unwrap().count(), 400);
            }
        });
        assert_eq!(fs::read_dir(&out).unwrap().count(), 1, "only the whole is left");
    }
}
