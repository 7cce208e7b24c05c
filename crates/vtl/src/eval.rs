//! One run of a template.

use std::sync::Arc;

use crate::ast::{Expr, Node, Operator, Reference, Step, Template};
use crate::method;
use crate::render::{render, text};
use crate::value::{Heap, MapId, Value};
use crate::{Limits, VtlError};

/// Macros and strings within each other while they run.
const MAX_CALLS: usize = 32;
const MAX_RANGE: i64 = 100_000;

/// Who knows what a template's variables are before it sets any.
pub trait Host {
    /// A variable that the template did not set; asked once a run.
    fn root(&mut self, name: &str, heap: &mut Heap) -> Result<Option<Value>, VtlError>;

    /// A property of an object of the host's.
    fn property(&mut self, object: u32, name: &str, heap: &mut Heap) -> Result<Value, VtlError>;

    /// A method of an object of the host's.
    fn method(
        &mut self,
        object: u32,
        name: &str,
        arguments: &[Value],
        heap: &mut Heap,
    ) -> Result<Value, VtlError>;
}

/// What a run leaves.
#[derive(Debug)]
pub struct Run {
    pub output: String,
    pub heap: Heap,
    variables: Vec<(Arc<str>, Value)>,
}

impl Run {
    /// A variable as the template left it; `None` if it never had a value.
    pub fn variable(&self, name: &str) -> Option<&Value> {
        self.variables.iter().find(|(known, _)| **known == *name).map(|(_, value)| value)
    }
}

impl Template {
    /// # Errors
    /// `Limit`, and what the host's methods refuse.
    pub fn run(&self, host: &mut dyn Host, limits: Limits) -> Result<Run, VtlError> {
        let mut machine = Machine {
            template: self,
            host,
            heap: Heap::new(limits.bytes),
            variables: vec![Variable::Unknown; self.names.len()],
            steps: limits.steps,
            turns: limits.turns,
            calls: 0,
            foreach: self.names.iter().position(|name| **name == *"foreach"),
            count: self.names.iter().position(|name| **name == *"velocityCount"),
        };
        let mut output = String::new();
        machine.nodes(&self.body, &mut output)?;
        let named = self.names.iter().cloned().zip(machine.variables);
        let variables = named.filter_map(|(name, variable)| match variable {
            Variable::Is(value) => Some((name, value)),
            _ => None,
        });
        Ok(Run { output, variables: variables.collect(), heap: machine.heap })
    }
}

#[derive(Clone)]
enum Variable {
    /// Nobody asked yet.
    Unknown,
    /// The host has none, and the template did not set it.
    Undefined,
    Is(Value),
}

/// How the nodes of a block went.
#[derive(PartialEq, Eq)]
enum Flow {
    On,
    Break,
    Stop,
}

struct Machine<'t, 'h> {
    template: &'t Template,
    host: &'h mut dyn Host,
    heap: Heap,
    variables: Vec<Variable>,
    steps: u64,
    turns: usize,
    calls: usize,
    foreach: Option<usize>,
    count: Option<usize>,
}

impl Machine<'_, '_> {
    fn step(&mut self) -> Result<(), VtlError> {
        self.steps = self.steps.checked_sub(1).ok_or(VtlError::Limit("steps"))?;
        Ok(())
    }

    fn nodes(&mut self, nodes: &[Node], out: &mut String) -> Result<Flow, VtlError> {
        for node in nodes {
            self.step()?;
            let before = out.len();
            match node {
                Node::Text(text) => out.push_str(text),
                Node::Reference(reference) => self.print(reference, out)?,
                Node::Set { target, value } => {
                    let value = self.value(value)?;
                    self.set(target, value)?;
                }
                Node::If { branches, otherwise } => {
                    let mut taken = otherwise.as_slice();
                    for (condition, body) in branches {
                        let condition = self.value(condition)?;
                        if is_true(&condition) {
                            taken = body;
                            break;
                        }
                    }
                    match self.nodes(taken, out)? {
                        Flow::On => {}
                        flow => return Ok(flow),
                    }
                    continue;
                }
                Node::Foreach { variable, of, body } => {
                    if self.each(*variable, of, body, out)? == Flow::Stop {
                        return Ok(Flow::Stop);
                    }
                    continue;
                }
                Node::Call { which, arguments } => {
                    if self.call(*which, arguments, out)? == Flow::Stop {
                        return Ok(Flow::Stop);
                    }
                    continue;
                }
                Node::Break => return Ok(Flow::Break),
                Node::Stop => return Ok(Flow::Stop),
            }
            self.heap.charge(out.len().saturating_sub(before))?;
        }
        Ok(Flow::On)
    }

    fn print(&mut self, reference: &Reference, out: &mut String) -> Result<(), VtlError> {
        let found = self.resolve(reference)?;
        let is_defined = found.is_some();
        if reference.escapes > 0 {
            let kept = if is_defined { reference.escapes / 2 } else { reference.escapes };
            out.extend(std::iter::repeat_n('\\', kept));
            if is_defined && reference.escapes % 2 == 1 {
                out.push_str(&reference.source);
                return Ok(());
            }
        }
        match (found, &reference.alternate) {
            (None | Some(Value::Null), Some(alternate)) => {
                let value = self.value(alternate)?;
                render(&self.heap, &value, out);
            }
            (Some(value), _) => render(&self.heap, &value, out),
            (None, None) if reference.is_quiet => {}
            (None, None) => out.push_str(&reference.source),
        }
        Ok(())
    }

    /// `None` if there is no such variable. Chosen: what a known variable does not have is null, and prints as nothing.
    fn resolve(&mut self, reference: &Reference) -> Result<Option<Value>, VtlError> {
        let Some(mut value) = self.variable(reference.variable)? else { return Ok(None) };
        for step in &reference.steps {
            self.step()?;
            value = match step {
                Step::Property(name) => self.property(&value, name)?,
                Step::Index(index) => {
                    let index = self.value(index)?;
                    self.index(&value, &index)?
                }
                Step::Method(name, arguments) => {
                    let mut values = Vec::with_capacity(arguments.len());
                    for argument in arguments {
                        values.push(self.value(argument)?);
                    }
                    match value {
                        Value::Host(object) => self.host.method(object, name, &values, &mut self.heap)?,
                        ref other => method::call(&mut self.heap, &mut self.steps, other, name, &values)?,
                    }
                }
            };
        }
        Ok(Some(value))
    }

    fn variable(&mut self, number: usize) -> Result<Option<Value>, VtlError> {
        if matches!(self.variables[number], Variable::Unknown) {
            let found = self.host.root(&self.template.names[number], &mut self.heap)?;
            self.variables[number] = found.map_or(Variable::Undefined, Variable::Is);
        }
        Ok(match &self.variables[number] {
            Variable::Is(value) => Some(value.clone()),
            _ => None,
        })
    }

    fn property(&mut self, of: &Value, name: &str) -> Result<Value, VtlError> {
        match of {
            Value::Host(object) => self.host.property(*object, name, &mut self.heap),
            other => Ok(method::property(&self.heap, other, name)),
        }
    }

    fn index(&mut self, of: &Value, index: &Value) -> Result<Value, VtlError> {
        Ok(match (of, index) {
            (Value::List(list), Value::Int(at)) => {
                let items = self.heap.items(*list);
                method::position(items.len(), *at)
                    .and_then(|at| items.get(at))
                    .cloned()
                    .unwrap_or(Value::Null)
            }
            (Value::Map(map), key) => {
                let key = text(&self.heap, key);
                self.heap.get(*map, &key).cloned().unwrap_or(Value::Null)
            }
            (Value::Host(object), key) => {
                let key = text(&self.heap, key);
                self.host.property(*object, &key, &mut self.heap)?
            }
            _ => Value::Null,
        })
    }

    fn set(&mut self, target: &Reference, value: Value) -> Result<(), VtlError> {
        let Some((last, before)) = target.steps.split_last() else {
            self.variables[target.variable] = Variable::Is(value);
            return Ok(());
        };
        let holder = Reference { steps: before.to_vec(), ..target.clone() };
        let Some(holder) = self.resolve(&holder)? else { return Ok(()) };
        match (holder, last) {
            (Value::Map(map), Step::Property(name)) => {
                self.heap.put(map, name.clone(), value)?;
            }
            (Value::Map(map), Step::Index(key)) => {
                let key = self.value(key)?;
                let key = text(&self.heap, &key);
                self.heap.put(map, key, value)?;
            }
            (Value::List(list), Step::Index(at)) => {
                let at = self.value(at)?;
                let items = self.heap.items_mut(list);
                if let Value::Int(at) = at
                    && let Some(item) = method::position(items.len(), at).and_then(|at| items.get_mut(at))
                {
                    *item = value;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn each(
        &mut self,
        variable: usize,
        of: &Expr,
        body: &[Node],
        out: &mut String,
    ) -> Result<Flow, VtlError> {
        let of = self.value(of)?;
        // As it is now: the body may change the collection.
        let items: Vec<Value> = match of {
            Value::List(list) => self.heap.items(list).to_vec(),
            Value::Map(map) => self.heap.entries(map).values().cloned().collect(),
            Value::Null => return Ok(Flow::On),
            _ => return Ok(Flow::On),
        };
        self.heap.charge(items.len() * size_of::<Value>())?;
        let before = self.variables[variable].clone();
        let outer = self.foreach.map(|slot| self.variables[slot].clone());
        let progress = match self.foreach {
            Some(slot) => Some(self.enter_loop(slot)?),
            None => None,
        };
        let mut flow = Flow::On;
        for (at, item) in items.iter().enumerate() {
            if at >= self.turns {
                return Err(VtlError::Limit("iterations of a #foreach"));
            }
            self.step()?;
            self.variables[variable] = Variable::Is(item.clone());
            if let Some(progress) = progress {
                self.progress(progress, at, items.len())?;
            }
            if let Some(count) = self.count {
                self.variables[count] = Variable::Is(Value::Int(at as i64 + 1));
            }
            flow = self.nodes(body, out)?;
            if flow != Flow::On {
                break;
            }
        }
        self.variables[variable] = before;
        if let (Some(slot), Some(outer)) = (self.foreach, outer) {
            self.variables[slot] = outer;
        }
        Ok(if flow == Flow::Stop { Flow::Stop } else { Flow::On })
    }

    /// `$foreach` of a loop that begins.
    fn enter_loop(&mut self, slot: usize) -> Result<MapId, VtlError> {
        let map = self.heap.map()?;
        if let Variable::Is(outer @ Value::Map(_)) = self.variables[slot].clone() {
            self.heap.put(map, "parent", outer)?;
        }
        self.variables[slot] = Variable::Is(Value::Map(map));
        Ok(map)
    }

    fn progress(&mut self, map: MapId, at: usize, of: usize) -> Result<(), VtlError> {
        let entries = self.heap.entries_mut(map);
        let values = [
            ("index", Value::Int(at as i64)),
            ("count", Value::Int(at as i64 + 1)),
            ("hasNext", Value::Bool(at + 1 < of)),
            ("first", Value::Bool(at == 0)),
            ("last", Value::Bool(at + 1 == of)),
        ];
        for (name, value) in values {
            match entries.get_mut(name) {
                Some(known) => *known = value,
                None => {
                    entries.insert(name.into(), value);
                }
            }
        }
        Ok(())
    }

    fn call(&mut self, which: usize, arguments: &[Expr], out: &mut String) -> Result<Flow, VtlError> {
        let template = self.template;
        let Some(called) = template.macros.get(which) else { return Ok(Flow::On) };
        self.calls += 1;
        if self.calls > MAX_CALLS {
            return Err(VtlError::Limit("macros within macros"));
        }
        let mut values = Vec::with_capacity(called.parameters.len());
        for at in 0..called.parameters.len() {
            values.push(match arguments.get(at) {
                Some(argument) => Variable::Is(self.value(argument)?),
                None => Variable::Undefined,
            });
        }
        let before: Vec<Variable> = called
            .parameters
            .iter()
            .zip(values)
            .map(|(slot, value)| std::mem::replace(&mut self.variables[*slot], value))
            .collect();
        let flow = self.nodes(&called.body, out)?;
        for (slot, value) in called.parameters.iter().zip(before) {
            self.variables[*slot] = value;
        }
        self.calls -= 1;
        Ok(flow)
    }

    fn value(&mut self, expr: &Expr) -> Result<Value, VtlError> {
        self.step()?;
        Ok(match expr {
            Expr::Bool(value) => Value::Bool(*value),
            Expr::Int(value) => Value::Int(*value),
            Expr::Float(value) => Value::Float(*value),
            Expr::Text(text) => Value::Str(text.clone()),
            Expr::Interpolated(nodes) => {
                let mut text = String::new();
                self.calls += 1;
                if self.calls > MAX_CALLS {
                    return Err(VtlError::Limit("macros within macros"));
                }
                self.nodes(nodes, &mut text)?;
                self.calls -= 1;
                self.heap.string(text)?
            }
            Expr::List(items) => {
                let mut values = Vec::with_capacity(items.len());
                for item in items {
                    values.push(self.value(item)?);
                }
                self.heap.list(values)?
            }
            Expr::Map(entries) => {
                let map = self.heap.map()?;
                for (key, value) in entries {
                    let key = self.value(key)?;
                    let value = self.value(value)?;
                    let key = text(&self.heap, &key);
                    self.heap.put(map, key, value)?;
                }
                Value::Map(map)
            }
            Expr::Range(first, last) => match (self.value(first)?, self.value(last)?) {
                (Value::Int(first), Value::Int(last)) => {
                    if first.abs_diff(last) > MAX_RANGE as u64 {
                        return Err(VtlError::Limit("numbers in a range"));
                    }
                    let numbers: Vec<Value> = match first <= last {
                        true => (first..=last).map(Value::Int).collect(),
                        false => (last..=first).rev().map(Value::Int).collect(),
                    };
                    self.heap.list(numbers)?
                }
                _ => Value::Null,
            },
            Expr::Reference(reference) => match self.resolve(reference)? {
                None | Some(Value::Null) if reference.alternate.is_some() => match &reference.alternate {
                    Some(alternate) => self.value(alternate)?,
                    None => Value::Null,
                },
                found => found.unwrap_or(Value::Null),
            },
            Expr::Not(of) => Value::Bool(!is_true(&self.value(of)?)),
            Expr::Negate(of) => match self.value(of)? {
                Value::Int(value) => Value::Int(value.wrapping_neg()),
                Value::Float(value) => Value::Float(-value),
                _ => Value::Null,
            },
            Expr::And(left, right) => {
                Value::Bool(is_true(&self.value(left)?) && is_true(&self.value(right)?))
            }
            Expr::Or(left, right) => Value::Bool(is_true(&self.value(left)?) || is_true(&self.value(right)?)),
            Expr::Binary(operator, left, right) => {
                let (left, right) = (self.value(left)?, self.value(right)?);
                self.binary(*operator, &left, &right)?
            }
        })
    }

    fn binary(&mut self, operator: Operator, left: &Value, right: &Value) -> Result<Value, VtlError> {
        use Operator as O;
        let compared = |order: Option<std::cmp::Ordering>, test: fn(std::cmp::Ordering) -> bool| {
            order.map_or(Value::Null, |order| Value::Bool(test(order)))
        };
        Ok(match operator {
            O::Equal => Value::Bool(method::equal(&self.heap, left, right)),
            O::NotEqual => Value::Bool(!method::equal(&self.heap, left, right)),
            O::Less => compared(numeric_order(left, right), |order| order.is_lt()),
            O::LessOrEqual => compared(numeric_order(left, right), |order| order.is_le()),
            O::Greater => compared(numeric_order(left, right), |order| order.is_gt()),
            O::GreaterOrEqual => compared(numeric_order(left, right), |order| order.is_ge()),
            O::Add if matches!(left, Value::Str(_)) || matches!(right, Value::Str(_)) => {
                let mut joined = text(&self.heap, left);
                render(&self.heap, right, &mut joined);
                self.heap.string(joined)?
            }
            _ => arithmetic(operator, left, right),
        })
    }
}

/// As in Velocity 1.7: what is there is true, unless it is `false`.
fn is_true(value: &Value) -> bool {
    !matches!(value, Value::Null | Value::Bool(false))
}

fn numeric_order(left: &Value, right: &Value) -> Option<std::cmp::Ordering> {
    match (left, right) {
        (Value::Int(left), Value::Int(right)) => Some(left.cmp(right)),
        _ => number(left)?.partial_cmp(&number(right)?),
    }
}

pub(crate) fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Int(value) => Some(*value as f64),
        Value::Float(value) => Some(*value),
        _ => None,
    }
}

/// Null where Velocity would log an error and give nothing: other types, division by zero.
fn arithmetic(operator: Operator, left: &Value, right: &Value) -> Value {
    if let (Value::Int(left), Value::Int(right)) = (left, right) {
        let exact = match operator {
            Operator::Add => left.checked_add(*right),
            Operator::Subtract => left.checked_sub(*right),
            Operator::Multiply => left.checked_mul(*right),
            Operator::Divide if *right == 0 => return Value::Null,
            Operator::Remainder if *right == 0 => return Value::Null,
            Operator::Divide => left.checked_div(*right),
            Operator::Remainder => left.checked_rem(*right),
            _ => return Value::Null,
        };
        if let Some(exact) = exact {
            return Value::Int(exact);
        }
    }
    let (Some(left), Some(right)) = (number(left), number(right)) else { return Value::Null };
    Value::Float(match operator {
        Operator::Add => left + right,
        Operator::Subtract => left - right,
        Operator::Multiply => left * right,
        Operator::Divide => left / right,
        Operator::Remainder => left % right,
        _ => return Value::Null,
    })
}
