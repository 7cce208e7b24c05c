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

/// Adds `line` among those that begin with `prefix`, in their order; nothing if it is there already.
fn add_line(file: &Path, prefix: &str, line: &str) -> Result<(), String> {
    let at = |error: std::io::Error| format!("{}: {error}", file.display());
    let text = fs::read_to_string(file).map_err(at)?;
    if text.lines().any(|present| present == line) {
        return Ok(());
    }
    let mut lines: Vec<&str> = text.lines().collect();
    let first = lines.iter().position(|present| present.starts_with(prefix));
    let first = first.ok_or_else(|| format!("{}: no line begins with {prefix}", file.display()))?;
    let fits = |present: &&&str| present.starts_with(prefix) && **present < line;
    let position = first + lines[first..].iter().take_while(fits).count();
    lines.insert(position, line);
    fs::write(file, lines.join("\n") + "\n").map_err(at)
}

const API_DEPENDENCIES: &str =
    "[dependencies]\npileus-wire.workspace = true\n\n[dev-dependencies]\npileus-models.workspace = true\n";
const SERVICE_DEPENDENCIES: &str = "[dependencies]\npileus-api-{name}.workspace = true\npileus-core.workspace = true\npileus-platform.workspace = true\npileus-store.workspace = true\nthiserror.workspace = true\ntracing.workspace = true\n";

fn manifest(name: &str, description: &str, dependencies: &str) -> String {
    format!(
        "[package]\nname = \"{name}\"\ndescription = \"{description}\"\nversion.workspace = true\nedition.workspace = true\nrust-version.workspace = true\nlicense.workspace = true\npublish.workspace = true\n\n[lints]\nworkspace = true\n\n{dependencies}"
    )
}
