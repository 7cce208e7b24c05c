//! `cargo xtask new-service <svc>`: the skeleton of a service, ready for its first operation.

use std::fs;
use std::path::Path;

use crate::{models, root};

#[derive(clap::Args)]
pub struct Args {
    /// The model's name: `models/<name>.model`
    name: String,
}

pub fn run(args: &Args) -> Result<(), String> {
    let name = &args.name;
    let model = root().join(format!("models/{name}.model"));
    let model = fs::read_to_string(&model).map_err(|_| format!("there is no models/{name}.model"))?;
    let title = model.lines().find_map(|line| line.strip_prefix("id ")).unwrap_or(name);
    let api = root().join(format!("crates/api/{name}"));
    let service = root().join(format!("services/{name}"));
    if service.exists() {
        return Err(format!("services/{name} exists"));
    }
    let write = |path: std::path::PathBuf, text: String| -> Result<(), String> {
        let dir = path.parent().expect("every path here has a folder");
        fs::create_dir_all(dir)
            .and_then(|()| fs::write(&path, text))
            .map_err(|error| format!("{}: {error}", path.display()))
    };
    if !api.exists() {
        write(
            api.join("Cargo.toml"),
            manifest(
                &format!("pileus-api-{name}"),
                &format!("{title} as types: inputs, outputs, operations. Generated."),
                API_DEPENDENCIES,
            ),
        )?;
        write(api.join("ops.txt"), "# Operations we implement; `*`: all.\n".to_owned())?;
        let map = format!(
            "//! {title} as types. `gen.rs` is written by `cargo xtask models gen {name}` from `ops.txt` and the model.\n\n#[path = \"gen.rs\"]\nmod generated;\n\npub use generated::*;\n"
        );
        write(api.join("src/lib.rs"), map)?;
        models::run_gen(name)?;
    }
    let dependencies = SERVICE_DEPENDENCIES.replace("{name}", name);
    write(
        service.join("Cargo.toml"),
        manifest(&format!("pileus-svc-{name}"), &format!("The behaviour of {title}."), &dependencies),
    )?;
    let map = format!(
        "//! {title}.\n//!\n//! | File | Holds |\n//! |------|-------|\n//!\n//! Where we differ from AWS, and why: `docs/services/{name}.md`.\n\nuse pileus_platform::Service;\n\npub fn service() -> Service {{\n    Service::new(pileus_api_{name}::SERVICE)\n}}\n"
    );
    write(service.join("src/lib.rs"), map)?;
    let workspace = root().join("Cargo.toml");
    add_line(&workspace, "pileus-api-", &format!("pileus-api-{name} = {{ path = \"crates/api/{name}\" }}"))?;
    add_line(&workspace, "pileus-svc-", &format!("pileus-svc-{name} = {{ path = \"services/{name}\" }}"))?;
    let node = root().join("crates/node/Cargo.toml");
    add_line(&node, "pileus-svc-", &format!("pileus-svc-{name}.workspace = true"))?;
    println!("Written: crates/api/{name}, services/{name}, and their lines in both Cargo.toml. Now:");
    println!("  1. crates/node/src/services.rs: pileus_svc_{name}::service()");
    println!(
        "  2. crates/api/{name}/ops.txt: the operations you begin with; then `cargo xtask models gen {name}`"
    );
    println!("  3. docs/services/{name}.md: where the service differs from AWS");
    Ok(())
}

/// Adds `line` among those of `file` that begin with `prefix`.
fn add_line(file: &Path, prefix: &str, line: &str) -> Result<(), String> {
    let at = |error: std::io::Error| format!("{}: {error}", file.display());
    let text = fs::read_to_string(file).map_err(at)?;
    let text = with_line(&text, prefix, line)
        .ok_or_else(|| format!("{}: no line begins with {prefix}", file.display()))?;
    fs::write(file, text).map_err(at)
}

/// `text` with `line` among the lines that begin with `prefix`, in their order and once; `None` if there are no such lines.
fn with_line(text: &str, prefix: &str, line: &str) -> Option<String> {
    let mut lines: Vec<&str> = text.lines().collect();
    if !lines.contains(&line) {
        let first = lines.iter().position(|present| present.starts_with(prefix))?;
        let before = |present: &&&str| present.starts_with(prefix) && **present < line;
        let position = first + lines[first..].iter().take_while(before).count();
        lines.insert(position, line);
    }
    Some(lines.join("\n") + "\n")
}

const API_DEPENDENCIES: &str =
    "[dependencies]\npileus-wire.workspace = true\n\n[dev-dependencies]\npileus-models.workspace = true\n";
const SERVICE_DEPENDENCIES: &str = "[dependencies]\npileus-api-{name}.workspace = true\npileus-core.workspace = true\npileus-platform.workspace = true\npileus-store.workspace = true\nthiserror.workspace = true\ntracing.workspace = true\n";

fn manifest(name: &str, description: &str, dependencies: &str) -> String {
    format!(
        "[package]\nname = \"{name}\"\ndescription = \"{description}\"\nversion.workspace = true\nedition.workspace = true\nrust-version.workspace = true\nlicense.workspace = true\npublish.workspace = true\n\n[lints]\nworkspace = true\n\n{dependencies}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_goes_among_its_kind_once() {
        let text = "[a]\nx\nsvc-b = 1\nsvc-d = 1\n\n[z]\n";
        let cases = [
            ("svc-a = 1", "[a]\nx\nsvc-a = 1\nsvc-b = 1\nsvc-d = 1\n\n[z]\n"),
            ("svc-c = 1", "[a]\nx\nsvc-b = 1\nsvc-c = 1\nsvc-d = 1\n\n[z]\n"),
            ("svc-e = 1", "[a]\nx\nsvc-b = 1\nsvc-d = 1\nsvc-e = 1\n\n[z]\n"),
            ("svc-b = 1", text),
        ];
        for (line, expected) in cases {
            assert_eq!(with_line(text, "svc-", line).as_deref(), Some(expected), "{line}");
        }
        assert_eq!(with_line(text, "api-", "api-a = 1"), None);
    }
}
