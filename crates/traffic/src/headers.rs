//! Header fields in the order in which they came. A message has few of them, and known names are
//! compared by number, so looking along a list beats hashing, and nothing moves when one is removed.

use http::header::{HeaderMap, HeaderName, HeaderValue};
use std::fmt;
use std::ops::Index;

/// The header fields of one message: order and repetitions are kept (RFC 9110, 5.3).
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers(Vec<(HeaderName, HeaderValue)>);

impl Headers {
    /// No fields.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// No fields yet, and room for so many.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        Self(Vec::with_capacity(capacity))
    }

    /// How many fields there are, repetitions counted.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All fields in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&HeaderName, &HeaderValue)> {
        self.0.iter().map(|(name, value)| (name, value))
    }

    /// The name of each field in order, repetitions included.
    pub fn names(&self) -> impl Iterator<Item = &HeaderName> {
        self.0.iter().map(|(name, _)| name)
    }

    /// The first value of a name.
    #[must_use]
    #[expect(clippy::needless_pass_by_value, reason = "names are given as constants and texts")]
    pub fn get<N>(&self, name: N) -> Option<&HeaderValue>
    where
        HeaderName: PartialEq<N>,
    {
        self.0.iter().find(|(own, _)| *own == name).map(|(_, value)| value)
    }

    /// All values of a name in order.
    pub fn all<N>(&self, name: N) -> impl Iterator<Item = &HeaderValue>
    where
        HeaderName: PartialEq<N>,
    {
        self.0.iter().filter(move |(own, _)| *own == name).map(|(_, value)| value)
    }

    /// Whether a name is there.
    #[must_use]
    #[expect(clippy::needless_pass_by_value, reason = "names are given as constants and texts")]
    pub fn contains<N>(&self, name: N) -> bool
    where
        HeaderName: PartialEq<N>,
    {
        self.0.iter().any(|(own, _)| *own == name)
    }

    /// Adds a field at the end.
    pub fn append(&mut self, name: HeaderName, value: HeaderValue) {
        self.0.push((name, value));
    }

    /// Makes this the only value of its name, in the place of the first one there was.
    pub fn insert(&mut self, name: HeaderName, value: HeaderValue) {
        let Some(at) = self.0.iter().position(|(own, _)| *own == name) else {
            return self.append(name, value);
        };
        let mut seen = 0..=at;
        self.0.retain(|(own, _)| seen.next().is_some() || *own != name);
        if let Some((_, old)) = self.0.get_mut(at) {
            *old = value;
        }
    }

    /// Removes all values of a name; returns the first.
    #[expect(clippy::needless_pass_by_value, reason = "names are given as constants and texts")]
    pub fn remove<N>(&mut self, name: N) -> Option<HeaderValue>
    where
        HeaderName: PartialEq<N>,
    {
        let at = self.0.iter().position(|(own, _)| *own == name)?;
        let (_, value) = self.0.remove(at);
        self.0.retain(|(own, _)| *own != name);
        Some(value)
    }

    /// Keeps the fields that the test accepts.
    pub fn retain(&mut self, mut keep: impl FnMut(&HeaderName, &HeaderValue) -> bool) {
        self.0.retain(|(name, value)| keep(name, value));
    }
}

impl<'a> Index<&'a str> for Headers {
    type Output = HeaderValue;

    /// # Panics
    /// When there is no such field: for tests.
    #[expect(clippy::expect_used, reason = "as every index does")]
    fn index(&self, name: &'a str) -> &HeaderValue {
        self.get(name).expect("the field is there")
    }
}

impl FromIterator<(HeaderName, HeaderValue)> for Headers {
    fn from_iter<I: IntoIterator<Item = (HeaderName, HeaderValue)>>(fields: I) -> Self {
        Self(fields.into_iter().collect())
    }
}

impl IntoIterator for Headers {
    type Item = (HeaderName, HeaderValue);
    type IntoIter = std::vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl From<HeaderMap> for Headers {
    fn from(map: HeaderMap) -> Self {
        let mut fields = Self::with_capacity(map.len() + SPARE);
        let mut last = None;
        for (name, value) in map {
            // A repeated name comes once, then nameless.
            last = name.or(last);
            if let Some(name) = &last {
                fields.append(name.clone(), value);
            }
        }
        fields
    }
}

impl From<Headers> for HeaderMap {
    /// Fields beyond what a map can hold are left out; caps keep messages far below it.
    fn from(fields: Headers) -> Self {
        let mut map = Self::with_capacity(fields.len());
        for (name, value) in fields {
            map.try_append(name, value).ok();
        }
        map
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// Whether a field may stand in a trailer section: not one that frames, routes or authenticates a message
/// or changes how it is read (RFC 9110, 6.5.1). `name` is in lower case.
#[must_use]
pub fn may_trail(name: &str) -> bool {
    !matches!(
        name,
        "age"
            | "authorization"
            | "cache-control"
            | "connection"
            | "content-encoding"
            | "content-length"
            | "content-range"
            | "content-type"
            | "cookie"
            | "date"
            | "dpop"
            | "expect"
            | "expires"
            | "host"
            | "keep-alive"
            | "location"
            | "max-forwards"
            | "pragma"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "proxy-connection"
            | "range"
            | "retry-after"
            | "set-cookie"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
            | "vary"
            | "warning"
            | "www-authenticate"
    ) && !name.starts_with("if-")
}

/// Fields that stages and policies usually add.
pub const SPARE: usize = 8;

#[cfg(test)]
mod tests {
    use super::Headers;
    use http::header::{ACCEPT, HOST, HeaderMap, HeaderName, SET_COOKIE};

    fn fields(text: &str) -> Headers {
        let pairs = text.split(", ").filter_map(|pair| pair.split_once('='));
        pairs
            .map(|(name, value)| {
                (HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap())
            })
            .collect()
    }

    #[test]
    fn order_and_repetitions_are_kept() {
        let mut list = fields("set-cookie=a, x-one=1, set-cookie=b, accept=c");
        assert_eq!(list.get(SET_COOKIE).unwrap(), "a");
        assert_eq!(list.all("Set-Cookie").count(), 2);
        assert_eq!(list.remove("x-one").unwrap(), "1");
        assert_eq!(list, fields("set-cookie=a, set-cookie=b, accept=c"));
        list.insert(SET_COOKIE, "z".parse().unwrap());
        assert_eq!(list, fields("set-cookie=z, accept=c"));
        list.append(ACCEPT, "d".parse().unwrap());
        assert_eq!(list.remove(ACCEPT).unwrap(), "c");
        assert!(!list.contains(ACCEPT) && list.remove(HOST).is_none());
        list.insert(HOST, "h".parse().unwrap());
        assert_eq!(list, fields("set-cookie=z, host=h"));
    }

    #[test]
    fn maps_become_lists_and_lists_maps() {
        let list = fields("a=1, b=2, a=3");
        let map = HeaderMap::from(list.clone());
        assert_eq!(map.get_all("a").iter().count(), 2);
        assert_eq!(Headers::from(map), fields("a=1, a=3, b=2"));
    }
}
