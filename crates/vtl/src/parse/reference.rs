//! `$name.property.method(..)[..]`, `$!name`, `${name}`, `${name|'else'}`.

use super::{Parser, identifier};
use crate::VtlError;
use crate::ast::{Reference, Step};

impl Parser<'_, '_> {
    /// The reference at a `$`; `None`, and nothing taken, if that begins none.
    pub(super) fn reference(&mut self, escapes: usize) -> Result<Option<Reference>, VtlError> {
        let start = self.at;
        let found = self.reference_at(escapes)?;
        if found.is_none() {
            self.at = start;
        }
        Ok(found)
    }

    fn reference_at(&mut self, escapes: usize) -> Result<Option<Reference>, VtlError> {
        let start = self.at;
        if !self.takes("$") {
            return Ok(None);
        }
        let is_quiet = self.takes("!");
        let is_formal = self.takes("{");
        let name = identifier(self.rest());
        if name.is_empty() {
            return Ok(None);
        }
        self.at += name.len();
        let variable = self.names.variable(name);
        let steps = self.steps()?;
        let mut alternate = None;
        if is_formal {
            if self.takes("|") {
                alternate = Some(Box::new(self.expression()?));
                self.skip_space();
            }
            if !self.takes("}") {
                return Ok(None);
            }
        }
        let source = self.text[start..self.at].into();
        Ok(Some(Reference { variable, steps, is_quiet, escapes, source, alternate }))
    }

    fn steps(&mut self) -> Result<Vec<Step>, VtlError> {
        let mut steps = Vec::new();
        loop {
            let before = self.at;
            if self.takes(".") {
                let name = identifier(self.rest());
                if name.is_empty() {
                    self.at = before;
                    return Ok(steps);
                }
                self.at += name.len();
                if self.takes("(") {
                    self.enter()?;
                    let arguments = self.arguments(")")?;
                    self.depth -= 1;
                    steps.push(Step::Method(name.into(), arguments));
                } else {
                    steps.push(Step::Property(name.into()));
                }
            } else if self.takes("[") {
                // A bracket of the text around, if it holds nothing that an index could be.
                let depth = self.depth;
                match self.expression() {
                    Ok(index) => {
                        self.skip_space();
                        if self.takes("]") {
                            steps.push(Step::Index(index));
                            continue;
                        }
                    }
                    Err(VtlError::Parse { .. }) => {}
                    Err(error) => return Err(error),
                }
                (self.at, self.depth) = (before, depth);
                return Ok(steps);
            } else {
                return Ok(steps);
            }
        }
    }
}
