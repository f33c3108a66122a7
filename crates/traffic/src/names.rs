//! What addresses are called, as far as their names lead back to them. Crate `upstream` implements it.

use crate::BoxFuture;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// Whether an address has a name below some domains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proved {
    /// The name, if there is one.
    pub name: Option<Box<str>>,
    /// How long this holds.
    pub valid_for: Duration,
}

/// Asks name servers what addresses are called. Policies get it when they are built, and use it beside the request path.
pub trait Names: Send + Sync + fmt::Debug {
    /// Who is asked. Whoever keeps answers across configs must ask anew when this differs.
    fn manner(&self) -> &str;

    /// Whether an address has a name (PTR, RFC 1035, 3.5) that is one of these domains or below it, and that leads back to
    /// the address: anybody can give an address of theirs any name, but only the owner of a domain can have its names lead
    /// there. Or in words why that cannot be found out.
    fn prove(
        &self,
        address: IpAddr,
        domains: Arc<[Box<str>]>,
    ) -> BoxFuture<'static, Result<Proved, String>>;
}
