//! From a JSON Schema to tables in Markdown.

use serde_json::{Map, Value};

/// The definitions a schema refers to, and where the policies are described.
pub(crate) struct Tables<'a> {
    pub(crate) definitions: &'a Map<String, Value>,
}

impl Tables<'_> {
    /// One row for each field of an object, those of objects within it included.
    pub(crate) fn of(&self, object: &Value) -> String {
        let mut rows = Vec::new();
        self.rows(object, "", &mut rows);
        if rows.is_empty() {
            return String::new();
        }
        format!("| field | type | meaning |\n|---|---|---|\n{}", rows.concat())
    }

    fn rows(&self, object: &Value, prefix: &str, rows: &mut Vec<String>) {
        let required = object["required"].as_array().cloned().unwrap_or_default();
        for (name, field) in object["properties"].as_object().into_iter().flatten() {
            let mut meaning = text(&field["description"]);
            if required.iter().any(|needed| needed == name) {
                meaning.push_str(" **Required.**");
            }
            let default = &field["default"];
            let is_plain = default.is_string() || default.is_number() || *default == true;
            if is_plain && field.get("properties").is_none() {
                meaning.push_str(&format!(" Default: `{}`.", default.to_string().replace('"', "")));
            }
            for choice in choices(field) {
                meaning.push_str(&format!(" `{}`: {}", choice.0, choice.1));
            }
            let kind = self.kind(field);
            rows.push(format!("| `{prefix}{name}` | {kind} | {} |\n", cell(&meaning)));
            self.rows(field, &format!("{prefix}{name}."), rows);
        }
    }

    /// The type of a value in words, with links to definitions.
    pub(crate) fn kind(&self, schema: &Value) -> String {
        if let Some(name) = referred(schema) {
            let shown = name.strip_suffix("Long").unwrap_or(name);
            return match name {
                "Policy" => "[policy](policies.md)".to_owned(),
                _ if self.definitions.contains_key(shown) => link(shown),
                _ => link(name),
            };
        }
        for word in ["anyOf", "oneOf"] {
            if let Some(forms) = schema[word].as_array() {
                let mut kinds: Vec<String> = forms.iter().map(|form| self.kind(form)).collect();
                kinds.retain(|kind| kind != "nothing");
                kinds.dedup();
                return kinds.join(" or ");
            }
        }
        if let Some(constant) = schema.get("const") {
            return format!("`{}`", text(constant));
        }
        let types = match &schema["type"] {
            Value::Array(types) => types.iter().filter_map(Value::as_str).collect(),
            Value::String(only) => vec![only.as_str()],
            _ => return "anything".to_owned(),
        };
        let is_word = types.contains(&"string") && types.contains(&"integer");
        let mut kinds: Vec<String> =
            types.iter().filter(|t| **t != "null").map(|t| self.plain(t, schema)).collect();
        if is_word {
            // A number written without quotes is as good as the same in quotes.
            kinds = vec![word_with_unit(&schema["pattern"]).to_owned()];
        }
        if kinds.is_empty() { "nothing".to_owned() } else { kinds.join(" or ") }
    }

    fn plain(&self, kind: &str, schema: &Value) -> String {
        match kind {
            "string" => match schema["pattern"].as_str() {
                Some(pattern) => format!("text like `{pattern}`"),
                None => "text".to_owned(),
            },
            "integer" | "number" => "number".to_owned(),
            "boolean" => "`true` or `false`".to_owned(),
            "array" => format!("list of {}", self.kind(&schema["items"])),
            "object" if schema["additionalProperties"].is_object() => {
                format!("map of names to {}", self.kind(&schema["additionalProperties"]))
            }
            "object" if schema.get("patternProperties").is_some() => {
                let settings = &schema["patternProperties"]["[/~]"];
                format!("`METHOD /path:` with {}", self.kind(settings))
            }
            "object" => "object".to_owned(),
            other => other.to_owned(),
        }
    }
}

/// What an enumeration may be, and what each means.
pub(crate) fn choices(schema: &Value) -> Vec<(String, String)> {
    let forms = schema["oneOf"].as_array().into_iter().flatten();
    let choice = |form: &Value| Some((text(form.get("const")?), text(&form["description"])));
    forms.filter_map(choice).collect()
}

/// The name of the definition that a schema refers to.
pub(crate) fn referred(schema: &Value) -> Option<&str> {
    schema["$ref"].as_str()?.rsplit('/').next()
}

/// A text on one line; nothing for anything else.
pub(crate) fn text(value: &Value) -> String {
    let text = value.as_str().unwrap_or_default();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn link(name: &str) -> String {
    format!("[{name}](#{})", name.to_lowercase())
}

fn cell(text: &str) -> String {
    text.trim().replace('|', "\\|")
}

/// Durations, sizes and rates are told apart by the patterns of `base::units`.
fn word_with_unit(pattern: &Value) -> &'static str {
    let pattern = pattern.as_str().unwrap_or_default();
    match pattern {
        _ if pattern.contains('/') => "rate, such as `100/min`",
        _ if pattern.contains('B') => "size, such as `10MiB`",
        "" => "text",
        _ => "duration, such as `30s`",
    }
}
