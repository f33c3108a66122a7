use crate::operation::{Access, Operation, Shape, operations};
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use control::permission::Permission;
use http::Method;
use schemars::SchemaGenerator;
use schemars::generate::{Contract, SchemaSettings};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// Where schemas stand in the document.
const SCHEMAS: &str = "#/components/schemas/";
/// What definitions of configs begin with, so that they are not taken for the API's own.
const CONFIG: &str = "Config";

const ABOUT: &str = "\
Everything that Yett keeps can be read and changed here: workspaces, the parts of their drafts, what was published, and who may do what.

**Who asks.** Send `Authorization: Bearer …` with a token (`POST /v1/tokens`) or a session (`POST /v1/sessions` with `\"bearer\": true`). Browsers have a \
cookie; with it, everything but GET needs the header `x-yett-csrf: 1`.

**Problems** are `application/problem+json` (RFC 9457). `code` is what programs go by, `findings` says where: a pointer (RFC 6901) leads into \
the body that was sent, `?name` is a query parameter, `{name}` a part of the path.

**Changes** go by revisions: what was read has an `ETag`, and who changes or deletes it sends that as `If-Match`. If somebody else was faster, the answer is \
412 with the revision that is there. `If-Match: *` goes by whatever is there.

**Repetition**: a POST with an `Idempotency-Key` is done once; whoever sends it again with the same key gets the same answer.

**Lists** come in pages of `limit` items; `next` of one is `after` of the next.

**Objects** are the parts of a draft: `config` of one is what a file says of it, short forms included, and has the same schema. It is kept as it was sent, and checked as a whole: \
by `GET …/draft/check`, and when it is published.";

/// A problem as a schema.
fn problem() -> Value {
    json!({
        "type": "object",
        "description": "Why a request was refused (RFC 9457). Nothing was changed.",
        "properties": {
            "type": { "type": "string", "description": "Always `about:blank`: `code` says more." },
            "title": { "type": "string", "description": "What the status means." },
            "status": { "type": "integer", "description": "The status." },
            "code": { "type": "string", "description": "What kind of problem it is, for programs." },
            "detail": { "type": "string", "description": "What is wrong and what helps, for people." },
            "request_id": { "type": "string", "description": "The id of the request, as in `x-request-id`." },
            "findings": {
                "type": "array",
                "items": { "$ref": format!("{SCHEMAS}Finding") },
                "description": "Everything that is wrong with what was sent.",
            },
            "revision": {
                "type": "integer", "format": "int64",
                "description": "The revision that is there, where somebody else was faster.",
            },
        },
        "required": ["type", "title", "status", "code", "detail", "request_id"],
    })
}

/// A name.
const NAME: &str = "^[a-z0-9][a-z0-9_-]{0,62}$";
/// A text in one line.
const PLAIN: &str = "^[^\\u0000-\\u001f\\u007f-\\u009f]*$";

/// What each status of a problem means.
const STATUSES: &[(u16, &str)] = &[
    (400, "The request cannot be understood; `findings` says where."),
    (401, "Nobody is logged in, or the login has ended."),
    (403, "The caller may not do this, or a page of another origin asks."),
    (404, "It does not exist, or the caller may not know of it."),
    (408, "The body took too long to arrive."),
    (409, "Something else has this name, or speaks of it."),
    (412, "Somebody else changed it meanwhile; `revision` is the one that is there."),
    (413, "The body is too large."),
    (415, "The body is not JSON."),
    (421, "The request is for another host."),
    (422, "What was sent cannot be taken; `findings` says why."),
    (428, "`If-Match` is missing."),
    (429, "Too many attempts."),
    (500, "A mistake of this program; the log says more."),
    (503, "The database cannot be used at the moment, or too much is asked; traffic goes on."),
];

/// The schema of a name.
pub(crate) fn name_schema(about: &str) -> Value {
    json!({ "type": "string", "pattern": NAME, "description": about })
}

/// All schemas that bodies refer to.
struct Schemas {
    /// Of what is sent, and of what is answered: these differ in what must be there.
    generators: [SchemaGenerator; 2],
    named: Map<String, Value>,
}

impl Schemas {
    fn new() -> Self {
        let generator = |contract| {
            let mut settings = SchemaSettings::draft2020_12();
            settings.definitions_path = "/components/schemas".into();
            settings.contract = contract;
            settings.into_generator()
        };
        let generators = [generator(Contract::Deserialize), generator(Contract::Serialize)];
        Self { generators, named: Map::new() }
    }

    fn schema(&mut self, shape: &Shape, is_sent: bool) -> Value {
        match shape {
            Shape::Of(schema) => {
                let [sent, answered] = &mut self.generators;
                schema(if is_sent { sent } else { answered }).to_value()
            }
            Shape::Named(name, schema) => {
                self.named.insert(name.clone(), schema.clone());
                json!({ "$ref": format!("{SCHEMAS}{name}") })
            }
        }
    }

    /// By name, with those of configs.
    fn all(self, config_schema: &Value) -> Map<String, Value> {
        let mut all = self.named;
        for mut generator in self.generators {
            all.extend(generator.take_definitions(true));
        }
        all.insert("Problem".to_owned(), problem());
        let definitions = config_schema.get("$defs").and_then(Value::as_object);
        for (name, schema) in definitions.into_iter().flatten() {
            all.insert(format!("{CONFIG}{name}"), moved(schema));
        }
        let mut whole = config_schema.clone();
        if let Value::Object(fields) = &mut whole {
            fields.retain(|name, _| !name.starts_with('$'));
        }
        all.insert(CONFIG.to_owned(), moved(&whole));
        let mut names: Vec<String> = all.keys().cloned().collect();
        names.sort_unstable();
        names.into_iter().filter_map(|name| all.remove_entry(&name)).collect()
    }
}

/// A schema of configs as it stands in this document.
fn moved(schema: &Value) -> Value {
    match schema {
        Value::Object(fields) => {
            let field = |(name, value): (&String, &Value)| {
                let target = value.as_str().and_then(|text| text.strip_prefix("#/$defs/"));
                let value = match target {
                    Some(target) if name == "$ref" => json!(format!("{SCHEMAS}{CONFIG}{target}")),
                    _ => moved(value),
                };
                (name.clone(), value)
            };
            Value::Object(fields.iter().map(field).collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(moved).collect()),
        other => other.clone(),
    }
}

impl Operation {
    /// All statuses of problems that it may answer with.
    pub(crate) fn refusals(&self) -> BTreeSet<u16> {
        let mut all = BTreeSet::from([400, 421, 500, 503]);
        all.extend(self.problems);
        if self.access != Access::Open {
            all.insert(401);
        }
        if self.method != Method::GET || matches!(self.access, Access::Needs(_)) {
            all.insert(403);
        }
        if self.path.contains('{') {
            all.insert(404);
        }
        if self.is_conditional {
            all.extend([412, 428]);
        }
        if self.takes_key() {
            all.extend([409, 422]);
        }
        if self.body.is_some() {
            all.extend([408, 413, 415, 422]);
        }
        all
    }

    /// Whether it is done once for each key.
    fn takes_key(&self) -> bool {
        self.method == Method::POST && self.access != Access::Open
    }

    fn parameters(&self) -> Vec<Value> {
        let mut all: Vec<Value> = self.parts().map(part).collect();
        for parameter in self.query {
            let schema = match parameter.is_count {
                true => json!({ "type": "integer", "minimum": 1, "maximum": 200, "default": 50 }),
                false => json!({ "type": "string", "maxLength": 128, "pattern": PLAIN }),
            };
            all.push(json!({
                "name": parameter.name, "in": "query", "required": false,
                "description": parameter.about, "schema": schema,
            }));
        }
        let header = |name: &str, is_required: bool, about: &str| {
            json!({
                "name": name, "in": "header", "required": is_required,
                "description": about, "schema": { "type": "string" },
            })
        };
        if self.is_conditional {
            let about = "The ETag that was read; `*` goes by whatever is there.";
            all.push(header("If-Match", true, about));
        }
        if self.takes_key() {
            let about = "A key of your choice: a request that comes again with it is done once, and answered the same.";
            let mut key = header("Idempotency-Key", false, about);
            key["schema"] = json!({ "type": "string", "pattern": "^[!-~]{1,255}$" });
            all.push(key);
        }
        if self.is_tagged && self.method == Method::GET {
            let about = "An ETag: if it is still the same, the answer is 304.";
            all.push(header("If-None-Match", false, about));
        }
        all
    }

    fn responses(&self, schemas: &mut Schemas) -> Map<String, Value> {
        let mut headers = Map::new();
        let text = |about: &str| json!({ "description": about, "schema": { "type": "string" } });
        if self.is_tagged {
            headers.insert("ETag".to_owned(), text("The revision, for `If-Match`."));
        }
        if self.status == 201 && self.is_tagged {
            headers.insert("Location".to_owned(), text("Where it is."));
        }
        let mut answer = json!({ "description": self.summary });
        if let Some(shape) = &self.answer {
            answer["content"] =
                json!({ "application/json": { "schema": schemas.schema(shape, false) } });
        }
        if !headers.is_empty() {
            answer["headers"] = Value::Object(headers);
        }
        let links = self.links();
        if !links.is_empty() {
            answer["links"] = Value::Object(links);
        }
        let mut all = Map::from_iter([(self.status.as_u16().to_string(), answer)]);
        if self.is_tagged && self.method == Method::GET {
            all.insert("304".to_owned(), json!({ "description": "It is still the same." }));
        }
        for status in self.refusals() {
            let response = format!("#/components/responses/Problem{status}");
            all.insert(status.to_string(), json!({ "$ref": response }));
        }
        all
    }

    /// From what was made to what can be done with it.
    fn links(&self) -> Map<String, Value> {
        let Some(kind) = self.name.strip_suffix("_create") else { return Map::new() };
        let mut all = Map::new();
        for verb in ["get", "update", "delete"] {
            let name = format!("{kind}_{verb}");
            let Some(next) = operations().iter().find(|it| it.name == name) else { continue };
            let Some(part) = next.parts().last() else { continue };
            let above =
                self.parts().map(|part| (part.to_owned(), json!(format!("$request.path.{part}"))));
            let field = match part {
                "credential" => "$response.body#/credential/id",
                "revision" => "$response.body#/number",
                _ => "$response.body#/name",
            };
            let own = (part.to_owned(), json!(field));
            let parameters: Map<String, Value> =
                above.filter(|(name, _)| next.parts().any(|it| it == name)).chain([own]).collect();
            all.insert(verb.to_owned(), json!({ "operationId": name, "parameters": parameters }));
        }
        all
    }

    fn document(&self, schemas: &mut Schemas) -> Value {
        let mut about = vec![self.about.to_owned()];
        match self.access {
            Access::Open => about.push("Everybody may ask for this.".to_owned()),
            Access::Own => about.push("Whoever is logged in may ask for this.".to_owned()),
            Access::Needs(Permission { noun, verb }) => {
                about.push(format!("Needs the permission `{noun}:{}`.", verb.name()));
            }
        }
        about.retain(|text| !text.is_empty());
        let mut document = json!({
            "operationId": self.name,
            "tags": [self.tag()],
            "summary": self.summary,
            "description": about.join(" "),
            "parameters": self.parameters(),
        });
        if let Some(shape) = &self.body {
            document["requestBody"] = json!({
                "required": !self.is_body_optional,
                "content": { "application/json": { "schema": schemas.schema(shape, true) } },
            });
        }
        document["responses"] = Value::Object(self.responses(schemas));
        if self.access == Access::Open {
            document["security"] = json!([]);
        }
        if let Access::Needs(Permission { noun, verb }) = self.access {
            document["x-permission"] = json!(format!("{noun}:{}", verb.name()));
        }
        document
    }

    /// The noun of its permission, or else of its name.
    pub(crate) fn tag(&self) -> &str {
        match self.access {
            Access::Needs(permission) if self.noun() != "draft" => permission.noun,
            _ => self.noun(),
        }
    }
}

/// A part of a path.
fn part(name: &str) -> Value {
    let schema = match name {
        "revision" => json!({ "type": "integer", "format": "int64", "minimum": 1 }),
        _ => json!({ "type": "string", "pattern": NAME }),
    };
    let about = match name {
        "revision" => "The number of the revision.".to_owned(),
        "credential" => "The id of the credential.".to_owned(),
        name => format!("The name of the {name}."),
    };
    json!({
        "name": name, "in": "path", "required": true,
        "description": about,
        "schema": schema,
    })
}

/// The OpenAPI document as it is committed and served, with the definitions of a JSON Schema of configs.
#[must_use]
pub fn document(config_schema: &Value) -> String {
    text(&tree(config_schema))
}

/// The document.
pub(crate) fn tree(config_schema: &Value) -> Value {
    let mut schemas = Schemas::new();
    let mut paths = Map::new();
    let mut tags: Vec<&str> = Vec::new();
    for operation in operations() {
        if !tags.contains(&operation.tag()) {
            tags.push(operation.tag());
        }
        let method = operation.method.as_str().to_ascii_lowercase();
        let path = paths.entry(operation.path.clone()).or_insert_with(|| json!({}));
        path[method] = operation.document(&mut schemas);
    }
    let response = |(status, about): &(u16, &str)| {
        let schema = json!({ "$ref": format!("{SCHEMAS}Problem") });
        let content = json!({ "application/problem+json": { "schema": schema } });
        (format!("Problem{status}"), json!({ "description": about, "content": content }))
    };
    let responses: Map<String, Value> = STATUSES.iter().map(response).collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Yett admin API",
            "version": env!("CARGO_PKG_VERSION"),
            "description": ABOUT,
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "security": [{ "bearer": [] }, { "session": [] }],
        "tags": tags.into_iter().map(|name| json!({ "name": name })).collect::<Vec<_>>(),
        "paths": paths,
        "components": {
            "securitySchemes": {
                "bearer": { "type": "http", "scheme": "bearer", "description": "A token or a session." },
                "session": { "type": "apiKey", "in": "cookie", "name": "yett_session", "description": "A browser's session." },
            },
            "responses": responses,
            "schemas": schemas.all(config_schema),
        },
    })
}

/// As it is written.
pub(crate) fn text(document: &Value) -> String {
    serde_json::to_string_pretty(document).unwrap_or_default() + "\n"
}

/// What tells one text from another.
pub(crate) fn tag(text: &str) -> String {
    format!("\"{}\"", URL_SAFE_NO_PAD.encode(digest(&SHA256, text.as_bytes())))
}
