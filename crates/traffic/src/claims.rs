//! What is said of a caller, in little room: it is kept for ten thousands of tokens at once.

use serde_json::{Map, Number, Value};
use std::fmt;

/// The claim that names who says all this (RFC 7519, 4.1.1).
const ISSUER: &str = "iss";

/// A JSON object as it is taken apart or put together.
pub type Claims = Map<String, Value>;

/// What an issuer of tokens or another authority says of a caller: a JSON object that nobody changes. It takes a third of the
/// memory of [`Claims`].
#[derive(Clone, Default, PartialEq, Eq)]
pub struct KeptClaims(Box<[(Box<str>, Claim)]>);

/// A value within [`KeptClaims`].
#[derive(Clone, PartialEq, Eq)]
pub enum Claim {
    /// Nothing.
    Null,
    /// Yes or no.
    Bool(bool),
    /// A number.
    Number(Number),
    /// A text.
    Text(Box<str>),
    /// A list.
    List(Box<[Self]>),
    /// An object.
    Object(KeptClaims),
}

impl KeptClaims {
    /// The value of a member, if it is there.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Claim> {
        let at = self.0.binary_search_by(|(own, _)| (**own).cmp(name)).ok()?;
        self.0.get(at).map(|(_, claim)| claim)
    }

    /// A member by its name, or within others by names with dots between.
    #[must_use]
    pub fn find(&self, path: &str) -> Option<&Claim> {
        if let Some(claim) = self.get(path) {
            return Some(claim);
        }
        let (first, rest) = path.split_once('.')?;
        rest.split('.').try_fold(self.get(first)?, |claim, name| claim.get(name))
    }

    /// The members, in the order of their names.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Claim)> {
        self.0.iter().map(|(name, claim)| (&**name, claim))
    }

    /// What either of two says; where they differ, this one counts. Unless both name the same issuer (`iss`), none is
    /// named: what one of them says must not be taken for the other's word.
    #[must_use]
    pub fn over(&self, other: &Self) -> Self {
        let is_kept = |name: &str| name != ISSUER || self.get(ISSUER) == other.get(ISSUER);
        let own = self.0.iter().filter(|(name, _)| is_kept(name));
        let others = other.0.iter().filter(|(name, _)| is_kept(name) && self.get(name).is_none());
        Self::sorted(own.chain(others).cloned().collect())
    }

    /// All of it, to be changed or written.
    #[must_use]
    pub fn json(&self) -> Claims {
        self.iter().map(|(name, claim)| (name.to_owned(), claim.json())).collect()
    }

    /// About how many bytes of memory it takes, with what allocators add.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let member =
            |(name, claim): (&str, &Claim)| size_of::<Box<str>>() + name.len() + 8 + claim.bytes();
        8 + self.iter().map(member).sum::<usize>()
    }

    fn sorted(mut members: Vec<(Box<str>, Claim)>) -> Self {
        members.sort_by(|(a, _), (b, _)| a.cmp(b));
        Self(members.into_boxed_slice())
    }
}

impl From<&Claims> for KeptClaims {
    fn from(claims: &Claims) -> Self {
        let members = claims.iter().map(|(name, value)| (name.as_str().into(), value.into()));
        Self::sorted(members.collect())
    }
}

impl fmt::Debug for KeptClaims {
    /// Says nothing of the caller.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeptClaims({})", self.0.len())
    }
}

impl Claim {
    /// What it says, if it is a text.
    #[must_use]
    pub const fn as_str(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The value of a member, if it is an object that has it.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Object(members) => members.get(name),
            _ => None,
        }
    }

    /// What a JSON pointer leads to from here (RFC 6901).
    #[must_use]
    pub fn pointer(&self, pointer: &str) -> Option<&Self> {
        if pointer.is_empty() {
            return Some(self);
        }
        let mut names = pointer.strip_prefix('/')?.split('/');
        names.try_fold(self, |claim, name| {
            let name = name.replace("~1", "/").replace("~0", "~");
            match claim {
                Self::Object(members) => members.get(&name),
                Self::List(items)
                    if !name.starts_with('+') && (name == "0" || !name.starts_with('0')) =>
                {
                    items.get(name.parse::<usize>().ok()?)
                }
                _ => None,
            }
        })
    }

    /// The same, to be changed or written.
    #[must_use]
    pub fn json(&self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Bool(flag) => Value::Bool(*flag),
            Self::Number(number) => Value::Number(number.clone()),
            Self::Text(text) => Value::String(text.to_string()),
            Self::List(items) => items.iter().map(Self::json).collect(),
            Self::Object(members) => Value::Object(members.json()),
        }
    }

    fn bytes(&self) -> usize {
        size_of::<Self>()
            + match self {
                Self::Null | Self::Bool(_) | Self::Number(_) => 0,
                Self::Text(text) => text.len() + 8,
                Self::List(items) => 8 + items.iter().map(Self::bytes).sum::<usize>(),
                Self::Object(members) => members.bytes(),
            }
    }
}

impl From<&Value> for Claim {
    fn from(value: &Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(flag) => Self::Bool(*flag),
            Value::Number(number) => Self::Number(number.clone()),
            Value::String(text) => Self::Text(text.as_str().into()),
            Value::Array(items) => Self::List(items.iter().map(Self::from).collect()),
            Value::Object(members) => Self::Object(members.into()),
        }
    }
}

impl fmt::Debug for Claim {
    /// Says nothing of the caller.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Claim")
    }
}

#[cfg(test)]
mod tests {
    use super::{Claim, KeptClaims};
    use serde_json::{Value, json};

    fn kept(value: &Value) -> KeptClaims {
        value.as_object().unwrap().into()
    }

    fn said() -> Value {
        json!({
            "sub": "alice", "a\"b": "c\"d", "": "", "big": u64::MAX, "less": -1, "half": 0.5, "none": null,
            "roles": ["a", { "b": [7] }], "äöü": "Zoë", "admin": true, "x.y": 1, "x": { "y": { "z": 2 }, "a/b": 3 },
        })
    }

    #[test]
    fn claims_are_as_they_were_said() {
        let kept = kept(&said());
        for (name, value) in said().as_object().unwrap() {
            assert_eq!(kept.get(name).map(Claim::json).as_ref(), Some(value), "{name}");
        }
        assert!(kept.get("su").is_none() && kept.get("suba").is_none() && kept.get("y").is_none());
        assert_eq!(Value::Object(kept.json()), said());
        assert_eq!(kept.iter().len(), 12);
    }

    #[test]
    fn paths_and_pointers_lead_into_objects() {
        let kept = kept(&said());
        let found = |path: &str| kept.find(path).map(Claim::json);
        assert_eq!(found("x.y"), Some(json!(1)), "a name with a dot comes first");
        assert_eq!(found("x.y.z"), Some(json!(2)));
        assert_eq!(found("x.z"), None);
        assert_eq!(found("sub.x"), None);
        for (name, pointer) in [
            ("x", "/y/z"),
            ("x", "/a~1b"),
            ("x", ""),
            ("x", "y"),
            ("roles", "/1/b/0"),
            ("roles", "/01"),
            ("roles", "/+1"),
            ("roles", "/2"),
        ] {
            let expected = said()[name].pointer(pointer).cloned();
            assert_eq!(
                kept.get(name).unwrap().pointer(pointer).map(Claim::json),
                expected,
                "{name} {pointer}"
            );
        }
    }

    #[test]
    fn of_two_that_differ_the_first_counts() {
        let first = kept(&json!({ "z": 1, "both": "first" }));
        let second = kept(&json!({ "both": "second", "a": [2] }));
        let all = json!({ "z": 1, "both": "first", "a": [2] });
        assert_eq!(Value::Object(first.over(&second).json()), all);
        assert_eq!(first.over(&KeptClaims::default()), first);
    }

    #[test]
    fn what_several_say_together_is_the_word_of_none_of_them() {
        let by = |issuer: &str| kept(&json!({ "iss": issuer, issuer: true }));
        let iss = |claims: KeptClaims| claims.get("iss").map(Claim::json);
        assert_eq!(iss(by("a").over(&by("a"))), Some(json!("a")));
        assert_eq!(iss(by("a").over(&by("b"))), None);
        assert_eq!(iss(by("a").over(&kept(&json!({ "role": "admin" })))), None);
        assert_eq!(iss(kept(&json!({ "role": "admin" })).over(&by("b"))), None);
    }

    #[test]
    fn a_claim_takes_little_room() {
        assert!(size_of::<Claim>() <= 24);
        let bytes = kept(&json!({ "sub": "alice", "aud": ["a", "b"], "admin": true })).bytes();
        assert!((150..350).contains(&bytes), "{bytes}");
    }

    #[test]
    fn nobody_reads_them_in_what_is_printed_for_debugging() {
        let kept = kept(&json!({ "sub": "alice" }));
        assert_eq!(format!("{kept:?} {:?}", kept.get("sub")), "KeptClaims(1) Some(Claim)");
    }
}
