//! `cargo xtask models import`: facts out of AWS's published models. Documentation is never read.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use flate2::read::GzDecoder;
use pileus_wire::model::{self, Model};
use serde_json::Value;

use super::{merge, read, read_dir, smithy, write};

/// The one place that names the version of botocore whose data we read.
const BOTOCORE: &str = "botocore==1.44.5";

pub fn run(smithy: Option<PathBuf>, botocore: Option<PathBuf>, only: &[String]) -> Result<(), String> {
    let botocore = match botocore {
        Some(folder) => folder,
        None => install_botocore()?,
    };
    let folder = crate::root().join("models");
    for line in read(&folder.join("apis.txt"))?.lines().filter(|line| !line.starts_with('#')) {
        let api = Api::parse(line)?;
        if !only.is_empty() && !only.iter().any(|name| name == api.name) {
            continue;
        }
        let model =
            api.model(&botocore, smithy.as_deref()).map_err(|reason| format!("{}: {reason}", api.name))?;
        if let Some(model) = model {
            let text = model::write(&model).map_err(|reason| format!("{}: {reason}", api.name))?;
            write(&folder.join(format!("{}.model", api.name)), &text)?;
        }
    }
    Ok(())
}

/// A line of `models/apis.txt`.
struct Api<'a> {
    name: &'a str,
    botocore: Option<&'a str>,
    smithy: Option<&'a str>,
}

impl<'a> Api<'a> {
    fn parse(line: &'a str) -> Result<Api<'a>, String> {
        let words: Vec<&str> = line.split(' ').collect();
        let [name, botocore, smithy] = words[..] else { return Err(format!("models/apis.txt: {line}")) };
        let given = |word: &'a str| (word != "-").then_some(word);
        Ok(Api { name, botocore: given(botocore), smithy: given(smithy) })
    }

    /// `None` when the only source is not at hand.
    fn model(&self, botocore: &Path, smithy: Option<&Path>) -> Result<Option<Model>, String> {
        let ours =
            self.botocore.map(|folder| botocore_model(&botocore.join(folder), self.name)).transpose()?;
        let theirs = match (smithy, self.smithy) {
            (Some(folder), Some(file)) => Some(smithy_model(&folder.join(format!("{file}.json.gz")))?),
            _ => None,
        };
        let mut model = match (ours, theirs) {
            (Some(ours), Some(theirs)) => merge::merge(ours, &theirs, self.name),
            (Some(only), None) | (None, Some(only)) => only,
            (None, None) => {
                eprintln!("{}: skipped, its only source was not given", self.name);
                return Ok(None);
            }
        };
        model.header.name = self.name.to_owned().leak();
        if model.header.event_source.is_empty() {
            model.header.event_source = format!("{}.amazonaws.com", model.header.arn_namespace).leak();
        }
        model::build(model.clone()).map_err(|error| error.to_string())?;
        Ok(Some(model))
    }
}

fn smithy_model(path: &Path) -> Result<Model, String> {
    smithy::model(&json(path)?)
}

/// The newest version in a service's folder.
fn botocore_model(folder: &Path, name: &str) -> Result<Model, String> {
    let versions = read_dir(folder)?;
    let newest = versions.iter().rev().map(|version| folder.join(version).join("service-2.json.gz"));
    let path = newest.into_iter().find(|path| path.exists());
    let path = path.ok_or_else(|| format!("no service-2.json.gz in {}", folder.display()))?;
    let document = json(&path)?;
    for trait_name in unknown_traits(&document) {
        eprintln!("{name}: botocore trait `{trait_name}` is not known to the importer");
    }
    pileus_wire::botocore::model(&document)
}

fn json(path: &Path) -> Result<Value, String> {
    let at = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let bytes = std::fs::read(path).map_err(|error| at(&error))?;
    let mut text = String::new();
    GzDecoder::new(&bytes[..]).read_to_string(&mut text).map_err(|error| at(&error))?;
    serde_json::from_str(&text).map_err(|error| at(&error))
}

/// Keys of shapes and members that nobody has looked at yet: a new one may change what goes over the wire.
fn unknown_traits(document: &Value) -> BTreeSet<&str> {
    const KNOWN: &[&str] = &[
        "box",
        "clientContextParams",
        "contextParam",
        "deprecated",
        "deprecatedMessage",
        "deprecatedSince",
        "document",
        "documentation",
        "enum",
        "error",
        "event",
        "eventheader",
        "eventpayload",
        "eventstream",
        "exception",
        "fault",
        "flattened",
        "hostLabel",
        "idempotencyToken",
        "jsonvalue",
        "key",
        "location",
        "locationName",
        "max",
        "member",
        "members",
        "min",
        "pattern",
        "payload",
        "queryName",
        "required",
        "requiresLength",
        "retryable",
        "sensitive",
        "shape",
        "sparse",
        "streaming",
        "synthetic",
        "timestampFormat",
        "type",
        "union",
        "value",
        "wrapper",
        "xmlAttribute",
        "xmlNamespace",
        "xmlOrder",
        "endpointdiscoveryid",
        "operationContextParams",
        "staticContextParams",
        "tags",
        "unsignedPayload",
    ];
    let shapes = document.get("shapes").and_then(Value::as_object);
    let mut unknown = BTreeSet::new();
    for shape in shapes.into_iter().flat_map(|shapes| shapes.values()) {
        let members = shape.get("members").and_then(Value::as_object);
        let parts = members.into_iter().flat_map(|members| members.values());
        for of in parts.chain([shape]).filter_map(Value::as_object) {
            unknown.extend(of.keys().map(String::as_str).filter(|key| !KNOWN.contains(key)));
        }
    }
    unknown
}

/// Installs the pinned botocore into a virtual environment under `target/` and returns its data folder.
fn install_botocore() -> Result<PathBuf, String> {
    let venv = crate::root().join("target/models-venv");
    let python = venv.join("bin/python");
    if !python.exists() {
        call(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
    }
    call(Command::new(&python).args(["-m", "pip", "install", "--quiet", "--no-deps", BOTOCORE]))?;
    let script = "import importlib.util as u; print(u.find_spec('botocore').submodule_search_locations[0])";
    let found = call(Command::new(&python).args(["-c", script]))?;
    Ok(Path::new(found.trim()).join("data"))
}

fn call(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(format!("{command:?} failed: {}", String::from_utf8_lossy(&output.stderr)))
}
