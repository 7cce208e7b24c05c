//! Resources of the control plane as they are stored: AWS's own shape of each, as a document.
//!
//! What clients read is what was stored, patches are paths into it, and exports walk it; so there is one form of it.

use pileus_api_apigateway as api;
use pileus_store::Stored;
use pileus_wire::dynamic::{Blobs, from_json, to_json};
use pileus_wire::schema::Shape;
use pileus_wire::value::Struct;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value as Json;

use crate::error::GatewayError;

/// A generated structure with the name of its shape.
pub trait Shaped: Struct + Default + Clone + Send + Sync + 'static {
    const SHAPE: &'static str;
}

macro_rules! shaped {
    ($($name:ident)*) => {
        $(impl Shaped for api::$name {
            const SHAPE: &'static str = stringify!($name);
        })*
    };
}

shaped! {
    Account ApiKey Authorizer CanarySettings ClientCertificate Deployment DocumentationPart DocumentationVersion
    GatewayResponse Integration IntegrationResponse Method MethodResponse Model RequestValidator Resource RestApi Stage
    UsagePlan UsagePlanKey
}

fn shape<T: Shaped>() -> Option<&'static Shape> {
    pileus_models::service(api::SERVICE)?.shape(T::SHAPE)
}

/// The document of a structure.
pub fn to_document<T: Shaped>(value: &T) -> Json {
    shape::<T>().map_or(Json::Null, |shape| to_json(shape, value, Blobs::Base64))
}

/// The structure of a document.
///
/// # Errors
/// `BadRequest` with the path of the first value whose type does not fit.
pub fn of_document<T: Shaped>(document: &Json) -> Result<T, GatewayError> {
    let mut value = T::default();
    let shape = shape::<T>().ok_or_else(|| GatewayError::Internal(format!("no shape {}", T::SHAPE)))?;
    from_json(shape, document, &mut value, Blobs::Base64).map_err(GatewayError::BadRequest)?;
    Ok(value)
}

/// A stored structure.
#[derive(Debug, Clone, PartialEq)]
pub struct Doc<T>(pub T);

impl<T: Shaped> Serialize for Doc<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        to_document(&self.0).serialize(serializer)
    }
}

impl<'de, T: Shaped> Deserialize<'de> for Doc<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Doc<T>, D::Error> {
        let document = Json::deserialize(deserializer)?;
        of_document(&document).map(Doc).map_err(|error| D::Error::custom(error.to_string()))
    }
}

impl<T: Shaped> Stored for Doc<T> {}
