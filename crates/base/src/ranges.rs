//! A great many addresses: networks melted into ranges, in which one is found by halving. A look-up takes twenty steps
//! among a million networks, and allocates nothing.

use crate::caps::{
    ADDRESS_LIST_ENTRIES_MAX, ADDRESS_LIST_LARGE, ADDRESS_TEXT_BYTES_MAX, MISTAKES_TOLD_MAX,
};
use crate::network::Network;
use std::net::IpAddr;

/// Networks as their owners publish them.
mod published;

/// Addresses of both versions of IP, and perhaps those who have none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ranges {
    v4: Sorted<u32>,
    v6: Sorted<u128>,
    has_unix: bool,
    networks: usize,
    /// Whether they said themselves how many they are.
    is_counted: bool,
}

/// Ranges that neither meet nor touch, in their order. First and last addresses lie apart, so that a look-up passes over
/// half of the memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Sorted<T> {
    firsts: Box<[T]>,
    lasts: Box<[T]>,
}

/// What is wrong with one line of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The line, from one; zero if it is about the whole.
    pub line: u32,
    /// What is wrong.
    pub message: String,
}

impl Mistake {
    /// Something that is wrong with the whole.
    #[must_use]
    pub fn whole(message: impl Into<String>) -> Self {
        Self { line: 0, message: message.into() }
    }
}

impl Ranges {
    /// Reads a text with one network or address a line; what follows `#` or `;` is a comment. Or JSON as the owners of
    /// networks publish it: `{ "prefixes": [{ "ipv4Prefix": "192.0.2.0/24" }] }`.
    ///
    /// # Errors
    /// The first few lines that are wrong, and how many others are.
    pub fn parse(bytes: &[u8]) -> Result<Self, Vec<Mistake>> {
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        if bytes.trim_ascii_start().starts_with(b"{") {
            return published::parse(bytes);
        }
        let mut gathered = Gathered::default();
        let mut mistakes = Vec::new();
        let mut others = 0_usize;
        let mut says = None;
        for (at, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
            let mut parts = line.splitn(2, |byte| matches!(byte, b'#' | b';'));
            let word = parts.next().unwrap_or_default().trim_ascii();
            if word.is_empty() {
                says = says.or_else(|| entries_said(parts.next().unwrap_or_default()));
                continue;
            }
            let line = u32::try_from(at).unwrap_or(u32::MAX).saturating_add(1);
            if gathered.networks == ADDRESS_LIST_ENTRIES_MAX {
                let message = format!("there are more than {ADDRESS_LIST_ENTRIES_MAX} entries");
                mistakes.push(Mistake { line, message });
                break;
            }
            match network(word) {
                Ok(network) => gathered.add(network),
                Err(message) if mistakes.len() < MISTAKES_TOLD_MAX => {
                    mistakes.push(Mistake { line, message });
                }
                Err(_) => others += 1,
            }
        }
        if others > 0 {
            mistakes.push(Mistake::whole(format!("{others} more lines are wrong")));
        }
        if mistakes.is_empty() { gathered.says(says) } else { Err(mistakes) }
    }

    /// Whether a peer is among them: one without an address is if `unix` was listed. An IPv4 address that is written as
    /// IPv6 (RFC 4291, 2.5.5.2) is an IPv4 address.
    #[must_use]
    pub fn hold(&self, peer: Option<IpAddr>) -> bool {
        match peer.map(|address| address.to_canonical()) {
            None => self.has_unix,
            Some(IpAddr::V4(address)) => self.v4.holds(address.to_bits()),
            Some(IpAddr::V6(address)) => self.v6.holds(address.to_bits()),
        }
    }

    /// Whether they can be what has become of others, as far as one can tell: a list that is cut at the end of a line looks
    /// like any other, but has lost much.
    ///
    /// # Errors
    /// Why not, in a sentence that says what to do if they can.
    pub fn follows(&self, old: &Self) -> Result<(), String> {
        let (before, now) = (old.networks, self.networks);
        if self.is_counted || before < ADDRESS_LIST_LARGE || now >= before / 2 {
            return Ok(());
        }
        Err(format!(
            "it has lost more than half of its entries, {now} of {before} are left; if that is right, write `# entries: {now}` into it"
        ))
    }

    /// How many networks and addresses they were made of.
    #[must_use]
    pub fn networks(&self) -> usize {
        self.networks
    }
}

impl FromIterator<Network> for Ranges {
    fn from_iter<T: IntoIterator<Item = Network>>(networks: T) -> Self {
        let mut gathered = Gathered::default();
        networks.into_iter().for_each(|network| gathered.add(network));
        gathered.melt()
    }
}

/// How many entries a list has, as it says itself in a comment: `entries: 3`.
fn entries_said(comment: &[u8]) -> Option<usize> {
    let number = comment.trim_ascii().strip_prefix(b"entries:")?;
    std::str::from_utf8(number).ok()?.trim().parse().ok()
}

fn network(word: &[u8]) -> Result<Network, String> {
    if word.len() > ADDRESS_TEXT_BYTES_MAX {
        return Err("the line is too long for a network or an address".to_owned());
    }
    let text = std::str::from_utf8(word).map_err(|_| "the line is not text in UTF-8".to_owned())?;
    Network::parse(text)
}

/// Ranges on their way into order.
#[derive(Default)]
struct Gathered {
    v4: Vec<(u32, u32)>,
    v6: Vec<(u128, u128)>,
    has_unix: bool,
    networks: usize,
}

impl Gathered {
    fn add(&mut self, network: Network) {
        self.networks += 1;
        let (first, prefix) = match network {
            Network::Unix => {
                self.has_unix = true;
                return;
            }
            Network::Ip { first, prefix } => (first, u32::from(prefix)),
        };
        match first {
            IpAddr::V4(first) => self.add_v4(first.to_bits(), prefix),
            IpAddr::V6(first) => match first.to_ipv4_mapped() {
                // 96 bits say that an IPv4 address follows.
                Some(mapped) if prefix >= 96 => self.add_v4(mapped.to_bits(), prefix - 96),
                _ => {
                    let rest = u128::MAX.checked_shr(prefix).unwrap_or(0);
                    self.v6.push((first.to_bits(), first.to_bits() | rest));
                }
            },
        }
    }

    fn add_v4(&mut self, first: u32, prefix: u32) {
        let rest = u32::MAX.checked_shr(prefix).unwrap_or(0);
        self.v4.push((first, first | rest));
    }

    /// All of them, if they are as many as they say.
    fn says(self, entries: Option<usize>) -> Result<Ranges, Vec<Mistake>> {
        match entries {
            Some(said) if said != self.networks => {
                let has = self.networks;
                let message = format!("it says that it has {said} entries, and has {has}");
                Err(vec![Mistake::whole(message)])
            }
            _ => Ok(Ranges { is_counted: entries.is_some(), ..self.melt() }),
        }
    }

    fn melt(self) -> Ranges {
        Ranges {
            v4: melt(self.v4, |last| last.saturating_add(1)),
            v6: melt(self.v6, |last| last.saturating_add(1)),
            has_unix: self.has_unix,
            networks: self.networks,
            is_counted: false,
        }
    }
}

/// Puts ranges in order and joins those that meet or touch.
fn melt<T: Ord + Copy>(mut ranges: Vec<(T, T)>, next: fn(T) -> T) -> Sorted<T> {
    ranges.sort_unstable();
    ranges.dedup_by(|later, kept| {
        let joins = later.0 <= next(kept.1);
        if joins {
            kept.1 = kept.1.max(later.1);
        }
        joins
    });
    let (firsts, lasts): (Vec<T>, Vec<T>) = ranges.into_iter().unzip();
    Sorted { firsts: firsts.into(), lasts: lasts.into() }
}

impl<T: Ord + Copy> Sorted<T> {
    fn holds(&self, address: T) -> bool {
        let after = self.firsts.partition_point(|first| *first <= address);
        let last = after.checked_sub(1).and_then(|at| self.lasts.get(at));
        last.is_some_and(|last| address <= *last)
    }
}

#[cfg(test)]
mod tests {
    use super::{Mistake, Ranges};
    use crate::caps::ADDRESS_LIST_ENTRIES_MAX;
    use crate::network::{Network, Networks};
    use proptest::prelude::*;
    use std::fmt::Write as _;
    use std::net::IpAddr;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn mistakes(text: &str) -> Vec<(u32, String)> {
        let told = |mistake: Mistake| (mistake.line, mistake.message);
        Ranges::parse(text.as_bytes()).unwrap_err().into_iter().map(told).collect()
    }

    #[test]
    fn a_list_holds_what_its_lines_say() {
        let text = "\u{feff}# offices\r\n10.0.0.0/9\r\n10.128.0.0/9 ; the other half\n\n\
                    \t192.0.2.7 # a desk\n2001:db8::/33\n::ffff:198.51.100.0/120\nunix";
        let ranges = Ranges::parse(text.as_bytes()).unwrap();
        assert_eq!(ranges.networks(), 6);
        for inside in [
            "10.0.0.0",
            "10.255.255.255",
            "::ffff:10.127.255.255",
            "192.0.2.7",
            "198.51.100.255",
            "2001:db8::",
            "2001:db8:7fff:ffff:ffff:ffff:ffff:ffff",
        ] {
            assert!(ranges.hold(Some(ip(inside))), "{inside}");
        }
        for outside in [
            "9.255.255.255",
            "11.0.0.0",
            "192.0.2.6",
            "192.0.2.8",
            "198.51.101.0",
            "2001:db8:8000::",
            "2001:db7:ffff:ffff:ffff:ffff:ffff:ffff",
            "::10.0.0.1",
        ] {
            assert!(!ranges.hold(Some(ip(outside))), "{outside}");
        }
        assert!(ranges.hold(None));
        assert_eq!(ranges.v4.firsts.len(), 3, "halves are joined");
    }

    #[test]
    fn a_list_of_nothing_holds_nobody_and_one_of_everything_everybody() {
        let nothing = Ranges::parse(b"# nobody\n").unwrap();
        assert!(!nothing.hold(Some(ip("0.0.0.0"))) && !nothing.hold(Some(ip("::"))));
        assert!(!nothing.hold(None));
        let everything = Ranges::parse(b"0.0.0.0/0\n::/0\n255.255.255.255\n").unwrap();
        for address in ["0.0.0.0", "255.255.255.255", "::", "ffff::", "::ffff:192.0.2.1"] {
            assert!(everything.hold(Some(ip(address))), "{address}");
        }
        assert!(!everything.hold(None));
    }

    #[test]
    fn every_wrong_line_is_told_but_not_a_million_of_them() {
        let found = mistakes("10.0.0.0/8\n\n10.0.0/8 # short\n10.0.0.1/8\n\u{0}\n");
        let lines: Vec<u32> = found.iter().map(|(line, _)| *line).collect();
        assert_eq!(lines, [3, 4, 5]);
        assert!(found[1].1.contains("write `10.0.0.0/8`"), "{found:?}");
        let found = mistakes(&"x\n".repeat(1_000));
        assert_eq!((found.len(), &found[10]), (11, &(0, "990 more lines are wrong".to_owned())));
        let found = mistakes(&"1".repeat(1_000));
        assert!(found[0].1.contains("too long") && found[0].1.len() < 100, "{found:?}");
        let broken = Ranges::parse(b"10.0.0.0/8\n\xff\xfe\n").unwrap_err();
        assert_eq!((broken[0].line, broken.len()), (2, 1));
    }

    #[test]
    fn a_list_that_says_how_many_it_has_must_have_them() {
        assert_eq!(Ranges::parse(b"# entries: 2\n10.0.0.0/8\n::1\n").unwrap().networks(), 2);
        let found = mistakes("10.0.0.0/8\n; entries: 2\n");
        assert_eq!(found, [(0, "it says that it has 2 entries, and has 1".to_owned())]);
        // Not every comment is such a word.
        assert!(Ranges::parse(b"# entries: many\n10.0.0.0/8 # entries: 7\n").is_ok());
    }

    #[test]
    fn a_large_list_that_has_lost_half_follows_nothing_unless_it_says_so() {
        let list = |count: u32, head: &str| {
            let line = |number: u32| format!("{}\n", IpAddr::V4((number * 2).into()));
            let text: String = head.to_owned() + &(0..count).map(line).collect::<String>();
            Ranges::parse(text.as_bytes()).unwrap()
        };
        let old = list(200, "");
        assert!(list(100, "").follows(&old).is_ok());
        let why = list(99, "").follows(&old).unwrap_err();
        assert!(why.contains("99 of 200") && why.contains("`# entries: 99`"), "{why}");
        assert!(list(99, "# entries: 99\n").follows(&old).is_ok());
        assert!(list(0, "# entries: 0\n").follows(&old).is_ok());
        assert!(list(0, "").follows(&list(99, "")).is_ok(), "few are written by hand");
    }

    #[test]
    fn a_list_of_a_million_is_read_and_one_more_is_too_many() {
        let mut text = String::new();
        for number in 0..ADDRESS_LIST_ENTRIES_MAX {
            // Every other address, so that none are joined.
            let number = u32::try_from(number * 2).unwrap();
            writeln!(text, "{}", IpAddr::V4(number.into())).unwrap();
        }
        let ranges = Ranges::parse(text.as_bytes()).unwrap();
        assert_eq!(ranges.v4.firsts.len(), ADDRESS_LIST_ENTRIES_MAX);
        assert!(ranges.hold(Some(ip("0.30.132.126"))) && !ranges.hold(Some(ip("0.30.132.127"))));
        text.push_str("255.0.0.0\n");
        assert_eq!(mistakes(&text)[0].0, 1_000_001);
    }

    fn network() -> impl Strategy<Value = Network> {
        // Few addresses, so that networks meet, touch and hold one another.
        let v4 = (0_u32..64, 24_u32..=32).prop_map(|(host, prefix)| {
            let first = (0xc000_0200 | host) & u32::MAX.checked_shl(32 - prefix).unwrap_or(0);
            format!("{}/{prefix}", IpAddr::V4(first.into()))
        });
        let v6 = (0_u128..64, 120_u32..=128).prop_map(|(host, prefix)| {
            let first =
                ((0x2001_0db8 << 96) | host) & u128::MAX.checked_shl(128 - prefix).unwrap_or(0);
            format!("{}/{prefix}", IpAddr::V6(first.into()))
        });
        prop_oneof![v4, v6].prop_map(|text| Network::parse(&text).unwrap())
    }

    proptest! {
        #[test]
        fn ranges_hold_what_their_networks_hold(networks in proptest::collection::vec(network(), 0..12)) {
            let ranges: Ranges = networks.iter().copied().collect();
            let plain: Networks = networks.into_iter().collect();
            for host in 0_u32..320 {
                let v4 = IpAddr::V4((0xc000_01f0 + host).into());
                let v6 = IpAddr::V6(((0x2001_0db8_u128 << 96) + u128::from(host)).into());
                for address in [v4, v6] {
                    prop_assert_eq!(ranges.hold(Some(address)), plain.hold(Some(address)), "{}", address);
                }
            }
        }
    }
}
