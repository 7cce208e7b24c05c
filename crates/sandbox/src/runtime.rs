//! AWS's runtime identifiers, and what each one asks of the machine. Pure.

/// A runtime identifier that we know how to run.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Runtime {
    id: String,
    language: Language,
    /// As `(3, 12)` for `python3.12`, `(22, 0)` for `nodejs22.x`.
    version: (u32, u32),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Language {
    Python,
    Node,
    Ruby,
    Java,
    Dotnet,
    /// `provided*`, `go1.x`: the package brings its own `bootstrap`.
    Provided,
}

impl Runtime {
    /// Reads `python3.12`, `nodejs20.x`, `java8.al2`, `provided.al2023` and their like; `None` for what is no runtime identifier.
    pub fn parse(id: &str) -> Option<Runtime> {
        let (language, version) = match id {
            "provided" | "provided.al2" | "provided.al2023" => (Language::Provided, (0, 0)),
            _ => numbered(id)?,
        };
        Some(Runtime { id: id.to_owned(), language, version })
    }

    pub fn id(&self) -> &str {
        &self.id
    }

    pub fn language(&self) -> Language {
        self.language
    }

    pub fn version(&self) -> (u32, u32) {
        self.version
    }

    /// What a person installs to have it.
    pub fn advice(&self) -> String {
        let (major, minor) = self.version;
        match self.language {
            Language::Python => format!("install Python {major}.{minor} (or a newer Python 3)"),
            Language::Node => format!("install Node.js {major} (or newer)"),
            Language::Ruby => format!("install Ruby {major}.{minor} (or newer)"),
            Language::Java => format!("install a Java development kit, version {major} or newer"),
            Language::Dotnet => format!("install the .NET runtime, version {major} or newer"),
            Language::Provided => "nothing is needed: the package brings its own bootstrap".to_owned(),
        }
    }
}

fn numbered(id: &str) -> Option<(Language, (u32, u32))> {
    let names = [
        ("python", Language::Python),
        ("nodejs", Language::Node),
        ("ruby", Language::Ruby),
        ("java", Language::Java),
        ("dotnet", Language::Dotnet),
    ];
    let (rest, language) =
        names.iter().find_map(|(name, language)| Some((id.strip_prefix(name)?, *language)))?;
    let rest = rest.strip_suffix(".al2").unwrap_or(rest);
    let rest = rest.strip_suffix(".x").unwrap_or(rest);
    let (major, minor) = rest.split_once('.').unwrap_or((rest, "0"));
    let number = |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten();
    Some((language, (number(major)?, number(minor)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_say_their_language_and_version() {
        let cases = [
            ("python3.9", Some((Language::Python, (3, 9)))),
            ("python3.14", Some((Language::Python, (3, 14)))),
            ("nodejs20.x", Some((Language::Node, (20, 0)))),
            ("ruby3.4", Some((Language::Ruby, (3, 4)))),
            ("java8.al2", Some((Language::Java, (8, 0)))),
            ("java21", Some((Language::Java, (21, 0)))),
            ("dotnet8", Some((Language::Dotnet, (8, 0)))),
            ("provided.al2023", Some((Language::Provided, (0, 0)))),
            ("python", None),
            ("python3.x9", None),
            ("nodejs", None),
            ("cobol85", None),
            ("", None),
        ];
        for (id, expected) in cases {
            let got = Runtime::parse(id).map(|runtime| (runtime.language(), runtime.version()));
            assert_eq!(got, expected, "{id}");
        }
    }
}
