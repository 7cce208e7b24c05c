//! Functions of values, and expressions.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::row::Row;
use super::syntax::{Expression, Operator};
use super::value::Value;

macro_rules! functions {
    ($($name:literal $function:ident $least:literal $most:literal)*) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Function { $($function),* }

        impl Function {
            /// By its name in any case.
            pub fn named(name: &str) -> Option<Function> {
                let name = name.to_ascii_lowercase();
                match name.as_str() {
                    $($name => Some(Function::$function),)*
                    _ => None,
                }
            }

            /// Whether it has so many arguments.
            pub fn takes(self, arguments: usize) -> bool {
                match self {
                    $(Function::$function => ($least..=$most).contains(&arguments),)*
                }
            }
        }
    };
}

functions! {
    "abs" Abs 1 1
    "ceil" Ceil 1 1
    "floor" Floor 1 1
    "round" Round 1 1
    "greatest" Greatest 1 50
    "least" Least 1 50
    "log" Log 1 1
    "sqrt" Sqrt 1 1
    "ispresent" IsPresent 1 1
    "coalesce" Coalesce 1 50
    "isempty" IsEmpty 1 1
    "isblank" IsBlank 1 1
    "concat" Concat 1 50
    "ltrim" TrimLeft 1 2
    "rtrim" TrimRight 1 2
    "trim" Trim 1 2
    "strlen" Length 1 1
    "toupper" Upper 1 1
    "tolower" Lower 1 1
    "substr" Substring 2 3
    "replace" Replace 3 3
    "strcontains" Contains 2 2
    "datefloor" DateFloor 2 2
    "dateceil" DateCeil 2 2
    "bin" Bin 1 1
    "frommillis" FromMillis 1 1
    "tomillis" ToMillis 1 1
    "isvalidip" IsIp 1 1
    "isvalidipv4" IsIpv4 1 1
    "isvalidipv6" IsIpv6 1 1
    "isipinsubnet" InSubnet 2 2
    "isipv4insubnet" InSubnetV4 2 2
    "isipv6insubnet" InSubnetV6 2 2
}

/// Names aggregates' results, while results of `stats` are computed.
pub type Aggregated<'a> = &'a [Value];

/// The value of an expression for a row.
pub fn evaluate(expression: &Expression, row: &Row, aggregated: Aggregated<'_>) -> Value {
    let value = |expression: &Expression| evaluate(expression, row, aggregated);
    match expression {
        Expression::Field(name) => row.get(name),
        Expression::Number(number) => Value::Number(*number),
        Expression::Text(text) => Value::Text(text.clone()),
        Expression::Period(millis) => Value::Number(*millis as f64),
        Expression::Not(inner) => Value::Bool(!value(inner).is_true()),
        Expression::Negative(inner) => number(value(inner).number().map(|number| -number)),
        Expression::Binary(operator, left, right) => binary(*operator, &value(left), || value(right)),
        Expression::Contains(inner, part) => {
            Value::Bool(value(inner).text().is_some_and(|text| text.contains(part)))
        }
        Expression::Matches(inner, regex) => {
            // A search that goes back too often has not matched.
            Value::Bool(value(inner).text().is_some_and(|text| regex.is_match(&text).unwrap_or(false)))
        }
        Expression::In(inner, all) => {
            let inner = value(inner);
            let is_equal =
                |other: &Expression| inner.compare(&value(other)).is_some_and(|order| order.is_eq());
            Value::Bool(all.iter().any(is_equal))
        }
        Expression::Call(Function::Bin, arguments) => {
            let at = Expression::Field("@timestamp".to_owned());
            floor(&value(&at), arguments.first().map(&value), 0)
        }
        Expression::Call(function, arguments) => {
            call(*function, &arguments.iter().map(value).collect::<Vec<_>>())
        }
        Expression::Aggregate(at) => aggregated.get(*at).cloned().unwrap_or(Value::Null),
    }
}

fn binary(operator: Operator, left: &Value, right: impl FnOnce() -> Value) -> Value {
    match operator {
        Operator::And => return Value::Bool(left.is_true() && right().is_true()),
        Operator::Or => return Value::Bool(left.is_true() || right().is_true()),
        _ => {}
    }
    let right = right();
    let order = left.compare(&right);
    let numbers = left.number().zip(right.number());
    let arithmetic = |operation: fn(f64, f64) -> f64| number(numbers.map(|(a, b)| operation(a, b)));
    match operator {
        Operator::Equal => Value::Bool(order.is_some_and(|order| order.is_eq())),
        Operator::NotEqual => Value::Bool(order.is_none_or(|order| order.is_ne())),
        Operator::Less => Value::Bool(order.is_some_and(|order| order.is_lt())),
        Operator::LessOrEqual => Value::Bool(order.is_some_and(|order| order.is_le())),
        Operator::Greater => Value::Bool(order.is_some_and(|order| order.is_gt())),
        Operator::GreaterOrEqual => Value::Bool(order.is_some_and(|order| order.is_ge())),
        Operator::Add => arithmetic(|a, b| a + b),
        Operator::Subtract => arithmetic(|a, b| a - b),
        Operator::Multiply => arithmetic(|a, b| a * b),
        Operator::Divide => arithmetic(|a, b| a / b),
        Operator::Remainder => arithmetic(|a, b| a % b),
        Operator::Power => arithmetic(f64::powf),
        Operator::And | Operator::Or => Value::Null,
    }
}

/// What is no finite number is nothing.
fn number(number: Option<f64>) -> Value {
    number.filter(|number| number.is_finite()).map_or(Value::Null, Value::Number)
}

fn call(function: Function, arguments: &[Value]) -> Value {
    let argument = |at: usize| arguments.get(at).cloned().unwrap_or(Value::Null);
    let first = argument(0);
    let numeric = |operation: fn(f64) -> f64| number(first.number().map(operation));
    let text = |at: usize| argument(at).text();
    let map = |operation: &dyn Fn(String) -> String| {
        text(0).map_or(Value::Null, |text| Value::Text(operation(text)))
    };
    match function {
        Function::Abs => numeric(f64::abs),
        Function::Ceil => numeric(f64::ceil),
        Function::Floor => numeric(f64::floor),
        Function::Round => numeric(f64::round),
        Function::Log => numeric(f64::ln),
        Function::Sqrt => numeric(f64::sqrt),
        Function::Greatest => number(arguments.iter().filter_map(Value::number).reduce(f64::max)),
        Function::Least => number(arguments.iter().filter_map(Value::number).reduce(f64::min)),
        Function::IsPresent => Value::Bool(!first.is_null()),
        Function::Coalesce => arguments.iter().find(|value| !value.is_null()).cloned().unwrap_or(Value::Null),
        Function::IsEmpty => Value::Bool(text(0).is_none_or(|text| text.is_empty())),
        Function::IsBlank => Value::Bool(text(0).is_none_or(|text| text.trim().is_empty())),
        Function::Concat => Value::Text(arguments.iter().filter_map(Value::text).collect()),
        Function::TrimLeft => map(&|whole| trimmed(&whole, text(1), true, false)),
        Function::TrimRight => map(&|whole| trimmed(&whole, text(1), false, true)),
        Function::Trim => map(&|whole| trimmed(&whole, text(1), true, true)),
        Function::Length => number(text(0).map(|text| text.chars().count() as f64)),
        Function::Upper => map(&|text| text.to_uppercase()),
        Function::Lower => map(&|text| text.to_lowercase()),
        Function::Substring => {
            let index = |at: usize| argument(at).number().map_or(0, |number| number.max(0.0) as usize);
            let length = if arguments.len() > 2 { index(2) } else { usize::MAX };
            map(&|text| text.chars().skip(index(1)).take(length).collect())
        }
        Function::Replace => match (text(1).filter(|part| !part.is_empty()), text(2)) {
            (Some(part), Some(new)) => map(&|whole| whole.replace(&part, &new)),
            _ => first,
        },
        Function::Contains => match (text(0), text(1)) {
            (Some(whole), Some(part)) => Value::Number(f64::from(u8::from(whole.contains(&part)))),
            _ => Value::Number(0.0),
        },
        Function::DateFloor => floor(&first, arguments.get(1).cloned(), 0),
        Function::DateCeil => floor(&first, arguments.get(1).cloned(), 1),
        Function::Bin => Value::Null,
        Function::FromMillis => first.number().map_or(Value::Null, |millis| Value::Time(millis as i64)),
        Function::ToMillis => number(first.number()),
        Function::IsIp => Value::Bool(text(0).is_some_and(|text| text.parse::<IpAddr>().is_ok())),
        Function::IsIpv4 => Value::Bool(text(0).is_some_and(|text| text.parse::<Ipv4Addr>().is_ok())),
        Function::IsIpv6 => Value::Bool(text(0).is_some_and(|text| text.parse::<Ipv6Addr>().is_ok())),
        Function::InSubnet | Function::InSubnetV4 | Function::InSubnetV6 => {
            Value::Bool(text(0).zip(text(1)).is_some_and(|(ip, net)| in_subnet(function, &ip, &net)))
        }
    }
}

/// The time cut down to a multiple of the period, and up if it was none and `up` is 1.
fn floor(at: &Value, period: Option<Value>, up: i64) -> Value {
    let period = period.and_then(|period| period.number()).map_or(0, |period| period as i64);
    match at.number() {
        Some(at) if period > 0 => {
            let at = at as i64;
            let start = at.div_euclid(period) * period;
            Value::Time(if start == at { start } else { start.saturating_add(up * period) })
        }
        _ => Value::Null,
    }
}

/// Without white space at its ends, or without the characters given.
fn trimmed(whole: &str, characters: Option<String>, left: bool, right: bool) -> String {
    let is_gone = |c: char| match &characters {
        Some(characters) => characters.contains(c),
        None => c.is_whitespace(),
    };
    let whole = if left { whole.trim_start_matches(is_gone) } else { whole };
    let whole = if right { whole.trim_end_matches(is_gone) } else { whole };
    whole.to_owned()
}

fn in_subnet(function: Function, ip: &str, net: &str) -> bool {
    let bits = |text: &str| match text.parse().ok()? {
        IpAddr::V4(ip) if function != Function::InSubnetV6 => Some((u128::from(u32::from(ip)) << 96, 32)),
        IpAddr::V6(ip) if function != Function::InSubnetV4 => Some((u128::from(ip), 128u32)),
        _ => None,
    };
    let Some((network, length)) = net.split_once('/') else { return false };
    let (Some((ip, width)), Some((network, other)), Ok(length)) =
        (bits(ip), bits(network), length.parse::<u32>())
    else {
        return false;
    };
    width == other && length <= width && (ip ^ network).checked_shr(128 - length).unwrap_or(0) == 0
}
