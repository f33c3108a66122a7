//! Names of addresses that lead back to them.

use crate::resolve::Resolve;
use crate::world::World;
use base::caps::{NAMES_PER_ADDRESS_MAX, NOT_PROVED_VALID_S};
use std::fmt;
use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use traffic::BoxFuture;
use traffic::names::{Names, Proved};

/// What asks these name servers, or the system's if there are none, for the names of addresses. Without a world nobody is
/// asked.
#[must_use]
pub fn names(name_servers: &[SocketAddr], world: Option<&World>) -> Arc<dyn Names> {
    let mut manner = String::new();
    for server in name_servers {
        // Writing to a string cannot fail.
        write!(manner, "@{server}").ok();
    }
    let resolve = world.map(|world| {
        let through = (!name_servers.is_empty()).then(|| world.resolve.through(name_servers));
        through.flatten().unwrap_or_else(|| Arc::clone(&world.resolve))
    });
    Arc::new(Asked { manner: manner.into(), resolve })
}

struct Asked {
    manner: Box<str>,
    resolve: Option<Arc<dyn Resolve>>,
}

impl fmt::Debug for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Asked({})", self.manner)
    }
}

impl Names for Asked {
    fn manner(&self) -> &str {
        &self.manner
    }

    fn prove(
        &self,
        address: IpAddr,
        domains: Arc<[Box<str>]>,
    ) -> BoxFuture<'static, Result<Proved, String>> {
        let resolve = self.resolve.clone();
        Box::pin(async move {
            match resolve {
                Some(resolve) => prove(&*resolve, address, &domains).await,
                None => Err("nothing is alive here".to_owned()),
            }
        })
    }
}

async fn prove(
    resolve: &dyn Resolve,
    address: IpAddr,
    domains: &[Box<str>],
) -> Result<Proved, String> {
    let called = resolve.names(address).await?;
    let mut valid_for = called.valid_for;
    let mut failed = None;
    // Others lead where whoever owns the address wants: nobody is asked for them.
    let below = called.names.into_iter().filter(|name| is_below(name, domains));
    for name in below.take(NAMES_PER_ADDRESS_MAX) {
        match resolve.leads(&name, address).await {
            Ok(led) => {
                valid_for = valid_for.min(led.valid_for);
                if led.there {
                    return Ok(Proved { name: Some(name.into()), valid_for });
                }
            }
            Err(why) => failed = Some(why),
        }
    }
    match failed {
        Some(why) => Err(why),
        None => {
            let valid_for = valid_for.min(Duration::from_secs(NOT_PROVED_VALID_S));
            Ok(Proved { name: None, valid_for })
        }
    }
}

/// Whether a name is one of these domains or below it; all in lower case, without a dot at the end.
fn is_below(name: &str, domains: &[Box<str>]) -> bool {
    domains.iter().any(|domain| {
        let rest = name.strip_suffix(&**domain);
        rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    })
}

#[cfg(test)]
mod tests {
    use super::prove;
    use crate::resolve::{Called, Led, Resolve, Resolved};
    use std::net::IpAddr;
    use std::sync::Mutex;
    use std::time::Duration;
    use traffic::BoxFuture;

    /// What an address is called, and which names lead to it; the name `down` fails.
    struct Zone {
        called: Vec<&'static str>,
        leading: Vec<&'static str>,
        asked: Mutex<Vec<String>>,
    }

    impl Resolve for Zone {
        fn resolve(&self, _: &str) -> BoxFuture<'_, Result<Resolved, String>> {
            Box::pin(async { Err("nobody asks this".to_owned()) })
        }

        fn names(&self, _: IpAddr) -> BoxFuture<'_, Result<Called, String>> {
            let names = self.called.iter().map(|name| (*name).to_owned()).collect();
            Box::pin(async { Ok(Called { names, valid_for: Duration::from_secs(7_200) }) })
        }

        fn leads(&self, name: &str, _: IpAddr) -> BoxFuture<'_, Result<Led, String>> {
            self.asked.lock().unwrap().push(name.to_owned());
            let there = self.leading.contains(&name);
            let is_down = name.starts_with("down.");
            Box::pin(async move {
                if is_down {
                    return Err("out of order".to_owned());
                }
                Ok(Led { there, valid_for: Duration::from_secs(300) })
            })
        }
    }

    async fn check(called: &[&'static str], leading: &[&'static str]) -> (String, Vec<String>) {
        let asked = Mutex::default();
        let zone = Zone { called: called.to_vec(), leading: leading.to_vec(), asked };
        let domains = ["bots.test".into(), "other.test".into()];
        let told = match prove(&zone, IpAddr::from([192, 0, 2, 7]), &domains).await {
            Ok(proved) => {
                let name = proved.name.as_deref().unwrap_or("nothing");
                format!("{name} for {} s", proved.valid_for.as_secs())
            }
            Err(why) => why,
        };
        (told, zone.asked.into_inner().unwrap())
    }

    #[tokio::test]
    async fn a_name_counts_below_the_domains_and_where_it_leads_back() {
        for (called, leading, told, asked) in [
            (&["a.bots.test"][..], &["a.bots.test"][..], "a.bots.test for 300 s", 1),
            (&["bots.test"], &["bots.test"], "bots.test for 300 s", 1),
            (&["x.test", "b.other.test"], &["b.other.test"], "b.other.test for 300 s", 1),
            // Whoever owns an address calls it what they like.
            (&["a.bots.test"], &[], "nothing for 300 s", 1),
            (&["a.robots.test", "bots.test.evil.test"], &["a.robots.test"], "nothing for 600 s", 0),
            (&[], &[], "nothing for 600 s", 0),
            (&["down.bots.test"], &[], "out of order", 1),
            (&["down.bots.test", "a.bots.test"], &["a.bots.test"], "a.bots.test for 300 s", 2),
        ] {
            let (found, names) = check(called, leading).await;
            assert_eq!((found.as_str(), names.len()), (told, asked), "{called:?} {names:?}");
        }
    }
}
