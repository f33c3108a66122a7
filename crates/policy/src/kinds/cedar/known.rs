//! What the config says of consumers, routes, groups and whatever else policies ask about.

use super::written::Source;
use base::Report;
use base::caps::CEDAR_ENTITIES_MAX;
use cedar_policy::{Entities, Entity, EntityUid, EvalResult, RestrictedExpression};
use std::collections::{BTreeSet, HashMap, HashSet};

/// Attributes that the gateway says of consumers and routes, by their type.
const OWN_ATTRIBUTES: [(&str, &[&str]); 2] =
    [("Consumer", &["name", "known", "application", "claims"]), ("Route", &["api", "name"])];

/// Types of which only the gateway makes entities.
const OWN_TYPES: [&str; 2] = ["Action", "Nobody"];

/// What is said of an entity that a request brings along.
pub(super) type Said = (HashMap<String, RestrictedExpression>, HashSet<EntityUid>);

/// Entities of the config.
#[derive(Default)]
pub(super) struct Known {
    entities: HashMap<EntityUid, Member>,
    /// Those that policies name, and what these refer to.
    named: Vec<EntityUid>,
}

struct Member {
    entity: Entity,
    /// The entities to which it belongs and to which its attributes refer.
    refers: Box<[EntityUid]>,
    said: Said,
}

impl Known {
    /// Reads entities in Cedar's JSON form; whatever is wrong is told.
    pub(super) fn read(source: &Source<'_>, report: &mut Report) -> Option<Self> {
        let help =
            r#"`[{ "uid": { "type": "Group", "id": "staff" }, "attrs": {}, "parents": [] }]`"#;
        let json: serde_json::Value = match serde_json::from_str(&source.text) {
            Ok(json) => json,
            Err(error) => {
                let at = source.offset(error.line(), error.column());
                source.error(Some(at), &error.to_string(), help, report);
                return None;
            }
        };
        let entities = match Entities::from_json_value(json, None) {
            Ok(entities) => entities,
            Err(error) => {
                source.error(None, &whole(&error), help, report);
                return None;
            }
        };
        if entities.len() > CEDAR_ENTITIES_MAX {
            let message = format!("there can be at most {CEDAR_ENTITIES_MAX} entities");
            source.error(None, &message, "", report);
        }
        let mut known = Self::default();
        for entity in entities.iter() {
            let uid = entity.uid();
            let said = said(entity, source, report);
            let mut refers: Vec<EntityUid> = said.1.iter().cloned().collect();
            for (_, value) in entity.attrs() {
                value.iter().for_each(|value| references(value, &mut refers));
            }
            let refers = refers.into();
            known.entities.insert(uid, Member { entity: entity.clone(), refers, said });
        }
        Some(known)
    }

    /// Notes which of them policies name: these matter for every request.
    pub(super) fn name(&mut self, named: impl Iterator<Item = EntityUid>) {
        let related = self.related(named.collect());
        self.named = related.iter().map(Entity::uid).collect();
    }

    /// What is said of an entity that a request brings along.
    pub(super) fn of(&self, uid: &EntityUid) -> Option<&Said> {
        self.entities.get(uid).map(|member| &member.said)
    }

    /// Adds to the entities of a request all that policies can come to from them.
    pub(super) fn join(&self, own: &mut Vec<Entity>) {
        if self.entities.is_empty() {
            return;
        }
        let uids: HashSet<EntityUid> = own.iter().map(Entity::uid).collect();
        let mut from = self.named.clone();
        for entity in own.iter() {
            let (uid, _, parents) = entity.clone().into_inner();
            from.extend(parents);
            from.extend(self.entities.get(&uid).iter().flat_map(|it| it.refers.iter().cloned()));
        }
        let related = self.related(from);
        own.extend(related.into_iter().filter(|entity| !uids.contains(&entity.uid())));
    }

    /// These, as far as they are known, and all to which they refer.
    fn related(&self, mut from: Vec<EntityUid>) -> Vec<Entity> {
        let mut seen = HashSet::new();
        let mut related = Vec::new();
        while let Some(uid) = from.pop() {
            let Some(member) = self.entities.get(&uid) else { continue };
            if seen.insert(uid) {
                from.extend(member.refers.iter().cloned());
                related.push(member.entity.clone());
            }
        }
        related
    }

    /// Whether an entity is among them.
    pub(super) fn has(&self, uid: &EntityUid) -> bool {
        self.entities.contains_key(uid)
    }

    /// Of which types they are.
    pub(super) fn types(&self) -> BTreeSet<String> {
        self.entities.keys().map(|uid| uid.type_name().to_string()).collect()
    }
}

/// What an entity of the config is said to be, which must not be what the gateway says.
fn said(entity: &Entity, source: &Source<'_>, report: &mut Report) -> Said {
    let (uid, attributes, parents) = entity.clone().into_inner();
    let kind = uid.type_name().to_string();
    if OWN_TYPES.contains(&kind.as_str()) {
        let message = format!("`{uid}` is made by the gateway; it cannot be an entity here");
        source.error(None, &message, "", report);
    }
    let own = OWN_ATTRIBUTES.iter().find(|(name, _)| **name == kind).map(|(_, own)| *own);
    let own = own.unwrap_or_default().iter();
    for name in own.filter(|name| attributes.contains_key(**name)) {
        let message = format!("the gateway itself says `{name}` of `{uid}`");
        source.error(None, &message, "give the attribute another name", report);
    }
    (attributes, parents)
}

/// The entities in a value.
fn references(value: &EvalResult, into: &mut Vec<EntityUid>) {
    match value {
        EvalResult::EntityUid(uid) => into.push(uid.clone()),
        EvalResult::Set(items) => items.iter().for_each(|item| references(item, into)),
        EvalResult::Record(fields) => fields.iter().for_each(|(_, item)| references(item, into)),
        _ => {}
    }
}

/// An error with its causes.
fn whole(error: &dyn std::error::Error) -> String {
    let mut told = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let why = inner.to_string();
        if !told.contains(&why) {
            told = format!("{told}: {why}");
        }
        cause = inner.source();
    }
    told
}
