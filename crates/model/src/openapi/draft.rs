use super::identity::Identity;
use super::server::Server;
use serde_json::{Map, Value, json};
use std::fmt::Write as _;

/// An API as a document describes it.
#[derive(Clone, Debug, PartialEq)]
pub struct Draft {
    /// What it is called in the config.
    pub name: String,
    /// The title of the document.
    pub title: String,
    /// Which kind of document it was.
    pub document: String,
    /// The version of the API.
    pub version: Option<String>,
    /// Where it is.
    pub server: Server,
    /// How callers are identified.
    pub identity: Identity,
    /// Its routes.
    pub routes: Vec<DraftRoute>,
    /// What could not be taken over, and what its author should know.
    pub notes: Vec<String>,
}

/// One operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DraftRoute {
    /// Its operation id, if it has one.
    pub name: Option<String>,
    /// Its method.
    pub method: String,
    /// Its path as routes have it.
    pub path: String,
    /// What it does, in one line.
    pub about: Option<String>,
    /// Whether the document asks nobody who calls. The route asks all the same.
    pub is_open: bool,
    /// Whether the document calls it deprecated.
    pub is_deprecated: bool,
}

/// Where an upstream is of which nobody says where it is.
const NOWHERE: &str = "127.0.0.1:8080";

impl Draft {
    /// The name of the upstream.
    fn upstream(&self) -> &str {
        self.server.upstream.as_deref().unwrap_or(&self.name)
    }

    /// A config with the API in it, as a document: the same as [`Draft::yaml`] without comments.
    #[must_use]
    pub fn json(&self) -> Value {
        let mut config = Map::from_iter([("version".to_owned(), json!(1))]);
        if self.server.upstream.is_none() {
            let target = self.server.target.as_deref().unwrap_or(NOWHERE);
            let mut upstream = json!({ "targets": [target] });
            if self.server.tls {
                upstream["tls"] = json!(true);
            }
            upstream["host"] = json!("target");
            config.insert("upstreams".to_owned(), json!({ self.name.clone(): upstream }));
        }
        let mut api = json!({ "state": "draft" });
        if let Some(version) = &self.version {
            api["version"] = json!(version);
        }
        if !self.server.hosts.is_empty() {
            api["hosts"] = json!(self.server.hosts);
        }
        if let Some(path) = &self.server.path {
            api["path"] = json!(path);
        }
        api["upstream"] = json!(self.upstream());
        api["policies"] = json!([self.identity.policy]);
        api["routes"] = self.routes.iter().map(DraftRoute::json).collect();
        config.insert("apis".to_owned(), json!({ self.name.clone(): api }));
        Value::Object(config)
    }

    /// A config with the API in it, for people: what the document says of each operation stands beside it.
    #[must_use]
    pub fn yaml(&self) -> String {
        let mut out =
            format!("# {} ({}): {} routes.\n", self.title, self.document, self.routes.len());
        out.push_str("version: 1\n");
        self.write_upstream(&mut out);
        // Writing to a string cannot fail.
        write!(out, "\napis:\n  {}:\n", self.name).ok();
        out.push_str("    # Served nowhere until this line is taken out.\n    state: draft\n");
        let text = |value: &str| json!(value).to_string();
        if let Some(version) = &self.version {
            writeln!(out, "    version: {}", text(version)).ok();
        }
        if !self.server.hosts.is_empty() {
            let hosts: Vec<String> = self.server.hosts.iter().map(|host| text(host)).collect();
            writeln!(out, "    hosts: [{}]", hosts.join(", ")).ok();
        }
        if let Some(path) = &self.server.path {
            writeln!(out, "    path: {}", text(path)).ok();
        }
        writeln!(out, "    upstream: {}", self.upstream()).ok();
        out.push_str("    policies:\n");
        if let Some(about) = &self.identity.about {
            writeln!(out, "      # {about}").ok();
        }
        // JSON is YAML.
        writeln!(out, "      - {}", self.identity.policy).ok();
        out.push_str("    routes:\n");
        for route in &self.routes {
            route.write(&mut out);
        }
        out
    }

    fn write_upstream(&self, out: &mut String) {
        if self.server.upstream.is_some() {
            return;
        }
        writeln!(out, "\nupstreams:\n  {}:", self.name).ok();
        let target = match &self.server.target {
            Some(target) => target,
            None => {
                out.push_str("    # The document names no server: say where it is.\n");
                NOWHERE
            }
        };
        writeln!(out, "    targets: [{}]", json!(target)).ok();
        if self.server.tls {
            out.push_str("    tls: true\n");
        }
        out.push_str("    host: target\n");
    }
}

impl DraftRoute {
    /// As it is matched.
    fn key(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    fn json(&self) -> Value {
        match &self.name {
            Some(name) => json!({ self.key(): { "name": name } }),
            None => json!(self.key()),
        }
    }

    fn write(&self, out: &mut String) {
        if let Some(about) = &self.about {
            writeln!(out, "      # {about}").ok();
        }
        if self.is_deprecated {
            out.push_str("      # The document calls it deprecated.\n");
        }
        if self.is_open {
            out.push_str("      # The document lets anybody call it; say so here if that is meant: `public: reason`, and `exempt`.\n");
        }
        let key = json!(self.key()).to_string();
        match &self.name {
            Some(name) => writeln!(out, "      - {key}: {{ name: {} }}", json!(name)),
            None => writeln!(out, "      - {key}"),
        }
        .ok();
    }
}
