//! What is defined and running, by name; names are of one kind at a time. Guarded by one lock in
//! `Inner`; held only to look up or to swap entries, never over I/O.

use std::any::Any;
use std::collections::BTreeMap;

use catalog::Definition;
use catalog::kind::KINDS;
use common::{Error, nearest};

use crate::define::decide::Part;
use crate::define::running::Running;

/// An object in use.
pub struct Entry {
    pub definition: Definition,
    pub part: Part,
    pub object: Box<dyn Running>,
}

impl Entry {
    pub fn new(definition: Definition, part: Part, object: impl Running) -> Entry {
        Entry { definition, part, object: Box::new(object) }
    }

    pub fn name(&self) -> &str {
        self.definition.object.name()
    }

    /// The object, if it is one of these.
    pub fn of<T: Running>(&self) -> Option<&T> {
        (self.object.as_ref() as &dyn Any).downcast_ref()
    }

    pub fn of_mut<T: Running>(&mut self) -> Option<&mut T> {
        (self.object.as_mut() as &mut dyn Any).downcast_mut()
    }
}

/// Everything by name.
#[derive(Default)]
pub struct Registry {
    pub objects: BTreeMap<String, Entry>,
    /// Views that were replaced and serve until their successors in `objects` have caught up.
    pub serving: BTreeMap<String, Entry>,
}

impl Registry {
    pub fn get<T: Running>(&self, name: &str) -> Option<&T> {
        self.objects.get(name)?.of()
    }

    /// All of one kind, by name.
    pub fn all<T: Running>(&self) -> impl Iterator<Item = (&str, &T)> {
        self.objects.iter().filter_map(|(name, entry)| Some((name.as_str(), entry.of()?)))
    }

    pub fn names<T: Running>(&self) -> impl Iterator<Item = &str> {
        self.all::<T>().map(|(name, _)| name)
    }

    /// Every object, kind by kind.
    pub fn entries(&self) -> Vec<&Entry> {
        let of = |kind| self.objects.values().filter(move |e| e.definition.object.kind() == kind);
        KINDS.into_iter().flat_map(of).collect()
    }

    /// Every definition, topics first.
    pub fn definitions(&self) -> Vec<&Definition> {
        self.entries().into_iter().map(|e| &e.definition).collect()
    }

    pub fn definition(&self, name: &str) -> Option<&Definition> {
        self.objects.get(name).map(|e| &e.definition)
    }

    /// What runs, to be compared with what is wanted.
    pub fn parts(&self) -> Vec<Part> {
        self.entries().into_iter().map(|e| e.part.clone()).collect()
    }

    /// Names that can be read with SELECT.
    pub fn tables(&self) -> Vec<String> {
        let is_table = |(_, e): &(&String, &Entry)| e.definition.object.kind().is_table;
        let mut names: Vec<String> =
            self.objects.iter().filter(is_table).map(|(name, _)| name.clone()).collect();
        names.push("dead_letters".into());
        names.sort();
        names
    }
}

/// Error for a view that does not exist.
pub fn unknown_view<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Error {
    Error::unknown("view", name, known)
}

/// Error for a topic that does not exist.
pub fn unknown_topic<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Error {
    let known: Vec<&str> = known.into_iter().collect();
    let e = Error::unknown("topic", name, known.iter().copied());
    match nearest(name, known.iter().copied()) {
        Some(_) => e,
        None => e.hint(
            "define it with CREATE TOPIC, or import a file: watershed import FILE --into TOPIC",
        ),
    }
}
