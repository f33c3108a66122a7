//! Methods as a set: one bit for each common one, a list for the rest.

use http::Method;

const COMMON: [Method; 9] = [
    Method::GET,
    Method::HEAD,
    Method::POST,
    Method::PUT,
    Method::DELETE,
    Method::PATCH,
    Method::OPTIONS,
    Method::TRACE,
    Method::CONNECT,
];

/// A set of methods.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MethodSet {
    common: u16,
    others: Vec<Method>,
    any: bool,
}

impl MethodSet {
    /// Every method.
    #[must_use]
    pub const fn any() -> Self {
        Self { common: 0, others: Vec::new(), any: true }
    }

    /// Adds a method; `GET` brings `HEAD` along (RFC 9110, 9.3.2).
    pub fn insert(&mut self, method: &Method) {
        match COMMON.iter().position(|common| common == method) {
            Some(bit) => self.common |= 1 << bit,
            None if !self.others.contains(method) => self.others.push(method.clone()),
            None => {}
        }
        if method == Method::GET {
            self.insert(&Method::HEAD);
        }
    }

    /// Adds all methods of another set.
    pub fn union(&mut self, other: &Self) {
        self.any |= other.any;
        self.common |= other.common;
        for method in &other.others {
            self.insert(method);
        }
    }

    /// Whether a method is in the set.
    #[must_use]
    pub fn contains(&self, method: &Method) -> bool {
        self.any
            || COMMON
                .iter()
                .position(|common| common == method)
                .map_or_else(|| self.others.contains(method), |bit| self.common & (1 << bit) != 0)
    }

    /// Whether every method is in the set.
    #[must_use]
    pub const fn is_any(&self) -> bool {
        self.any
    }

    /// Whether no method is in the set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.any && self.common == 0 && self.others.is_empty()
    }

    /// As the value of `Allow` (RFC 9110, 10.2.1).
    #[must_use]
    pub fn allow(&self) -> String {
        let common = COMMON.iter().enumerate().filter(|(bit, _)| self.common & (1 << bit) != 0);
        let names: Vec<&str> =
            common.map(|(_, method)| method).chain(&self.others).map(Method::as_str).collect();
        names.join(", ")
    }
}

impl<'a> FromIterator<&'a Method> for MethodSet {
    fn from_iter<I: IntoIterator<Item = &'a Method>>(methods: I) -> Self {
        let mut set = Self::default();
        for method in methods {
            set.insert(method);
        }
        set
    }
}

#[cfg(test)]
mod tests {
    use super::MethodSet;
    use http::Method;

    #[test]
    fn get_answers_head_and_unknown_methods_are_kept() {
        let purge = Method::from_bytes(b"PURGE").unwrap();
        let set: MethodSet = [&Method::GET, &purge].into_iter().collect();
        assert!(set.contains(&Method::HEAD) && set.contains(&purge));
        assert!(!set.contains(&Method::POST));
        assert_eq!(set.allow(), "GET, HEAD, PURGE");
        assert!(MethodSet::any().contains(&purge));
    }
}
