//! A request as Cedar is asked about it.

use super::rules::Rules;
use crate::access::permission_of;
use cedar_policy::{
    Context, Entity, EntityId, EntityTypeName, EntityUid, Request, RestrictedExpression,
};
use http::HeaderName;
use percent_encoding::percent_decode_str;
use std::collections::{HashMap, HashSet};
use std::str::FromStr as _;
use std::sync::Arc;
use traffic::Exchange;
use traffic::exchange::Claim;

/// The names of entity types, read once.
#[derive(Clone)]
pub(super) struct Types {
    consumer: EntityTypeName,
    nobody: EntityTypeName,
    group: EntityTypeName,
    role: EntityTypeName,
    action: EntityTypeName,
    route: EntityTypeName,
    api: EntityTypeName,
}

impl Types {
    pub(super) fn new() -> Result<Self, String> {
        let name = |name| EntityTypeName::from_str(name).map_err(|error| error.to_string());
        Ok(Self {
            consumer: name("Consumer")?,
            nobody: name("Nobody")?,
            group: name("Group")?,
            role: name("Role")?,
            action: name("Action")?,
            route: name("Route")?,
            api: name("Api")?,
        })
    }
}

/// A route, as it is asked about.
#[derive(Clone)]
pub(super) struct Resource {
    api: Box<str>,
    name: Box<str>,
}

impl Resource {
    pub(super) fn new(api: &str, name: &str) -> Self {
        Self { api: api.into(), name: name.into() }
    }
}

fn entity(kind: &EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(id))
}

fn text(text: &str) -> RestrictedExpression {
    RestrictedExpression::new_string(text.to_owned())
}

type Fields = Vec<(String, RestrictedExpression)>;

fn record(fields: Fields) -> Result<RestrictedExpression, String> {
    RestrictedExpression::new_record(fields).map_err(|error| error.to_string())
}

/// A claim, as far as Cedar knows its kind: fractions and nothing are left out.
fn claim(value: &Claim) -> Option<RestrictedExpression> {
    Some(match value {
        Claim::Null => return None,
        Claim::Bool(flag) => RestrictedExpression::new_bool(*flag),
        Claim::Number(number) => RestrictedExpression::new_long(number.as_i64()?),
        Claim::Text(said) => text(said),
        Claim::List(items) => RestrictedExpression::new_set(items.iter().filter_map(claim)),
        Claim::Object(fields) => {
            let fields =
                fields.iter().filter_map(|(name, value)| Some((name.to_owned(), claim(value)?)));
            record(fields.collect()).ok()?
        }
    })
}

/// How a request is asked about.
pub(super) struct Asking<'a> {
    pub(super) types: &'a Types,
    pub(super) rules: &'a Rules,
    pub(super) resource: &'a Resource,
    pub(super) headers: &'a [HeaderName],
}

impl Asking<'_> {
    /// The question, and the entities that matter for it.
    pub(super) fn of(&self, exchange: &Exchange) -> Result<(Request, Vec<Entity>), String> {
        let method = &exchange.request.method;
        let action = entity(&self.types.action, method.as_str());
        let permission = entity(&self.types.action, permission_of(method));
        let of_action = Entity::new_no_attrs(action.clone(), HashSet::from([permission]));
        let principal = self.principal(exchange)?;
        let route = self.route()?;
        let (uid, resource) = (principal.uid(), route.uid());
        let context = self.context(exchange)?;
        let request = Request::new(uid, action, resource, context, None);
        let request = request.map_err(|error| error.to_string())?;
        let mut entities = vec![principal, route, of_action];
        self.rules.known.join(&mut entities);
        Ok((request, entities))
    }

    fn route(&self) -> Result<Entity, String> {
        let Resource { api, name } = self.resource;
        let uid = entity(&self.types.route, &format!("{api}/{name}"));
        let own = vec![("api".to_owned(), text(api)), ("name".to_owned(), text(name))];
        self.entity(uid, own, HashSet::from([entity(&self.types.api, api)]))
    }

    fn principal(&self, exchange: &Exchange) -> Result<Entity, String> {
        let Some(consumer) = exchange.consumer.as_deref() else {
            return Ok(Entity::new_no_attrs(entity(&self.types.nobody, ""), HashSet::new()));
        };
        let credential = exchange.credential.as_deref();
        let used = credential.and_then(|credential| credential.roles.as_deref());
        // An application makes use of no other roles than it says.
        let is_used = |role: &&Arc<str>| used.is_none_or(|used| used.contains(*role));
        let groups = consumer.groups.iter().map(|group| entity(&self.types.group, group));
        let roles =
            consumer.roles.iter().filter(is_used).map(|role| entity(&self.types.role, role));
        let parents: HashSet<EntityUid> = groups.chain(roles).collect();
        let application = credential.and_then(|it| it.application.as_deref()).unwrap_or_default();
        let claims = exchange.claims.iter().flat_map(|claims| claims.iter());
        let claims = claims.filter_map(|(name, value)| Some((name.to_owned(), claim(value)?)));
        let own = vec![
            ("name".to_owned(), text(&consumer.name)),
            ("known".to_owned(), RestrictedExpression::new_bool(consumer.is_known)),
            ("application".to_owned(), text(application)),
            ("claims".to_owned(), record(claims.collect())?),
        ];
        self.entity(entity(&self.types.consumer, &consumer.name), own, parents)
    }

    /// An entity of the request, with what the config says of it.
    fn entity(
        &self,
        uid: EntityUid,
        own: Fields,
        mut parents: HashSet<EntityUid>,
    ) -> Result<Entity, String> {
        let mut attributes: HashMap<String, RestrictedExpression> = HashMap::new();
        if let Some((said, of)) = self.rules.known.of(&uid) {
            attributes.clone_from(said);
            parents.extend(of.iter().cloned());
        }
        attributes.extend(own);
        Entity::new(uid, attributes, parents).map_err(|error| error.to_string())
    }

    fn context(&self, exchange: &Exchange) -> Result<Context, String> {
        let head = &exchange.request;
        let mut params: Fields = Vec::new();
        if let Some(matched) = &exchange.matched {
            for name in &matched.route.params {
                let value = matched.param(name).unwrap_or_default();
                let value = percent_decode_str(value).decode_utf8_lossy();
                params.push((name.to_string(), text(&value)));
            }
        }
        let mut headers: Fields = Vec::new();
        for name in self.headers {
            let mut values = Vec::new();
            for value in head.headers.all(name) {
                // What is no text could be what a policy forbids.
                let value =
                    value.to_str().map_err(|_| format!("the header `{name}` is not text"))?;
                values.push(value);
            }
            // Several are one list (RFC 9110, 5.3).
            if !values.is_empty() {
                headers.push((name.as_str().to_owned(), text(&values.join(", "))));
            }
        }
        let mut fields = vec![
            ("method".to_owned(), text(head.method.as_str())),
            ("host".to_owned(), text(&head.host)),
            ("path".to_owned(), text(head.path())),
            ("params".to_owned(), record(params)?),
            ("headers".to_owned(), record(headers)?),
        ];
        if let Some(address) = exchange.client_ip() {
            let address = RestrictedExpression::new_ip(address.to_string());
            fields.push(("address".to_owned(), address));
        }
        Context::from_pairs(fields).map_err(|error| error.to_string())
    }
}
