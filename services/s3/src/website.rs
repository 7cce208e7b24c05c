//! Static websites.
//!
//! | File               | Holds                                             |
//! |--------------------|---------------------------------------------------|
//! | `website/route.rs` | documents, redirects and error pages: pure        |

pub mod route;
