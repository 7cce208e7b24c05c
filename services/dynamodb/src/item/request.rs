//! What the parameters of a request mean: conditions, updates, projections, in either style.

use pileus_api_dynamodb as api;
use pileus_wire::value::Map;

use crate::error::DynamoError;
use crate::expression::Kind;
use crate::expression::condition::Condition;
use crate::expression::path::Projection;
use crate::expression::placeholder::{Given, Placeholders};
use crate::expression::update::Update;
use crate::legacy;
use crate::table::schema::KeySchema;
use crate::value::WireItem;

/// Whether the answer to a failed condition shows the item.
pub fn shows_item(wanted: Option<&str>) -> bool {
    wanted == Some("ALL_OLD")
}

/// Parameters of a write.
#[derive(Default)]
pub struct WriteParameters {
    pub condition: Option<String>,
    pub update: Option<String>,
    pub names: Option<Map<String>>,
    pub values: Option<WireItem>,
    pub expected: Option<Map<api::ExpectedAttributeValue>>,
    pub operator: Option<String>,
    pub updates: Option<Map<api::AttributeValueUpdate>>,
    /// `UpdateItem` alone has an update expression.
    pub is_update: bool,
}

impl WriteParameters {
    /// # Errors
    /// `ValidationException`
    pub fn read(self) -> Result<(Option<Condition>, Update), DynamoError> {
        let mut expressions = Vec::new();
        if self.is_update {
            expressions.push((Kind::Update.name(), self.update.is_some()));
        }
        expressions.push((Kind::Condition.name(), self.condition.is_some()));
        let legacy = [
            ("AttributeUpdates", self.updates.is_some()),
            ("Expected", self.expected.is_some()),
            ("ConditionalOperator", self.operator.is_some()),
        ];
        let given = Given { expressions: &expressions, legacy: &legacy };
        let placeholders = Placeholders::read(self.names, self.values, &given)?;
        let operator = self.operator.as_deref();
        if operator.is_some() && self.expected.as_ref().is_none_or(Map::is_empty) {
            return Err(DynamoError::parameter(
                "ConditionalOperator cannot be used without Filter or Expected",
            ));
        }
        let update = match (self.update, self.updates) {
            (Some(text), _) => Update::parse(&text, &placeholders)?,
            (None, Some(updates)) => legacy::updates(updates)?,
            (None, None) => Update::default(),
        };
        let condition = match (self.condition, self.expected) {
            (Some(text), _) => Some(Condition::parse(Kind::Condition, &text, &placeholders)?),
            (None, Some(expected)) => legacy::expected(expected, operator)?,
            (None, None) => None,
        };
        placeholders.check_all_used()?;
        Ok((condition, update))
    }
}

/// # Errors
/// `ValidationException` for an update of a key.
pub fn check_update(update: &Update, schema: &KeySchema) -> Result<(), DynamoError> {
    for path in update.targets() {
        if schema.contains(&path.root) {
            return Err(DynamoError::parameter(format_args!(
                "Cannot update attribute {}. This attribute is part of the key",
                path.root
            )));
        }
    }
    Ok(())
}

/// The projection of a read without any other expression.
///
/// # Errors
/// `ValidationException`
pub fn projection(
    expression: Option<String>,
    names: Option<Map<String>>,
    attributes: Option<Vec<String>>,
) -> Result<Option<Projection>, DynamoError> {
    let given = Given {
        expressions: &[(Kind::Projection.name(), expression.is_some())],
        legacy: &[("AttributesToGet", attributes.is_some())],
    };
    let placeholders = Placeholders::read(names, None, &given)?;
    let projection = match (expression, attributes) {
        (Some(text), _) => Some(Projection::parse(&text, &placeholders)?),
        (None, Some(names)) => Some(legacy::projection(names)?),
        (None, None) => None,
    };
    placeholders.check_all_used()?;
    Ok(projection)
}
