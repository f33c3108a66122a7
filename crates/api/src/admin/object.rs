//! Objects: the parts of a draft. `config` of each is what files say of it, short forms included.

use crate::body::{Any, Line};
use crate::call::{Answer, Call, time};
use crate::operation::{Operation, Shape, needs};
use crate::refusal::Refusal;
use control::Object;
use control::object::Sent as Written;
use control::permission::{Permission, Verb};
use http::{Method, StatusCode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// A kind of object, and where it stands.
#[derive(Clone, Copy)]
struct Kind {
    noun: &'static str,
    plural: &'static str,
    /// What it is a part of, the outermost first.
    owners: &'static [(&'static str, &'static str)],
    /// Its definition in the schema of configs; any where there is none.
    definition: Option<&'static str>,
    /// What it is, with an article.
    about: &'static str,
}

const API: (&str, &str) = ("api", "apis");
const ROUTE: (&str, &str) = ("route", "routes");

const KINDS: &[Kind] = &[
    kind(
        "listener",
        "listeners",
        &[],
        Some("Listener"),
        "a listener: an address where clients are served",
    ),
    kind("upstream", "upstreams", &[], Some("Upstream"), "an upstream: backends that do the same"),
    kind("certificate", "certificates", &[], None, "a certificate"),
    kind("plan", "plans", &[], Some("Plan"), "a plan: how much consumers may call"),
    kind("api", "apis", &[], Some("Api"), "an API: routes that are published together"),
    kind("route", "routes", &[API], Some("Route"), "a route of an API"),
    kind("policy", "policies", &[], Some("Policy"), "a policy of all APIs of the workspace"),
    kind("policy", "policies", &[API], Some("Policy"), "a policy of an API"),
    kind("policy", "policies", &[API, ROUTE], Some("Policy"), "a policy of a route"),
];

const fn kind(
    noun: &'static str,
    plural: &'static str,
    owners: &'static [(&'static str, &'static str)],
    definition: Option<&'static str>,
    about: &'static str,
) -> Kind {
    Kind { noun, plural, owners, definition, about }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sent {
    name: Option<Line>,
    position: Option<i64>,
    config: Any,
}

#[derive(Serialize, JsonSchema)]
struct Told {
    id: String,
    name: String,
    position: i64,
    config: Value,
    revision: i64,
    created: String,
    updated: String,
}

fn told(object: Object) -> Told {
    let Object { id, name, position, body, revision, created_ms, updated_ms, .. } = object;
    // It was JSON when it was kept.
    let config = serde_json::from_str(&body).unwrap_or_default();
    Told {
        id,
        name,
        position,
        config,
        revision,
        created: time(created_ms),
        updated: time(updated_ms),
    }
}

impl Kind {
    fn all(self) -> String {
        let mut path = "/v1/workspaces/{workspace}".to_owned();
        for (noun, plural) in self.owners {
            path.push_str(&format!("/{plural}/{{{noun}}}"));
        }
        path + "/" + self.plural
    }

    /// `api_policy`: what tells operations of one noun apart.
    fn name(self) -> String {
        self.owners
            .last()
            .filter(|_| self.noun == "policy")
            .map_or_else(|| self.noun.to_owned(), |(owner, _)| format!("{owner}_{}", self.noun))
    }

    /// The id of what it is a part of; empty for parts of the workspace itself.
    async fn owner(self, call: &Call, verb: Verb) -> Result<String, Refusal> {
        let permission = Permission::new(self.noun, verb);
        let mut owner = String::new();
        for (noun, _) in self.owners {
            let place = (&*call.workspace, *noun, &*owner);
            let found = call.control.object_find(&call.caller, permission, place, call.part(noun));
            owner = found.await?.id;
        }
        Ok(owner)
    }

    async fn find(self, call: &Call, verb: Verb) -> Result<Object, Refusal> {
        let owner = self.owner(call, verb).await?;
        let place = (&*call.workspace, self.noun, &*owner);
        let (permission, name) = (Permission::new(self.noun, verb), call.part(self.noun));
        Ok(call.control.object_find(&call.caller, permission, place, name).await?)
    }

    async fn list(self, call: Call) -> Result<Answer, Refusal> {
        let limit = call.query.limit()?;
        let owner = self.owner(&call, Verb::Read).await?;
        let place = (&*call.workspace, self.noun, &*owner);
        let (caller, after) = (&call.caller, call.query.after());
        let read = call.control.object_list(caller, place, after, limit + 1).await?;
        Answer::page(read, limit, |it| it.name.clone(), told)
    }

    async fn create(self, call: Call) -> Result<Answer, Refusal> {
        let sent: Sent = call.sent()?;
        let Some(name) = sent.name else {
            return Err(Refusal::malformed("", "`name` is missing"));
        };
        let owner = self.owner(&call, Verb::Create).await?;
        let place = (&*call.workspace, self.noun, &*owner);
        let position = sent.position.unwrap_or_default();
        let written = Written { name: &name.0, position, body: &sent.config.0 };
        let made = call.control.object_create(&call.caller, place, written).await?;
        let (revision, location) = (made.revision, format!("{}/{}", call.path, made.name));
        Ok(Answer::made(&told(made), Some(location))?.at(revision))
    }

    async fn get(self, call: Call) -> Result<Answer, Refusal> {
        let found = self.find(&call, Verb::Read).await?;
        let revision = found.revision;
        Ok(Answer::found(&told(found))?.at(revision))
    }

    async fn update(self, call: Call) -> Result<Answer, Refusal> {
        let sent: Sent = call.sent()?;
        let there = self.find(&call, Verb::Update).await?;
        let name = sent.name.map_or_else(|| there.name.clone(), |name| name.0);
        let position = sent.position.unwrap_or(there.position);
        let written = Written { name: &name, position, body: &sent.config.0 };
        let place = (&*call.workspace, self.noun, &*there.id);
        let revision = call.revision(there.revision);
        let became = call.control.object_update(&call.caller, place, revision, written).await?;
        let revision = became.revision;
        Ok(Answer::found(&told(became))?.at(revision))
    }

    async fn delete(self, call: Call) -> Result<Answer, Refusal> {
        let there = self.find(&call, Verb::Delete).await?;
        let place = (&*call.workspace, self.noun, &*there.id);
        let revision = call.revision(there.revision);
        call.control.object_delete(&call.caller, place, revision).await?;
        Ok(Answer::none())
    }

    fn title(self) -> String {
        let name = self.name();
        let word = |word: &str| {
            let mut letters = word.chars();
            let first = letters.next().map(|first| first.to_ascii_uppercase());
            first.into_iter().chain(letters).collect::<String>()
        };
        name.split('_').map(word).collect()
    }

    /// What its `config` is.
    fn config(self) -> Value {
        self.definition.map_or_else(
            || json!({ "description": "What it says.", "type": "object" }),
            |name| json!({ "$ref": format!("#/components/schemas/Config{name}") }),
        )
    }

    fn sent(self, is_new: bool) -> Shape {
        let (title, name) = (self.title(), crate::openapi::name_schema("What it is called."));
        let position = json!({
            "type": ["integer", "null"], "format": "int64",
            "description": "Where it stands among its siblings; those of one position stand by name. 0, or as it was.",
        });
        let required: &[&str] = if is_new { &["name", "config"] } else { &["config"] };
        let schema = json!({
            "type": "object",
            "additionalProperties": false,
            "properties": { "name": name, "position": position, "config": self.config() },
            "required": required,
        });
        Shape::Named(if is_new { format!("New{title}") } else { format!("Changed{title}") }, schema)
    }

    fn told(self) -> Shape {
        let text = |about: &str| json!({ "type": "string", "description": about });
        let number =
            |about: &str| json!({ "type": "integer", "format": "int64", "description": about });
        let schema = json!({
            "type": "object",
            "properties": {
                "id": text("Its id, which stays when it is renamed."),
                "name": text("What it is called."),
                "position": number("Where it stands among its siblings; those of one position stand by name."),
                "config": { "description": "What it says, as it was written; it is checked as a whole when it is published." },
                "revision": number("How often it was changed, from 1; also its ETag."),
                "created": text("When it was made (RFC 3339)."),
                "updated": text("When it was changed last (RFC 3339)."),
            },
            "required": ["id", "name", "position", "config", "revision", "created", "updated"],
        });
        Shape::Named(format!("{}Object", self.title()), schema)
    }

    fn page(self) -> Shape {
        let title = self.title();
        let schema = json!({
            "type": "object",
            "properties": {
                "items": {
                    "type": "array",
                    "items": { "$ref": format!("#/components/schemas/{title}Object") },
                    "description": "By name.",
                },
                "next": {
                    "type": ["string", "null"],
                    "description": "`after` of the next page; null on the last.",
                },
            },
            "required": ["items", "next"],
        });
        Shape::Named(format!("{title}Page"), schema)
    }

    fn operations(self) -> [Operation; 5] {
        let (all, one) = (self.all(), format!("{}/{{{}}}", self.all(), self.noun));
        let (name, noun, about) = (self.name(), self.noun, self.about);
        let plain = about.split(':').next().unwrap_or_default();
        let bare = plain.trim_start_matches("an ").trim_start_matches("a ");
        [
            Operation::new(
                (Method::GET, &*all),
                format!("{name}_list"),
                needs(noun, Verb::Read),
                format!("All of this kind, by name: {bare}"),
                move |call| self.list(call),
            )
            .answers(StatusCode::OK, self.page())
            .paged(),
            Operation::new(
                (Method::POST, all),
                format!("{name}_create"),
                needs(noun, Verb::Create),
                format!("Add {about}"),
                move |call| self.create(call),
            )
            .about("It becomes part of the draft; nothing changes for traffic until a revision is published.")
            .takes(self.sent(true))
            .answers(StatusCode::CREATED, self.told())
            .tagged()
            .problems(&[404, 409]),
            Operation::new(
                (Method::GET, &*one),
                format!("{name}_get"),
                needs(noun, Verb::Read),
                format!("Read {plain}"),
                move |call| self.get(call),
            )
            .answers(StatusCode::OK, self.told())
            .tagged(),
            Operation::new(
                (Method::PUT, &*one),
                format!("{name}_update"),
                needs(noun, Verb::Update),
                format!("Change {plain}"),
                move |call| self.update(call),
            )
            .takes(self.sent(false))
            .answers(StatusCode::OK, self.told())
            .tagged()
            .problems(&[409]),
            Operation::new(
                (Method::DELETE, one),
                format!("{name}_delete"),
                needs(noun, Verb::Delete),
                format!("Take {plain} out of the draft, with all that is part of it"),
                move |call| self.delete(call),
            ),
        ]
    }
}

pub(crate) fn operations() -> Vec<Operation> {
    KINDS.iter().flat_map(|kind| kind.operations()).collect()
}
