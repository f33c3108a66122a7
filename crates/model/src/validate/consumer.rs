//! Consumers.

use crate::Config;
use base::Report;
use std::collections::HashMap;

/// A key must tell who calls, so no two consumers have one in common. No hash is repeated in a message.
pub(super) fn check(config: &Config, report: &mut Report) {
    let mut seen = HashMap::new();
    for (name, consumer) in config.consumers.iter() {
        for key in &consumer.keys {
            if let Some((first, place)) = seen.insert(key.hash, (name, &key.place)) {
                let message = if first.value == name.value {
                    format!("consumer `{}` has the same key twice", name.value)
                } else {
                    format!("consumers `{}` and `{}` have the same key", first.value, name.value)
                };
                report
                    .error("duplicate_key_hash", &key.place, message)
                    .help(format!("the other is at {place}; `yett key create` makes a new one"));
            }
        }
    }
}
