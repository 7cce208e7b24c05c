//! Shapes on the wire. Knows schemas, protocols and signatures; knows no service, holds no state, is not async.
//!
//! | File             | Holds                                                                          |
//! |------------------|--------------------------------------------------------------------------------|
//! | `schema.rs`      | what the models say: services, operations, shapes, members                     |
//! | `value.rs`       | how codecs look into values of any type: `Val`, `Struct`, `View`, `Slot`       |
//! | `protocol.rs`    | the protocols; requests and responses as the codecs see them                   |
//! | `fault.rs`       | an error that a caller sees, before a protocol frames it                       |
//! | `codec.rs`       | requests to inputs, outputs and faults to responses, in every protocol         |
//! | `dynamic.rs`     | values without generated types, and their JSON form                            |
//! | `probe.rs`       | conformance probes of the codecs                                               |
//! | `route.rs`       | which operation of which service a request means                               |
//! | `validate.rs`    | the model's constraints, in AWS's words                                        |

pub mod botocore;
pub mod checksum;
pub mod chunked;
pub mod codec;
pub mod copy;
pub mod dynamic;
pub mod eventstream;
pub mod fault;
pub mod generated;
pub mod model;
pub mod operation;
pub mod post_policy;
pub mod probe;
pub mod protocol;
pub mod route;
pub mod schema;
pub mod sigv2;
pub mod sigv4;
pub mod validate;
pub mod value;
