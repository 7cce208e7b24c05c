//! One shape as Rust: a struct or an enum, and its field projection.

use std::collections::{HashMap, HashSet};
use std::fmt::Write;

use pileus_wire::schema::{Kind, Member, Service, Shape};

use super::names::{self, Scope};

/// Shapes that are to become types, under the names they get.
pub struct Types {
    /// Sorted by shape name.
    pub shapes: Vec<&'static Shape>,
    names: HashMap<&'static str, String>,
    /// Structures that hold a stream: not to be cloned or compared.
    streaming: HashSet<&'static str>,
}

impl Types {
    /// Every structure and union reachable from `roots`.
    pub fn reachable(roots: impl IntoIterator<Item = &'static Shape>) -> Result<Types, String> {
        let mut seen = HashSet::new();
        let mut shapes = Vec::new();
        let mut ahead: Vec<_> = roots.into_iter().filter(|shape| !shape.is_unit()).collect();
        while let Some(shape) = ahead.pop() {
            if seen.insert(shape.name) {
                shapes.push(shape);
                ahead.extend(shape.members().iter().map(|member| member.shape));
            }
        }
        shapes.sort_by_key(|shape| shape.name);
        let is_endless = |shape: &&&'static Shape| leads_to(shape, shape.name, &is_collection);
        if let Some(shape) = shapes.iter().filter(|shape| is_collection(shape)).find(is_endless) {
            return Err(format!("`{}` holds itself without a structure between", shape.name));
        }
        let mut scope = Scope::default();
        let structs = shapes.iter().filter(|shape| is_struct(shape));
        let names = structs.map(|shape| (shape.name, scope.claim(names::camel(shape.name)))).collect();
        let mut types = Types { shapes, names, streaming: HashSet::new() };
        types.streaming = types.find_streaming();
        Ok(types)
    }

    fn find_streaming(&self) -> HashSet<&'static str> {
        let mut found: HashSet<&'static str> = HashSet::new();
        loop {
            let before = found.len();
            for shape in &self.shapes {
                let is_streaming = |member: &Member| member.is_streaming || found.contains(member.shape.name);
                if shape.members().iter().any(is_streaming) {
                    found.insert(shape.name);
                }
            }
            if found.len() == before {
                return found;
            }
        }
    }

    pub fn structs(&self) -> impl Iterator<Item = &'static Shape> {
        self.shapes.iter().copied().filter(|shape| is_struct(shape))
    }

    pub fn enums(&self) -> impl Iterator<Item = &'static Shape> {
        self.shapes.iter().copied().filter(|shape| !enum_values(shape).is_empty())
    }

    /// The Rust type of an operation's input or output.
    pub fn name(&self, shape: &Shape) -> &str {
        if shape.is_unit() { "w::Unit" } else { &self.names[shape.name] }
    }

    pub fn write(&self, text: &mut String, shape: &'static Shape) -> std::fmt::Result {
        let name = self.name(shape);
        writeln!(text, "\n/// Shape `{}`.", shape.name)?;
        if self.streaming.contains(shape.name) {
            writeln!(text, "#[derive(Debug, Default)]")?;
        } else {
            writeln!(text, "#[derive(Debug, Clone, Default, PartialEq)]")?;
        }
        match shape.kind {
            Kind::Structure => self.write_struct(text, name, shape),
            _ => self.write_union(text, name, shape),
        }
    }

    fn write_struct(&self, text: &mut String, name: &str, shape: &'static Shape) -> std::fmt::Result {
        let mut scope = Scope::default();
        let fields: Vec<_> =
            shape.members().iter().map(|member| scope.claim(names::field(member.name))).collect();
        if fields.is_empty() {
            writeln!(text, "pub struct {name} {{}}")?;
        } else {
            writeln!(text, "pub struct {name} {{")?;
            for (field, member) in fields.iter().zip(shape.members()) {
                let kind = self.slot(shape, member);
                writeln!(text, "pub {field}: {kind},")?;
            }
            writeln!(text, "}}")?;
        }
        writeln!(text, "\nimpl w::Struct for {name} {{")?;
        if fields.is_empty() {
            writeln!(text, "fn get(&self, _: usize) -> &dyn w::Val {{ &w::ABSENT }}")?;
            writeln!(
                text,
                "fn get_mut(&mut self, _: usize) -> w::Option<&mut dyn w::Val> {{ w::Option::None }}"
            )?;
            return writeln!(text, "}}");
        }
        writeln!(text, "fn get(&self, i: usize) -> &dyn w::Val {{ match i {{")?;
        for (at, field) in fields.iter().enumerate() {
            writeln!(text, "{at} => &self.{field},")?;
        }
        writeln!(text, "_ => &w::ABSENT, }} }}")?;
        writeln!(
            text,
            "fn get_mut(&mut self, i: usize) -> w::Option<&mut dyn w::Val> {{ w::Option::Some(match i {{"
        )?;
        for (at, field) in fields.iter().enumerate() {
            writeln!(text, "{at} => &mut self.{field},")?;
        }
        writeln!(text, "_ => return w::Option::None, }}) }}\n}}")
    }

    fn write_union(&self, text: &mut String, name: &str, shape: &'static Shape) -> std::fmt::Result {
        let mut scope = Scope::with(&["Unset"]);
        let variants: Vec<_> =
            shape.members().iter().map(|member| scope.claim(names::camel(member.name))).collect();
        writeln!(text, "pub enum {name} {{\n#[default]\nUnset,")?;
        for (variant, member) in variants.iter().zip(shape.members()) {
            writeln!(text, "{variant}({}),", self.held(shape, member))?;
        }
        writeln!(text, "}}\n\nimpl w::Struct for {name} {{")?;
        writeln!(text, "fn get(&self, i: usize) -> &dyn w::Val {{ match (i, self) {{")?;
        for (at, variant) in variants.iter().enumerate() {
            writeln!(text, "({at}, Self::{variant}(value)) => value,")?;
        }
        writeln!(text, "_ => &w::ABSENT, }} }}")?;
        writeln!(text, "fn get_mut(&mut self, i: usize) -> w::Option<&mut dyn w::Val> {{")?;
        writeln!(text, "if self.active() != w::Option::Some(i) {{ *self = match i {{")?;
        for (at, variant) in variants.iter().enumerate() {
            writeln!(text, "{at} => Self::{variant}(::std::default::Default::default()),")?;
        }
        writeln!(text, "_ => return w::Option::None, }}; }}")?;
        writeln!(text, "w::Option::Some(match self {{ Self::Unset => return w::Option::None,")?;
        for variant in &variants {
            writeln!(text, "Self::{variant}(value) => value,")?;
        }
        writeln!(text, "}}) }}\nfn active(&self) -> w::Option<usize> {{ match self {{")?;
        writeln!(text, "Self::Unset => w::Option::None,")?;
        for (at, variant) in variants.iter().enumerate() {
            writeln!(text, "Self::{variant}(_) => w::Option::Some({at}),")?;
        }
        writeln!(text, "}} }}\n}}")
    }

    /// The type of a structure's field.
    fn slot(&self, owner: &'static Shape, member: &Member) -> String {
        match member.shape.kind {
            Kind::Blob if member.is_streaming => "w::ByteStream".to_owned(),
            Kind::EventStream => "w::EventStream".to_owned(),
            _ => format!("w::Option<{}>", self.held(owner, member)),
        }
    }

    /// The type of a value that is there, boxed where `owner` would else hold itself.
    fn held(&self, owner: &'static Shape, member: &Member) -> String {
        let kind = self.value(member.shape);
        let is_endless = is_struct(member.shape) && leads_to_or_is(member.shape, owner.name);
        if is_endless { format!("w::Box<{kind}>") } else { kind }
    }

    fn value(&self, shape: &Shape) -> String {
        let sparse = |kind: String| if shape.is_sparse { format!("w::Option<{kind}>") } else { kind };
        match shape.kind {
            Kind::Structure | Kind::Union | Kind::EventStream => self.names[shape.name].clone(),
            Kind::List => format!("w::Vec<{}>", sparse(self.value(shape.element().shape))),
            Kind::Map => format!("w::Map<{}>", sparse(self.value(shape.entry().1.shape))),
            Kind::String => "w::String".to_owned(),
            Kind::Blob => "w::Bytes".to_owned(),
            Kind::Boolean => "bool".to_owned(),
            Kind::Byte | Kind::Short | Kind::Integer | Kind::Long => "i64".to_owned(),
            Kind::Float | Kind::Double => "f64".to_owned(),
            Kind::Timestamp => "w::Timestamp".to_owned(),
            Kind::Document => "w::Document".to_owned(),
        }
    }
}

/// All values of an enum, enforced or not.
pub fn enum_values(shape: &'static Shape) -> &'static [&'static str] {
    if shape.limits.values.is_empty() { &shape.limits.open_values } else { &shape.limits.values }
}

/// Error shapes that carry more than a text: worth a type.
pub fn carries_members(error: &Shape) -> bool {
    error.members().iter().any(|member| !member.name.eq_ignore_ascii_case("message"))
}

/// All error shapes of the service.
pub fn errors(service: &Service) -> Vec<&'static Shape> {
    let mut errors: Vec<_> = service.shapes.values().copied().filter(|shape| shape.error.is_some()).collect();
    errors.sort_by_key(|shape| shape.name);
    errors
}

fn is_struct(shape: &Shape) -> bool {
    matches!(shape.kind, Kind::Structure | Kind::Union | Kind::EventStream)
}

fn is_collection(shape: &Shape) -> bool {
    matches!(shape.kind, Kind::List | Kind::Map)
}

fn leads_to_or_is(from: &'static Shape, name: &str) -> bool {
    from.name == name || leads_to(from, name, &is_struct)
}

/// Whether members of `from`, followed through shapes that `through` admits, reach the shape `name`.
fn leads_to(from: &'static Shape, name: &str, through: &dyn Fn(&Shape) -> bool) -> bool {
    let mut seen = HashSet::new();
    let mut ahead = vec![from];
    while let Some(shape) = ahead.pop() {
        for member in shape.members().iter().filter(|member| through(member.shape)) {
            if member.shape.name == name {
                return true;
            }
            if seen.insert(member.shape.name) {
                ahead.push(member.shape);
            }
        }
    }
    false
}
