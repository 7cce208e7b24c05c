//! The models as routing sees them.

use std::sync::LazyLock;

use pileus_wire::model::ModelHeader;
use pileus_wire::route;
use pileus_wire::schema::Service;

struct Models;

static HEADERS: LazyLock<Vec<ModelHeader>> =
    LazyLock::new(|| crate::all().iter().map(|entry| entry.header.clone()).collect());

impl route::Catalog for Models {
    fn headers(&self) -> &'static [ModelHeader] {
        &HEADERS
    }

    fn service(&self, name: &str) -> Option<&'static Service> {
        crate::service(name)
    }
}

/// Every API, for `route::route`.
pub fn catalog() -> &'static dyn route::Catalog {
    &Models
}
