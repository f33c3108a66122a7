use super::{line, resolve, text_at};
use serde_json::{Value, json};

/// How callers are identified, as a policy and what its author should know.
#[derive(Clone, Debug, PartialEq)]
pub struct Identity {
    /// One item of `policies`.
    pub policy: Value,
    /// What the document says besides.
    pub about: Option<String>,
}

/// The way that the document names first and that can be had without knowing more than it says. There always is one: what
/// the document leaves open is closed until somebody opens it.
pub(super) fn read(document: &Value, notes: &mut Vec<String>) -> Identity {
    let schemes = document.pointer("/components/securitySchemes").and_then(Value::as_object);
    // Those that hold for all operations, then the others.
    let asked = document.get("security").and_then(Value::as_array).into_iter().flatten();
    let first = asked.filter_map(Value::as_object).flat_map(|it| it.keys());
    let all = schemes.into_iter().flat_map(|schemes| schemes.keys());
    let mut wanted = None;
    for name in first.chain(all) {
        let Some(scheme) = schemes.and_then(|schemes| schemes.get(name)) else { continue };
        let Ok(scheme) = resolve(document, scheme) else { continue };
        match policy(scheme) {
            Ok(policy) => return Identity { policy, about: wanted },
            Err(why) => {
                wanted.get_or_insert_with(|| {
                    format!("the document asks for `{}`: {why}", line(name))
                });
            }
        }
    }
    if schemes.is_none() {
        notes.push("the document does not say how callers are identified: by `api_key` until you say otherwise".to_owned());
    }
    if let Some(wanted) = &wanted {
        notes.push(wanted.clone());
    }
    Identity { policy: json!("api_key"), about: wanted }
}

fn policy(scheme: &Value) -> Result<Value, String> {
    let text = |keys: &[&str]| text_at(scheme, keys).unwrap_or_default();
    let http = text(&["scheme"]).to_ascii_lowercase();
    match (text(&["type"]), http.as_str()) {
        ("apiKey", _) => {
            let name = text(&["name"]);
            let is_token = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
            if name.is_empty() || !name.chars().all(is_token) {
                return Err("the name of the key cannot be used".to_owned());
            }
            match text(&["in"]) {
                // There is another policy for what this header holds.
                "header" if name.eq_ignore_ascii_case("authorization") => Ok(json!("api_key")),
                "header" => Ok(json!({ "api_key": { "header": name.to_ascii_lowercase() } })),
                "query" => Ok(json!({ "api_key": { "query": name } })),
                "cookie" => Ok(json!({ "api_key": { "cookie": name } })),
                _ => Err("nobody knows where the key is".to_owned()),
            }
        }
        ("http", "basic") => Ok(json!("basic")),
        ("http", "bearer") => Err(
            "say who issues the tokens, `jwt: { issuer: https://…, audience: … }`; keys are taken as bearer tokens meanwhile"
                .to_owned(),
        ),
        ("openIdConnect", _) => Err(format!(
            "`jwt: {{ issuer: {}, audience: … }}` would do; say for whom the tokens are",
            line(text(&["openIdConnectUrl"])).trim_end_matches("/.well-known/openid-configuration")
        )),
        ("oauth2", _) => {
            Err("say who issues the tokens, `jwt: { issuer: https://…, audience: … }`".to_owned())
        }
        ("mutualTLS", _) => Err(
            "`mtls` would do, with a listener that asks clients for certificates".to_owned(),
        ),
        _ => Err("there is no policy for that".to_owned()),
    }
}
