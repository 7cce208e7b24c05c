use super::*;
use proptest::prelude::*;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;

/// Writes an archive: name, content, unix mode; deflated when `packed`.
fn archive(files: &[(&str, &[u8], u32)], packed: bool) -> Vec<u8> {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for (name, content, mode) in files {
        let data = if packed {
            let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(content).unwrap();
            encoder.finish().unwrap()
        } else {
            content.to_vec()
        };
        let method: u16 = if packed { 8 } else { 0 };
        let offset = out.len() as u32;
        let sizes = [0u32, data.len() as u32, content.len() as u32];
        out.extend(LOCAL.to_le_bytes());
        out.extend([20u16, 0, method, 0, 0].iter().flat_map(|n| n.to_le_bytes()));
        out.extend(sizes.iter().flat_map(|n| n.to_le_bytes()));
        out.extend([name.len() as u16, 0].iter().flat_map(|n| n.to_le_bytes()));
        out.extend(name.as_bytes());
        out.extend(&data);
        directory.extend(ENTRY.to_le_bytes());
        directory.extend([3u16 << 8 | 20, 20, 0, method, 0, 0].iter().flat_map(|n| n.to_le_bytes()));
        directory.extend(sizes.iter().flat_map(|n| n.to_le_bytes()));
        directory.extend([name.len() as u16, 0, 0, 0, 0].iter().flat_map(|n| n.to_le_bytes()));
        directory.extend((mode << 16).to_le_bytes());
        directory.extend(offset.to_le_bytes());
        directory.extend(name.as_bytes());
    }
    let (start, length) = (out.len() as u32, directory.len() as u32);
    out.extend(directory);
    out.extend(END);
    let count = files.len() as u16;
    out.extend([0u16, 0, count, count].iter().flat_map(|n| n.to_le_bytes()));
    out.extend(length.to_le_bytes());
    out.extend(start.to_le_bytes());
    out.extend(0u16.to_le_bytes());
    out
}

#[test]
fn an_archive_unpacks_with_folders_modes_and_links() {
    for packed in [false, true] {
        let files: &[(&str, &[u8], u32)] = &[
            ("lib/", b"", 0o040_700),
            ("lib/a.py", b"print(1)\n", 0o100_600),
            ("bootstrap", b"#!/bin/sh\n", 0o100_755),
            ("link", b"lib/a.py", 0o120_777),
        ];
        let archive = archive(files, packed);
        assert_eq!(verify(&archive, 1_000), Ok(27));
        assert_eq!(verify(&archive, 26), Err(ZipError::TooLarge(26)));
        let folder = tempfile::tempdir().unwrap();
        let to = folder.path().join("code");
        unpack(&archive, &to).unwrap();
        let mode = |name: &str| fs::metadata(to.join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!(fs::read(to.join("link")).unwrap(), b"print(1)\n");
        assert_eq!((mode("lib"), mode("lib/a.py"), mode("bootstrap")), (0o755, 0o644, 0o755));
    }
}

#[test]
fn entries_outside_of_the_archive_are_refused() {
    for name in ["../evil", "/etc/passwd", "a/../../b"] {
        let archive = archive(&[(name, b"x", 0)], false);
        assert!(verify(&archive, 100).is_err(), "{name}");
        let folder = tempfile::tempdir().unwrap();
        assert!(unpack(&archive, &folder.path().join("code")).is_err(), "{name}");
    }
}

#[test]
fn an_entry_that_lies_about_its_size_is_refused() {
    let mut archive = archive(&[("a", &[7; 1_000], 0)], true);
    let at = archive.windows(4).rposition(|at| at == ENTRY.to_le_bytes()).unwrap();
    archive[at + 24..at + 28].copy_from_slice(&10u32.to_le_bytes());
    assert!(matches!(verify(&archive, 100), Err(ZipError::Malformed(_))));
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(bytes: Vec<u8>, cut in 0usize..400, flip in 0usize..400, value: u8) {
        let _ = verify(&bytes, 1_000);
        let mut whole = archive(&[("a", b"hello hello hello", 0o100_644), ("b/c", b"", 0)], true);
        let _ = verify(&whole[..cut.min(whole.len())], 1_000);
        let at = flip % whole.len();
        whole[at] = value;
        let _ = verify(&whole, 1_000);
    }
}
