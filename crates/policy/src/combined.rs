//! Several identity schemes in one policy: how `any` and `all` are written.

use crate::guesses::Guesses;
use crate::identity::{SCHEMES, Scheme, foresee};
use crate::kind::BuildCtx;
use base::report::did_you_mean;
use base::{Node, Report, Value};
use http::HeaderName;
use schemars::{Schema, SchemaGenerator};
use std::sync::Arc;
use traffic::plan::Plans;
use traffic::policy::{Asked, Facts, Foreseen};

/// Schemes that were written as a list, or as a map with the list as `of`.
pub(crate) struct Combined {
    pub(crate) schemes: Vec<Box<dyn Scheme>>,
    pub(crate) guesses: Arc<Guesses>,
    pub(crate) plans: Arc<Plans>,
}

impl Combined {
    /// Reads the list and builds each of its schemes.
    pub(crate) fn build(node: &Node, ctx: &BuildCtx<'_>, report: &mut Report) -> Option<Self> {
        let (list, below) = match &node.value {
            Value::Map(fields) => {
                if let Some((name, _)) = fields.iter().find(|(name, _)| name.value != "of") {
                    let below = format!("/{}", name.value);
                    let message = format!("unknown field `{}`", name.value);
                    ctx.error(report, node, &below, message).help("there are `of` and `id`");
                    return None;
                }
                (node.field("of"), "/of")
            }
            _ => (Some(node), ""),
        };
        let Some(Value::List(items)) = list.map(|list| &list.value) else {
            ctx.error(report, node, below, "expected a list of identity policies")
                .help("such as `[api_key, { api_key: { header: x-token } }]`");
            return None;
        };
        if items.len() < 2 {
            let message = "one way to identify is no choice; list two or more";
            ctx.error(report, node, below, message);
            return None;
        }
        let built: Vec<_> = items
            .iter()
            .enumerate()
            .map(|(index, item)| {
                one(item, index, &format!("{}{below}/{index}", ctx.path), ctx, report)
            })
            .collect();
        let schemes: Option<Vec<_>> = built.into_iter().collect();
        Some(Self { schemes: schemes?, guesses: Guesses::of(ctx), plans: ctx.plans.names() })
    }

    /// What all of them say of themselves.
    pub(crate) fn facts(&self) -> Facts {
        let mut facts = Facts::default();
        self.schemes.iter().for_each(|scheme| facts.add(scheme.facts()));
        facts
    }

    /// The headers by which any of them tells backends who calls.
    pub(crate) fn speaks_for(&self) -> Vec<HeaderName> {
        self.schemes.iter().flat_map(|scheme| scheme.speaks_for()).collect()
    }
}

impl Combined {
    /// Whether a caller could be identified by any of them. Of several that must agree one says who it is.
    pub(crate) fn foresee(&self, asked: &Asked<'_>) -> Option<Foreseen> {
        let all: Vec<Foreseen> =
            self.schemes.iter().filter_map(|scheme| foresee(scheme, asked)).collect();
        let passes = all.iter().find(|it| matches!(it, Foreseen::Passes(_)));
        passes.or_else(|| all.first()).cloned()
    }
}

/// Builds the scheme of one item: a bare kind, or a map of one kind and its settings.
fn one(
    item: &Node,
    index: usize,
    path: &str,
    ctx: &BuildCtx<'_>,
    report: &mut Report,
) -> Option<Box<dyn Scheme>> {
    let nothing = Node { place: item.place.clone(), ..Node::unplaced(Value::Null) };
    let (kind, settings) = match &item.value {
        Value::Text(kind) => (kind.as_str(), &nothing),
        Value::Map(fields) if fields.len() == 1 => {
            fields.first().map(|(kind, settings)| (kind.value.as_str(), settings))?
        }
        _ => {
            let message = "expected an identity policy: `kind`, or `kind: settings`";
            report.error("invalid_value", &item.place, message).at(path);
            return None;
        }
    };
    let Some((name, build)) = SCHEMES.iter().find(|(name, _)| *name == kind) else {
        let names = SCHEMES.iter().map(|(name, _)| *name);
        let help = did_you_mean(kind, names.clone()).map_or_else(
            || format!("known here: {}", names.collect::<Vec<_>>().join(", ")),
            |near| format!("did you mean `{near}`?"),
        );
        let message = format!("`{kind}` is no policy that identifies callers");
        report.error("unknown_policy", &item.place, message).at(path).help(help);
        return None;
    };
    // The state of an item is keyed by its kind and place in the list.
    let id = format!("{}/{index}:{name}", ctx.id);
    let path = format!("{path}/{name}");
    let place = if item.place.is_known() { &item.place } else { ctx.place };
    build(settings, &BuildCtx { id: &id, path: &path, place, ..*ctx }, report)
}

/// The schema of the list and of the map around it.
pub(crate) fn schema(_: &mut SchemaGenerator) -> Schema {
    let names: Vec<&str> = SCHEMES.iter().map(|(name, _)| *name).collect();
    let item = serde_json::json!({
        "anyOf": [
            { "enum": names },
            {
                "type": "object",
                "minProperties": 1,
                "maxProperties": 1,
                "propertyNames": { "enum": names },
            },
        ],
    });
    let list = serde_json::json!({
        "type": "array",
        "description": "a list of identity policies, each as in `policies`",
        "minItems": 2,
        "items": item,
    });
    schemars::json_schema!({ "anyOf": [
        list,
        {
            "type": "object",
            "properties": { "of": list },
            "required": ["of"],
            "additionalProperties": false,
        },
    ] })
}
