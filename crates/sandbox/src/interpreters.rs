//! Finds the machine's interpreters, and says how each is started.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use crate::config::Level;
use crate::engine::EngineError;
use crate::runtime::{Language, Runtime};

/// An interpreter on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interpreter {
    pub version: (u32, u32),
    /// On the machine.
    pub binary: PathBuf,
    /// The folder above `bin`.
    pub prefix: PathBuf,
}

impl Interpreter {
    /// Whether environments see it where it lies: `/usr` is theirs too.
    fn is_in_system(&self) -> bool {
        self.binary.starts_with("/usr") || self.binary.starts_with("/nix/store")
    }

    /// What must be mounted for it.
    pub fn mounts(&self) -> Vec<(PathBuf, String)> {
        if self.is_in_system() { Vec::new() } else { vec![(self.prefix.clone(), "/var/lang".to_owned())] }
    }

    /// Where a function's environment has it.
    pub fn path(&self, level: Level) -> String {
        let inside = self.binary.strip_prefix(&self.prefix).ok();
        match (level, inside) {
            (Level::Rootless | Level::Full, Some(inside)) if !self.is_in_system() => {
                Path::new("/var/lang").join(inside).to_string_lossy().into_owned()
            }
            _ => self.binary.to_string_lossy().into_owned(),
        }
    }
}

/// Every interpreter of a language on this machine. May block for some 100 ms.
pub fn found(language: Language) -> Vec<Interpreter> {
    search(&[], language)
}

/// What was found, by language; looked for once, when a language is first asked for.
pub struct Interpreters {
    first: Vec<PathBuf>,
    found: Mutex<BTreeMap<Language, Vec<Interpreter>>>,
}

impl Interpreters {
    pub fn new(first: Vec<PathBuf>) -> Interpreters {
        Interpreters { first, found: Mutex::new(BTreeMap::new()) }
    }

    /// Every interpreter of this language on the machine. Starts some to ask for their version: may block for some 100 ms.
    pub fn all(&self, language: Language) -> Vec<Interpreter> {
        let mut found = self.found.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        found.entry(language).or_insert_with(|| search(&self.first, language)).clone()
    }

    /// The version that was asked for, else the nearest newer one, else the newest.
    pub fn choose(&self, runtime: &Runtime) -> Result<Interpreter, EngineError> {
        let all = self.all(runtime.language());
        nearest(&all, runtime).cloned().ok_or_else(|| EngineError::NoInterpreter {
            runtime: runtime.id().to_owned(),
            advice: runtime.advice(),
        })
    }
}

fn nearest<'a>(all: &'a [Interpreter], runtime: &Runtime) -> Option<&'a Interpreter> {
    let is_major_only = matches!(runtime.language(), Language::Node | Language::Java | Language::Dotnet);
    let key = |version: (u32, u32)| if is_major_only { (version.0, 0) } else { version };
    let wanted = key(runtime.version());
    let newer = all.iter().filter(|one| key(one.version) >= wanted).min_by_key(|one| key(one.version));
    newer.or_else(|| all.iter().max_by_key(|one| one.version))
}

fn search(first: &[PathBuf], language: Language) -> Vec<Interpreter> {
    let mut found: Vec<Interpreter> = Vec::new();
    for dir in folders(first) {
        for binary in candidates(&dir, language) {
            let Ok(binary) = fs::canonicalize(&binary) else { continue };
            let known = found.iter().any(|one| one.binary == binary);
            let Some(prefix) =
                binary.parent().and_then(Path::parent).filter(|_| !known && is_program(&binary))
            else {
                continue;
            };
            if let Some(version) = version_of(&binary, prefix, language) {
                found.push(Interpreter { version, prefix: prefix.to_owned(), binary });
            }
        }
    }
    found
}

/// Where interpreters are installed: the operator's folders, the PATH, and the usual version managers.
fn folders(first: &[PathBuf]) -> Vec<PathBuf> {
    let mut folders = first.to_vec();
    folders.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
    folders.extend(["/usr/bin", "/usr/local/bin", "/opt/homebrew/bin"].map(PathBuf::from));
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let managers = [
        ".pyenv/versions",
        ".nvm/versions/node",
        ".rbenv/versions",
        ".sdkman/candidates/java",
        ".local/share/uv/python",
    ];
    let mut parents: Vec<PathBuf> =
        home.iter().flat_map(|home| managers.map(|name| home.join(name))).collect();
    parents.extend(["/opt", "/usr/lib/jvm", "/opt/python"].map(PathBuf::from));
    for parent in parents {
        let mut entries: Vec<PathBuf> =
            fs::read_dir(parent).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
        entries.sort();
        folders.extend(entries.into_iter().map(|entry| entry.join("bin")));
    }
    folders
}

fn candidates(dir: &Path, language: Language) -> Vec<PathBuf> {
    let names: Vec<String> = match language {
        Language::Python => (9..20).map(|minor| format!("python3.{minor}")).collect(),
        Language::Node => vec!["node".to_owned()],
        Language::Ruby => vec!["ruby".to_owned()],
        Language::Java => vec!["java".to_owned()],
        Language::Dotnet => vec!["dotnet".to_owned()],
        Language::Provided => Vec::new(),
    };
    names.into_iter().map(|name| dir.join(name)).filter(|path| path.is_file()).collect()
}

/// Not a script: version managers put those before the real thing.
fn is_program(path: &Path) -> bool {
    use std::io::Read as _;
    let mut magic = [0u8; 4];
    fs::File::open(path).and_then(|mut file| file.read_exact(&mut magic)).is_ok() && magic == *b"\x7fELF"
}

fn version_of(binary: &Path, prefix: &Path, language: Language) -> Option<(u32, u32)> {
    match language {
        Language::Python => {
            let name = binary.file_name()?.to_str()?;
            two_numbers(name.strip_prefix("python")?)
        }
        Language::Java => {
            let release = fs::read_to_string(prefix.join("release")).ok()?;
            let line = release.lines().find_map(|line| line.strip_prefix("JAVA_VERSION="))?;
            let version = two_numbers(line.trim_matches('"'))?;
            Some(if version.0 == 1 { (version.1, 0) } else { version })
        }
        _ => {
            let output = Command::new(binary).arg("--version").output().ok()?;
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let digits = text.find(|c: char| c.is_ascii_digit())?;
            two_numbers(&text[digits..])
        }
    }
}

fn two_numbers(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.split(|c: char| !c.is_ascii_digit());
    let major = parts.next()?.parse().ok()?;
    Some((major, parts.next().and_then(|part| part.parse().ok()).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::type_complexity)]
    fn the_nearest_newer_version_is_chosen_else_the_newest() {
        let has = |versions: &[(u32, u32)]| -> Vec<Interpreter> {
            let one = |version: &(u32, u32)| Interpreter {
                version: *version,
                binary: PathBuf::new(),
                prefix: PathBuf::new(),
            };
            versions.iter().map(one).collect()
        };
        let cases: [(&str, &[(u32, u32)], Option<(u32, u32)>); 6] = [
            ("python3.11", &[(3, 9), (3, 11), (3, 12)], Some((3, 11))),
            ("python3.10", &[(3, 9), (3, 13), (3, 12)], Some((3, 12))),
            ("python3.14", &[(3, 9), (3, 13)], Some((3, 13))),
            ("nodejs18.x", &[(20, 19)], Some((20, 19))),
            ("java8.al2", &[(25, 0), (17, 0)], Some((17, 0))),
            ("ruby3.3", &[], None),
        ];
        for (id, versions, expected) in cases {
            let runtime = Runtime::parse(id).unwrap();
            assert_eq!(nearest(&has(versions), &runtime).map(|one| one.version), expected, "{id}");
        }
    }
}
