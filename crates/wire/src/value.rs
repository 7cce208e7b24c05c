//! Values: how codecs, validation and audit look into inputs and outputs without knowing their types.
//!
//! Whatever can sit in a member's slot is a [`Val`]: it can be looked at ([`View`]) and filled ([`Slot`]). A structure is a
//! [`Struct`]: it projects its fields by index, in the schema's member order. Generated types and [`crate::dynamic`] values
//! implement the same two traits, so every codec is written once.
//!
//! Every field is an `Option`: unset differs from empty, and a missing required member is validation's to report. All
//! integer kinds are `i64`, both float kinds `f64`: the schema's kind bounds them.

use std::any::Any;
use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_core::Stream;
use pileus_core::Timestamp;

use crate::fault::Fault;

/// What a value looks like from outside.
pub enum View<'a> {
    Absent,
    Bool(bool),
    Int(i64),
    Float(f64),
    Str(&'a str),
    Blob(&'a Bytes),
    Time(Timestamp),
    Document(&'a Document),
    List(&'a dyn ListView),
    Map(&'a dyn MapView),
    Struct(&'a dyn Struct),
    /// A streaming blob or an event stream, which only its consumer may read.
    Stream,
}

/// Where a decoder puts what it read. Asking for it makes the value present.
pub enum Slot<'a> {
    Bool(&'a mut bool),
    Int(&'a mut i64),
    Float(&'a mut f64),
    Str(&'a mut String),
    Blob(&'a mut Bytes),
    Time(&'a mut Timestamp),
    Document(&'a mut Document),
    List(&'a mut dyn ListMut),
    Map(&'a mut dyn MapMut),
    Struct(&'a mut dyn Struct),
    Bytes(&'a mut ByteStream),
    Events(&'a mut EventStream),
}

/// Anything that can sit in a member's slot.
pub trait Val {
    fn view(&self) -> View<'_>;
    /// Makes the value present (its default if it was not) and gives access to it. Do not call for a null.
    fn slot(&mut self) -> Slot<'_>;
    /// Makes the value absent, or empty where it cannot be absent: a later duplicate replaces an earlier one.
    fn clear(&mut self) {}
    fn is_present(&self) -> bool {
        !matches!(self.view(), View::Absent)
    }
}

/// A structure or a union.
pub trait Struct: Any + Send + Sync {
    /// Field `i` of the schema's members; an absent value when `i` is out of range or another variant is set.
    fn get(&self, i: usize) -> &dyn Val;
    /// Field `i`, for filling. On a union this switches to variant `i`. `None` when out of range.
    fn get_mut(&mut self, i: usize) -> Option<&mut dyn Val>;
    /// Which member of a union is set, so that encoders need not probe each.
    fn active(&self) -> Option<usize> {
        None
    }
}

pub trait ListView {
    fn len(&self) -> usize;
    /// # Panics
    /// When `i` is not below `len()`.
    fn get(&self, i: usize) -> &dyn Val;
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

pub trait ListMut {
    /// Appends a default element and returns it.
    fn push(&mut self) -> &mut dyn Val;
}

pub trait MapView {
    fn len(&self) -> usize;
    /// # Panics
    /// When `i` is not below `len()`.
    fn entry(&self, i: usize) -> (&str, &dyn Val);
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

pub trait MapMut {
    /// Appends an entry with a default value and returns the value.
    fn push(&mut self, key: String) -> &mut dyn Val;
    /// Called once after the last `push`: of entries with equal keys the last stays.
    fn finish(&mut self);
}

/// The value of every absent slot.
pub struct Absent;

/// What `Struct::get` returns when there is nothing.
pub static ABSENT: Absent = Absent;

impl Val for Absent {
    fn view(&self) -> View<'_> {
        View::Absent
    }
    fn slot(&mut self) -> Slot<'_> {
        unreachable!("the absent value is only handed out behind a shared reference")
    }
}

macro_rules! scalar {
    ($type:ty, $variant:ident, $view:expr) => {
        impl Val for $type {
            fn view(&self) -> View<'_> {
                #[allow(clippy::redundant_closure_call)]
                View::$variant(($view)(self))
            }
            fn slot(&mut self) -> Slot<'_> {
                Slot::$variant(self)
            }
        }
    };
}

scalar!(bool, Bool, |v: &bool| *v);
scalar!(i64, Int, |v: &i64| *v);
scalar!(f64, Float, |v: &f64| *v);
scalar!(Timestamp, Time, |v: &Timestamp| *v);

impl Val for String {
    fn view(&self) -> View<'_> {
        View::Str(self)
    }
    fn slot(&mut self) -> Slot<'_> {
        Slot::Str(self)
    }
}

impl Val for Bytes {
    fn view(&self) -> View<'_> {
        View::Blob(self)
    }
    fn slot(&mut self) -> Slot<'_> {
        Slot::Blob(self)
    }
}

impl Val for Document {
    fn view(&self) -> View<'_> {
        View::Document(self)
    }
    fn slot(&mut self) -> Slot<'_> {
        Slot::Document(self)
    }
}

impl<T: Val + Default> Val for Option<T> {
    fn view(&self) -> View<'_> {
        self.as_ref().map_or(View::Absent, Val::view)
    }
    fn slot(&mut self) -> Slot<'_> {
        self.get_or_insert_default().slot()
    }
    fn clear(&mut self) {
        *self = None;
    }
}

impl<T: Val + Default> Val for Vec<T> {
    fn view(&self) -> View<'_> {
        View::List(self)
    }
    fn slot(&mut self) -> Slot<'_> {
        Slot::List(self)
    }
    fn clear(&mut self) {
        Vec::clear(self);
    }
}

impl<T: Val> ListView for Vec<T> {
    fn len(&self) -> usize {
        Vec::len(self)
    }
    fn get(&self, i: usize) -> &dyn Val {
        &self[i]
    }
}

impl<T: Val + Default> ListMut for Vec<T> {
    fn push(&mut self) -> &mut dyn Val {
        Vec::push(self, T::default());
        self.last_mut().expect("an element was just pushed")
    }
}

/// A map with string keys in insertion order. Lookup is linear from the back: maps on the wire are small.
#[derive(Debug, Clone, PartialEq)]
pub struct Map<V>(pub Vec<(String, V)>);

impl<V> Default for Map<V> {
    fn default() -> Map<V> {
        Map(Vec::new())
    }
}

impl<V> Map<V> {
    pub fn get(&self, key: &str) -> Option<&V> {
        self.0.iter().rev().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// Replaces the value of an equal key.
    pub fn insert(&mut self, key: impl Into<String>, value: V) {
        let key = key.into();
        match self.0.iter_mut().find(|(name, _)| *name == key) {
            Some((_, old)) => *old = value,
            None => self.0.push((key, value)),
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &V)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value))
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<V> FromIterator<(String, V)> for Map<V> {
    fn from_iter<I: IntoIterator<Item = (String, V)>>(entries: I) -> Map<V> {
        Map(entries.into_iter().collect())
    }
}

impl<V: Val + Default> Val for Map<V> {
    fn view(&self) -> View<'_> {
        View::Map(self)
    }
    fn slot(&mut self) -> Slot<'_> {
        Slot::Map(self)
    }
    fn clear(&mut self) {
        self.0.clear();
    }
}

impl<V: Val> MapView for Map<V> {
    fn len(&self) -> usize {
        self.0.len()
    }
    fn entry(&self, i: usize) -> (&str, &dyn Val) {
        let (key, value) = &self.0[i];
        (key, value)
    }
}

impl<V: Val + Default> MapMut for Map<V> {
    fn push(&mut self, key: String) -> &mut dyn Val {
        self.0.push((key, V::default()));
        &mut self.0.last_mut().expect("an entry was just pushed").1
    }
    fn finish(&mut self) {
        keep_last_of_equal_keys(&mut self.0);
    }
}

/// Removes all but the last entry of each key; order is kept. Linear in the number of entries.
pub fn keep_last_of_equal_keys<V>(entries: &mut Vec<(String, V)>) {
    if entries.len() < 2 {
        return;
    }
    let mut last = std::collections::HashMap::with_capacity(entries.len());
    for (at, (key, _)) in entries.iter().enumerate() {
        last.insert(key.clone(), at);
    }
    if last.len() < entries.len() {
        let mut at = 0;
        entries.retain(|(key, _)| {
            at += 1;
            last[key] == at - 1
        });
    }
}

impl<T: Struct> Val for T {
    fn view(&self) -> View<'_> {
        View::Struct(self)
    }
    fn slot(&mut self) -> Slot<'_> {
        Slot::Struct(self)
    }
}

/// Boxes sit on the recursive edges of generated types.
impl<T: Struct> Struct for Box<T> {
    fn get(&self, i: usize) -> &dyn Val {
        (**self).get(i)
    }
    fn get_mut(&mut self, i: usize) -> Option<&mut dyn Val> {
        (**self).get_mut(i)
    }
    fn active(&self) -> Option<usize> {
        (**self).active()
    }
}

/// The input or output of an operation that has none.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Unit;

impl Struct for Unit {
    fn get(&self, _: usize) -> &dyn Val {
        &ABSENT
    }
    fn get_mut(&mut self, _: usize) -> Option<&mut dyn Val> {
        None
    }
}

/// A free-form value.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Document(pub serde_json::Value);

/// A boxed stream of results that may move between threads.
pub type BoxStream<T, E> = Pin<Box<dyn Stream<Item = Result<T, E>> + Send + Sync>>;

/// A stream of items that are already there, with errors of type `E` that never come.
pub struct Ready<T, E>(std::vec::IntoIter<T>, PhantomData<fn() -> E>);

impl<T, E> Ready<T, E> {
    pub fn new(items: Vec<T>) -> Ready<T, E> {
        Ready(items.into_iter(), PhantomData)
    }
}

impl<T: Unpin, E> Stream for Ready<T, E> {
    type Item = Result<T, E>;
    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(self.0.next().map(Ok))
    }
}

/// A body that is read as it arrives, or sent as it is made.
#[derive(Default)]
pub struct ByteStream(Option<Source>);

/// Where a stream's bytes come from.
enum Source {
    Whole(Bytes),
    Stream(BoxStream<Bytes, std::io::Error>),
}

impl ByteStream {
    pub fn new(
        stream: impl Stream<Item = Result<Bytes, std::io::Error>> + Send + Sync + 'static,
    ) -> ByteStream {
        ByteStream(Some(Source::Stream(Box::pin(stream))))
    }

    /// A stream of bytes that are already there.
    pub fn once(bytes: Bytes) -> ByteStream {
        ByteStream(Some(Source::Whole(bytes)))
    }

    /// The stream itself; empty when it was never set. It can be taken once.
    pub fn take(&mut self) -> Option<BoxStream<Bytes, std::io::Error>> {
        self.0.take().map(|source| match source {
            Source::Stream(stream) => stream,
            Source::Whole(bytes) => Box::pin(Ready::new(vec![bytes])),
        })
    }

    /// All of it, if it is already there: then nothing is left to take.
    pub fn take_whole(&mut self) -> Option<Bytes> {
        match self.0.take() {
            Some(Source::Whole(bytes)) => Some(bytes),
            other => {
                self.0 = other;
                None
            }
        }
    }
}

impl Val for ByteStream {
    fn view(&self) -> View<'_> {
        if self.0.is_some() { View::Stream } else { View::Absent }
    }
    fn slot(&mut self) -> Slot<'_> {
        Slot::Bytes(self)
    }
}

impl fmt::Debug for ByteStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "ByteStream(..)" } else { "ByteStream(none)" })
    }
}

/// One event: a union value with its variant set.
pub type Event = Box<dyn Struct>;

/// Events that are sent (or read) as they happen.
#[derive(Default)]
pub struct EventStream(Option<BoxStream<Event, Fault>>);

impl EventStream {
    pub fn new(stream: impl Stream<Item = Result<Event, Fault>> + Send + Sync + 'static) -> EventStream {
        EventStream(Some(Box::pin(stream)))
    }

    pub fn take(&mut self) -> Option<BoxStream<Event, Fault>> {
        self.0.take()
    }
}

impl Val for EventStream {
    fn view(&self) -> View<'_> {
        if self.0.is_some() { View::Stream } else { View::Absent }
    }
    fn slot(&mut self) -> Slot<'_> {
        Slot::Events(self)
    }
}

impl fmt::Debug for EventStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "EventStream(..)" } else { "EventStream(none)" })
    }
}
