//! A modelled operation by its types: what a service registers a handler under, and what calls between services name.

use std::fmt;
use std::marker::PhantomData;

use crate::value::Struct;

/// `sqs::SEND_MESSAGE`: a name that carries the types of its input and output. Operations without either have
/// [`Unit`](crate::value::Unit).
pub struct Operation<I, O> {
    /// Our name of the service: `sqs`.
    pub service: &'static str,
    /// `SendMessage`.
    pub name: &'static str,
    types: PhantomData<fn(I) -> O>,
}

impl<I: Struct, O: Struct> Operation<I, O> {
    pub const fn new(service: &'static str, name: &'static str) -> Operation<I, O> {
        Operation { service, name, types: PhantomData }
    }
}

impl<I, O> Clone for Operation<I, O> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<I, O> Copy for Operation<I, O> {}

impl<I, O> fmt::Debug for Operation<I, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.service, self.name)
    }
}
