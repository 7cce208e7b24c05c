//! Static websites.
//!
//! | File               | Holds                                             |
//! |--------------------|---------------------------------------------------|
//! | `website/route.rs` | documents, redirects and error pages: pure        |
//! | `website/serve.rs` | requests to a website's host                       |

pub mod route;
pub mod serve;
