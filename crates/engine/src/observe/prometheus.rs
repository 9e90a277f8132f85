//! The text that Prometheus reads (exposition format 0.0.4).

use std::fmt::Write;

/// The page as it is written.
pub(crate) struct Page(pub String);

impl Page {
    pub fn family(&mut self, (name, kind, help): (&str, &str, &str)) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// A sample, if there is a value.
    pub fn labelled(&mut self, name: &str, labels: &[(&str, &str)], value: Option<f64>) {
        let Some(value) = value else { return };
        let label = |(key, of): &(&str, &str)| {
            let of = of.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            format!("{key}=\"{of}\"")
        };
        let _ = match labels {
            [] => writeln!(self.0, "{name} {value}"),
            _ => {
                let labels: Vec<String> = labels.iter().map(label).collect();
                writeln!(self.0, "{name}{{{}}} {value}", labels.join(","))
            }
        };
    }

    pub fn one(&mut self, family: (&str, &str, &str), value: f64) {
        self.family(family);
        self.labelled(family.0, &[], Some(value));
    }

    pub fn by<'a>(
        &mut self,
        family: (&str, &str, &str),
        label: &str,
        values: impl IntoIterator<Item = (&'a str, f64)>,
    ) {
        self.family(family);
        for (of, value) in values {
            self.labelled(family.0, &[(label, of)], Some(value));
        }
    }
}
