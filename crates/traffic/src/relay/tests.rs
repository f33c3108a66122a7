use super::{ByName, Relay};
use crate::exchange::Exchange;
use crate::fault::{Fault, FaultCode, Stage};
use crate::upstream::{Picked, TargetStatus, Timeouts, Upstream};
use base::network::Networks;
use std::sync::Arc;
use std::time::Duration;

#[derive(Debug)]
struct Named(Arc<str>);

impl Upstream for Named {
    fn name(&self) -> &Arc<str> {
        &self.0
    }
    fn timeouts(&self) -> Timeouts {
        Timeouts::default()
    }
    fn pick(&self, _: &Exchange) -> Result<Picked, Fault> {
        Err(Fault::new(Stage::Forward, FaultCode::NoTarget))
    }
    fn status(&self) -> Vec<TargetStatus> {
        Vec::new()
    }
}

fn names(patterns: &[&str]) -> ByName {
    let mut names = ByName::default();
    for pattern in patterns {
        let upstream = Arc::new(Named(Arc::from(*pattern)));
        let from = Networks::default();
        names.add(pattern, Arc::new(Relay { upstream, idle: Duration::ZERO, from }));
    }
    names
}

#[test]
fn the_name_itself_goes_before_a_wildcard_and_a_longer_wildcard_before_a_shorter_one() {
    let names = names(&["*.example.com", "*.db.example.com", "a.db.example.com"]);
    let found = |name: &str| names.find(name).map(|relay| relay.upstream.name().to_string());
    for (name, expected) in [
        ("a.db.example.com", Some("a.db.example.com")),
        ("A.DB.Example.COM", Some("a.db.example.com")),
        ("b.db.example.com", Some("*.db.example.com")),
        ("x.y.db.example.com", Some("*.db.example.com")),
        ("db.example.com", Some("*.example.com")),
        ("example.com", None),
        ("notexample.com", None),
        ("com", None),
        ("", None),
    ] {
        assert_eq!(found(name).as_deref(), expected, "{name}");
    }
}
