//! The order in which definitions can be made: each after all it refers to. Finds names given
//! twice, names nobody defines, and cycles, all at once.

use std::collections::BTreeMap;

use catalog::{Definition, Object};
use common::Error;
use datafusion::sql::sqlparser::tokenizer::Token;

use crate::{Text, tokens};

pub fn order(definitions: Vec<Definition>) -> Result<Vec<Definition>, Vec<Error>> {
    let mut faults = vec![];
    let mut names: BTreeMap<String, usize> = BTreeMap::new();
    for (i, d) in definitions.iter().enumerate() {
        match names.get(d.object.name()) {
            None => {
                names.insert(d.object.name().to_string(), i);
            }
            Some(first) => faults.push(twice(d, definitions.get(*first))),
        }
    }
    for d in &definitions {
        check_references(d, &definitions, &names, &mut faults);
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    let sorted = sort(&definitions, &names)?;
    let mut slots: Vec<Option<Definition>> = definitions.into_iter().map(Some).collect();
    Ok(sorted.into_iter().filter_map(|i| slots.get_mut(i).and_then(Option::take)).collect())
}

fn twice(d: &Definition, first: Option<&Definition>) -> Error {
    let name = d.object.name();
    let e = Error::already_exists(format!("'{name}' is defined twice"));
    let e = match first {
        Some(first) => {
            let place = first.origin.whole();
            let file = place.file.clone().unwrap_or_else(|| "this text".into());
            let line = place.line_column().0;
            let kind = first.object.kind();
            e.hint(format!("the first is a {kind} in {file}, line {line}"))
        }
        None => e,
    };
    e.at(d.origin.place(name_span(d)))
}

/// The place of the defined name, behind CREATE and the kind.
fn name_span(d: &Definition) -> std::ops::Range<usize> {
    let (tokens, _) = tokens::tokens(&Text::new(None, d.origin.statement()));
    let name = d.object.name();
    let is = |t: &&tokens::Tok| match &t.inner.token {
        Token::Word(w) if w.quote_style.is_some() => w.value == name,
        _ => t.is_word(name),
    };
    match tokens.iter().skip(2).find(is) {
        Some(t) => d.origin.span.start + t.span.start..d.origin.span.start + t.span.end,
        None => d.origin.span.clone(),
    }
}

fn check_references(
    d: &Definition,
    all: &[Definition],
    names: &BTreeMap<String, usize>,
    faults: &mut Vec<Error>,
) {
    for (name, span) in &d.depends_on {
        let place = d.origin.place(span.clone());
        let target = names.get(name).and_then(|i| all.get(*i));
        let e = match (target.map(|t| &t.object), &d.object) {
            (None, Object::Source(_)) => unknown("topic", name, all, &[is_topic]),
            (None, _) => unknown("topic or view", name, all, &[is_topic, is_view]),
            (Some(Object::Topic(_)), _) => continue,
            (Some(Object::View(_)), Object::Source(_)) => {
                Error::invalid(format!("'{name}' is a view")).hint("a source writes into a topic")
            }
            (Some(Object::View(_)), _) => continue,
            (Some(other), _) => {
                let kind = other.kind().said();
                Error::invalid(format!("'{name}' is a {kind}"))
                    .hint("only topics and views can be read")
            }
        };
        faults.push(e.at(place));
    }
}

fn is_topic(o: &Object) -> bool {
    matches!(o, Object::Topic(_))
}

fn is_view(o: &Object) -> bool {
    matches!(o, Object::View(_))
}

fn unknown(what: &str, name: &str, all: &[Definition], kinds: &[fn(&Object) -> bool]) -> Error {
    let known = all.iter().filter(|d| kinds.iter().any(|is| is(&d.object)));
    Error::unknown(what, name, known.map(|d| d.object.name()))
}

/// Depth first; the stack of open definitions is the cycle when one is met again.
fn sort(all: &[Definition], names: &BTreeMap<String, usize>) -> Result<Vec<usize>, Vec<Error>> {
    let mut state = Sort { all, names, done: vec![false; all.len()], open: vec![], sorted: vec![] };
    let mut faults = vec![];
    for i in 0..all.len() {
        if let Err(e) = state.visit(i) {
            faults.push(e);
            // What stood on the cycle is not looked at again: one error a cycle.
            for open in std::mem::take(&mut state.open) {
                state.done[open] = true;
            }
        }
    }
    if faults.is_empty() { Ok(state.sorted) } else { Err(faults) }
}

struct Sort<'a> {
    all: &'a [Definition],
    names: &'a BTreeMap<String, usize>,
    done: Vec<bool>,
    open: Vec<usize>,
    sorted: Vec<usize>,
}

impl Sort<'_> {
    fn visit(&mut self, i: usize) -> Result<(), Error> {
        if self.done[i] {
            return Ok(());
        }
        self.open.push(i);
        let all = self.all;
        for (name, span) in &all[i].depends_on {
            let Some(next) = self.names.get(name).copied() else { continue };
            if let Some(from) = self.open.iter().position(|o| *o == next) {
                let mut path: Vec<&str> =
                    self.open[from..].iter().map(|o| all[*o].object.name()).collect();
                path.push(name);
                let e =
                    Error::invalid(format!("views depend on each other: {}", path.join(" -> ")))
                        .hint("a view cannot read itself; take one of these references out");
                return Err(e.at(all[i].origin.place(span.clone())));
            }
            self.visit(next)?;
        }
        self.open.pop();
        self.done[i] = true;
        self.sorted.push(i);
        Ok(())
    }
}
