//! Errors for people: the text with the place underlined and a hint, as compilers do it. Works on
//! problem details, so that an error looks the same whether it was met here or came over HTTP.

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use common::{Error, Kind};
use serde_json::Value;

use crate::terminal;

/// One or more errors as problem details.
#[derive(Debug)]
pub struct Faults(Vec<Value>);

impl From<Error> for Faults {
    fn from(e: Error) -> Faults {
        Faults(vec![e.to_json()])
    }
}

impl From<Vec<Error>> for Faults {
    fn from(errors: Vec<Error>) -> Faults {
        Faults(errors.iter().map(Error::to_json).collect())
    }
}

impl Faults {
    /// From the body of an HTTP answer; `problems` holds all when there are several.
    pub fn from_problem(problem: Value) -> Faults {
        match problem.get("problems").and_then(Value::as_array) {
            Some(all) if !all.is_empty() => Faults(all.clone()),
            _ => Faults(vec![problem]),
        }
    }

    /// From problem details of other places.
    pub fn of(problems: &[Value]) -> Faults {
        Faults(problems.to_vec())
    }

    fn kind(&self) -> Kind {
        let code = self.0.first().and_then(|p| p["code"].as_str());
        code.and_then(Kind::from_name).unwrap_or(Kind::Internal)
    }

    pub fn exit_code(&self) -> u8 {
        self.kind().exit_code()
    }

    /// Whether the same call may succeed later.
    pub fn may_retry(&self) -> bool {
        self.kind().may_retry()
    }

    pub fn first(&self) -> &Value {
        self.0.first().unwrap_or(&Value::Null)
    }

    pub fn render(&self) -> String {
        let styled = terminal::colours();
        self.with(if styled { Renderer::styled() } else { Renderer::plain() })
    }

    /// Without colours.
    pub fn plain(&self) -> String {
        self.with(Renderer::plain())
    }

    fn with(&self, renderer: Renderer) -> String {
        let each: Vec<String> = self.0.iter().map(|p| render(&renderer, p)).collect();
        each.join("\n")
    }
}

fn render(renderer: &Renderer, problem: &Value) -> String {
    let detail = problem["detail"].as_str().unwrap_or("failed without saying why");
    let title = Level::ERROR.primary_title(detail);
    let hint = problem["hint"].as_str().map(|h| Group::with_title(Level::HELP.primary_title(h)));
    let place = &problem["place"];
    let Some(text) = place["text"].as_str().filter(|t| !t.trim().is_empty()) else {
        // Rendered apart: together they would get an empty margin between them.
        let groups = [Some(Group::with_title(title)), hint];
        let parts = groups.into_iter().flatten().map(|g| renderer.render(&[g]));
        return parts.collect::<Vec<_>>().join("\n");
    };
    let number = |name: &str| place[name].as_u64().unwrap_or(1) as usize;
    let start = byte_of(text, number("column"));
    let one_line = number("end_line") == number("line");
    let end = if one_line { byte_of(text, number("end_column")) } else { text.len() };
    let end = end.max((start + 1).min(text.len())).max(start);
    let mut snippet = Snippet::source(text).line_start(number("line"));
    if let Some(file) = place["file"].as_str() {
        snippet = snippet.path(file);
    }
    let annotation = AnnotationKind::Primary.span(start..end);
    let mut groups = vec![title.element(snippet.annotation(annotation))];
    groups.extend(hint);
    renderer.render(&groups)
}

/// Byte position of a column counted in characters from 1.
fn byte_of(text: &str, column: usize) -> usize {
    text.char_indices().nth(column.saturating_sub(1)).map_or(text.len(), |(i, _)| i)
}

#[cfg(test)]
mod tests {
    use common::Place;

    use super::*;

    fn plain(error: &Error) -> String {
        render(&Renderer::plain(), &error.to_json())
    }

    #[test]
    fn underlines_the_place() {
        let text = "CREATE MATERIALIZED VIEW v AS\nSELECT célsius, sensr FROM readings\n";
        let start = text.find("sensr").unwrap_or_default();
        let place = Place {
            file: Some("sql/v.sql".into()),
            text: text.into(),
            span: start..start + "sensr".len(),
        };
        let error = Error::unknown("column", "sensr", ["sensor"]).at(place);
        let shown = plain(&error);
        assert!(shown.contains("error: unknown column 'sensr'"), "{shown}");
        assert!(shown.contains("sql/v.sql:2:17"), "{shown}");
        assert!(shown.contains("^^^^^"), "{shown}");
        assert!(!shown.contains("^^^^^^"), "{shown}");
        assert!(shown.contains("help: did you mean 'sensor'?"), "{shown}");
    }

    #[test]
    fn errors_without_place_and_at_the_end_of_the_text() {
        assert_eq!(plain(&Error::conflict("port 1 is in use")), "error: port 1 is in use");
        let text = "SELECT";
        let place = Place { file: None, text: text.into(), span: 6..6 };
        let shown = plain(&Error::syntax("expected an expression").at(place));
        assert!(shown.contains("expected an expression"), "{shown}");
    }
}
