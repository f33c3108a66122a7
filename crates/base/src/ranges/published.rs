//! Networks as their owners publish them, in JSON: search engines as `prefixes` of `ipv4Prefix` and `ipv6Prefix`, clouds as
//! `prefixes` of `ip_prefix` and `ipv6_prefixes` of `ipv6_prefix`.

use super::{Gathered, Mistake, Ranges, network};
use crate::caps::{ADDRESS_LIST_ENTRIES_MAX, MISTAKES_TOLD_MAX};
use serde::Deserialize;

/// What else is published is of no use here.
#[derive(Deserialize)]
struct Published {
    prefixes: Vec<Prefix>,
    #[serde(default)]
    ipv6_prefixes: Vec<Prefix>,
    /// How many there are, for whoever makes sure.
    entries: Option<usize>,
}

#[derive(Deserialize)]
struct Prefix {
    #[serde(rename = "ipv4Prefix", alias = "ip_prefix")]
    v4: Option<String>,
    #[serde(rename = "ipv6Prefix", alias = "ipv6_prefix")]
    v6: Option<String>,
}

/// Reads all of them.
///
/// # Errors
/// What is wrong: the line of what is no JSON, and which of the prefixes are none.
pub(super) fn parse(bytes: &[u8]) -> Result<Ranges, Vec<Mistake>> {
    let published: Published = serde_json::from_slice(bytes).map_err(|error| {
        let line = u32::try_from(error.line()).unwrap_or(u32::MAX);
        vec![Mistake { line, message: format!("it is no list of `prefixes` in JSON: {error}") }]
    })?;
    let all = [("prefixes", &published.prefixes), ("ipv6_prefixes", &published.ipv6_prefixes)];
    let count = published.prefixes.len() + published.ipv6_prefixes.len();
    if count > ADDRESS_LIST_ENTRIES_MAX {
        let message = format!("there are more than {ADDRESS_LIST_ENTRIES_MAX} entries");
        return Err(vec![Mistake::whole(message)]);
    }
    let mut gathered = Gathered::default();
    let mut mistakes = Vec::new();
    for (name, prefixes) in all {
        for (at, prefix) in prefixes.iter().enumerate() {
            let texts = [&prefix.v4, &prefix.v6];
            let found: Result<Vec<_>, _> =
                texts.into_iter().flatten().map(|text| network(text.trim().as_bytes())).collect();
            let why = match found {
                Ok(found) if found.is_empty() => {
                    "it has neither `ipv4Prefix` nor `ipv6Prefix`".to_owned()
                }
                Ok(found) => {
                    found.into_iter().for_each(|network| gathered.add(network));
                    continue;
                }
                Err(why) => why,
            };
            if mistakes.len() < MISTAKES_TOLD_MAX {
                mistakes.push(Mistake::whole(format!("`{name}[{at}]`: {why}")));
            }
        }
    }
    if !mistakes.is_empty() {
        return Err(mistakes);
    }
    gathered.says(published.entries)
}

#[cfg(test)]
mod tests {
    use super::super::Ranges;
    use std::net::IpAddr;

    fn wrong(text: &str) -> String {
        let mistakes = Ranges::parse(text.as_bytes()).unwrap_err();
        let told = |mistake: &super::Mistake| format!("{}: {}", mistake.line, mistake.message);
        mistakes.iter().map(told).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn what_owners_publish_is_read_as_it_is() {
        let search = "\u{feff}{\n  \"creationTime\": \"2026-01-01T00:00:00\",\n  \"prefixes\": [\n    \
                      { \"ipv6Prefix\": \"2001:db8:1::/64\" },\n    { \"ipv4Prefix\": \"192.0.2.0/27\" } ]\n}\n";
        let cloud = r#"{"syncToken":"1","prefixes":[{"ip_prefix":"192.0.2.0/27","region":"x"}],
                       "ipv6_prefixes":[{"ipv6_prefix":"2001:db8:1::/64","region":"x"}]}"#;
        for text in [search, cloud] {
            let ranges = Ranges::parse(text.as_bytes()).unwrap();
            assert_eq!(ranges.networks(), 2);
            for (address, is_in) in [
                ("192.0.2.31", true),
                ("192.0.2.32", false),
                ("2001:db8:1::7", true),
                ("2001:db8:2::7", false),
            ] {
                let address: IpAddr = address.parse().unwrap();
                assert_eq!(ranges.hold(Some(address)), is_in, "{address}");
            }
        }
    }

    #[test]
    fn what_is_cut_or_of_another_form_is_no_list() {
        for (text, part) in [
            ("{\"prefixes\": [\n{\"ipv4Prefix\": \"192.0.2.0/27\"},\n", "3: it is no list"),
            ("{}", "missing field `prefixes`"),
            ("{\"prefixes\": [{}]}", "0: `prefixes[0]`: it has neither"),
            ("{\"prefixes\": [{\"ipv4Prefix\": \"192.0.2.1/27\"}]}", "write `192.0.2.0/27`"),
            (
                "{\"prefixes\": [], \"ipv6_prefixes\": [{\"ipv6_prefix\": \"x\"}]}",
                "`ipv6_prefixes[0]`",
            ),
            ("{\"entries\": 2, \"prefixes\": [{\"ipv4Prefix\": \"192.0.2.0/27\"}]}", "has 1"),
            ("{\"prefixes\": []} {}", "trailing characters"),
        ] {
            let told = wrong(text);
            assert!(told.contains(part), "{text}: {told}");
        }
    }
}
