use super::Failure;
use crate::disk::Disk;
use crate::prepare::Sources;
use crate::render;
use base::secret::Reference;
use base::{Node, Report, Severity};
use serde_json::{Map, Value};

/// Config files as one document.
#[derive(Debug)]
pub(crate) struct Written {
    node: Node,
    sources: Sources,
    /// The document as JSON.
    pub(crate) config: Value,
}

impl Written {
    /// Reads files or folders with what they include. What is wrong with them is told.
    ///
    /// # Errors
    /// When anything is.
    pub(crate) fn read(names: &[String]) -> Result<Self, Failure> {
        let read = model::load::document(names, &Disk::default());
        let (mut report, sources) = (read.report, read.sources);
        let Some(node) = read.node.filter(|_| !report.has_errors()) else {
            render::text(&report, &sources);
            return Err(Failure::BadFiles);
        };
        host(&node, &mut report);
        render::text(&report, &sources);
        if report.has_errors() {
            return Err(Failure::BadFiles);
        }
        Ok(Self { config: json(&node), node, sources })
    }

    /// Where something that a JSON pointer points at was written: the nearest value that was.
    pub(crate) fn place(&self, pointer: &str) -> String {
        self.find(pointer).place.to_string()
    }

    fn find(&self, pointer: &str) -> &Node {
        let mut node = &self.node;
        for step in pointer.split('/').skip(1) {
            let step = step.replace("~1", "/").replace("~0", "~");
            let next = match &node.value {
                base::Value::Map(_) => node.field(&step),
                base::Value::List(items) => step.parse::<usize>().ok().and_then(|at| items.get(at)),
                _ => None,
            };
            match next {
                Some(next) => node = next,
                None => break,
            }
        }
        node
    }

    /// Tells what the control plane finds, with the lines it is about.
    pub(crate) fn tell(&self, errors: &Value, warnings: &Value) {
        let mut report = Report::new();
        for (findings, severity) in [(errors, Severity::Error), (warnings, Severity::Warning)] {
            for finding in findings.as_array().into_iter().flatten() {
                let text = |name: &str| finding[name].as_str().unwrap_or_default();
                let place = &self.find(text("pointer")).place;
                let problem = match severity {
                    Severity::Error => report.error("refused", place, text("message")),
                    _ => report.warning("refused", place, text("message")),
                };
                problem.at(text("pointer"));
            }
        }
        report.sort();
        render::text(&report, &self.sources);
    }
}

/// Refuses references to the host: these files are read here, but what they say is used elsewhere.
fn host(node: &Node, report: &mut Report) {
    match &node.value {
        base::Value::Text(text) => {
            let parsed = base::Text::parse(text);
            let all = parsed.iter().flat_map(base::Text::references);
            for reference in all.filter(|it| !matches!(it, Reference::Kept(_))) {
                let message =
                    format!("`{reference}` reads the host, which what is published must not");
                report.error("reads_the_host", &node.place, message).help(
                    "keep the value as a secret of the workspace and write `${secret:NAME}`, or leave this part in the config file of the gateway",
                );
            }
        }
        base::Value::List(items) => items.iter().for_each(|item| host(item, report)),
        base::Value::Map(fields) => fields.iter().for_each(|(_, item)| host(item, report)),
        _ => {}
    }
}

/// A document as JSON.
pub(super) fn json(node: &Node) -> Value {
    match &node.value {
        base::Value::Null => Value::Null,
        base::Value::Bool(flag) => Value::Bool(*flag),
        base::Value::Int(number) => Value::from(*number),
        base::Value::Float(number) => Value::from(*number),
        base::Value::Text(text) => Value::String(text.clone()),
        base::Value::List(items) => items.iter().map(json).collect(),
        base::Value::Map(fields) => Value::Object(
            fields.iter().map(|(key, it)| (key.value.clone(), json(it))).collect::<Map<_, _>>(),
        ),
    }
}
