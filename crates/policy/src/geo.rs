//! Places of addresses: countries and autonomous systems, from databases in the format of MaxMind (`.mmdb`). Any such
//! database will do; none comes along. They are read again when they change (see [`crate::files`]).

use crate::files::{Content, Kept, Library};
use base::caps::{GEO_DATABASE_BYTES_MAX, GEO_RECORDS_SAMPLED};
use base::ranges::Mistake;
use base::{Place, Report};
use maxminddb::{PathElement, Reader, WithinOptions};
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// A country by its two letters (ISO 3166-1).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Country([u8; 2]);

impl Country {
    /// Two letters of ASCII, in any case.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes: [u8; 2] = text.as_bytes().try_into().ok()?;
        let is_word = bytes.iter().all(u8::is_ascii_alphabetic);
        is_word.then(|| Self(bytes.map(|byte| byte.to_ascii_uppercase())))
    }

    /// The letters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// Whether it is one of the codes that are in use.
    #[must_use]
    pub fn is_assigned(self) -> bool {
        CODES.split(' ').any(|code| code == self.as_str())
    }
}

impl fmt::Debug for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The codes of ISO 3166-1, and XK (Kosovo), which all databases use.
const CODES: &str = "AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS \
    BT BV BW BY BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI \
    FJ FK FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR \
    IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM \
    MN MO MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT \
    PW PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM \
    TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS XK YE YT ZA ZM ZW";

/// What is known of an address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spot {
    /// Where it is.
    pub country: Option<Country>,
    /// The number of the autonomous system that announces it.
    pub asn: Option<u32>,
}

/// One database.
pub struct Database {
    reader: Reader<Vec<u8>>,
    /// Whether it says countries and systems, as far as its first records tell.
    says: (bool, bool),
}

impl Content for Database {
    const WHAT: &'static str = "database of places";
    const BYTES_MAX: usize = GEO_DATABASE_BYTES_MAX;

    fn read(bytes: Vec<u8>) -> Result<Self, Vec<Mistake>> {
        let told = |error: maxminddb::MaxMindDbError| {
            // Its sentences may go over several lines.
            let message = error.to_string().replace('\n', " ");
            vec![Mistake::whole(format!("it is no good `.mmdb`: {message}"))]
        };
        let reader = Reader::from_source(bytes).map_err(told)?;
        reader.verify().map_err(told)?;
        let mut says = (false, false);
        let networks = reader.networks(WithinOptions::default()).map_err(told)?;
        for found in networks.take(GEO_RECORDS_SAMPLED) {
            let spot = spot(&found.map_err(told)?);
            says = (says.0 || spot.country.is_some(), says.1 || spot.asn.is_some());
            if says == (true, true) {
                break;
            }
        }
        Ok(Self { reader, says })
    }

    fn entries(&self) -> usize {
        self.reader.metadata().node_count as usize
    }

    /// One that no longer says what is asked would hold nobody whom a policy denies.
    fn replaces(&self, old: &Self) -> Result<(), String> {
        let no_longer = match (old.says.0 && !self.says.0, old.says.1 && !self.says.1) {
            (true, _) => "countries",
            (false, true) => "networks (autonomous systems)",
            (false, false) => return Ok(()),
        };
        Err(format!("it no longer says {no_longer}; give a database of other things another name"))
    }
}

type Found<'a> = maxminddb::LookupResult<'a, Vec<u8>>;

fn spot(found: &Found<'_>) -> Spot {
    Spot { country: country(found), asn: asn(found) }
}

/// What stands at a path. Databases differ in what they have there, so something else is nothing.
fn at<'a, T: serde::Deserialize<'a>>(found: &Found<'a>, path: &[&'a str]) -> Option<T> {
    let mut keys = [PathElement::Key(""), PathElement::Key("")];
    for (place, name) in keys.iter_mut().zip(path) {
        *place = PathElement::Key(name);
    }
    found.decode_path(keys.get(..path.len())?).ok().flatten()
}

fn country(found: &Found<'_>) -> Option<Country> {
    const PATHS: [&[&str]; 3] = [&["country", "iso_code"], &["country"], &["country_code"]];
    PATHS.iter().find_map(|path| Country::parse(at::<&str>(found, path)?))
}

fn asn(found: &Found<'_>) -> Option<u32> {
    const NUMBERS: [&[&str]; 2] = [&["autonomous_system_number"], &["asn"]];
    let number = NUMBERS.iter().find_map(|path| at::<u32>(found, path));
    // Zero is no system (RFC 7607).
    number.or_else(|| parse_asn(at::<&str>(found, &["asn"])?)).filter(|number| *number > 0)
}

/// A system as `AS64496` or `64496`.
pub(crate) fn parse_asn(text: &str) -> Option<u32> {
    let digits = text.strip_prefix("AS").or_else(|| text.strip_prefix("as")).unwrap_or(text);
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

/// The databases that a config names.
#[derive(Debug)]
pub struct Geo(Box<[Arc<Kept<Database>>]>);

impl Geo {
    /// These databases; of what several say, the first has its way.
    #[must_use]
    pub fn new(databases: Vec<Arc<Kept<Database>>>) -> Self {
        Self(databases.into())
    }

    /// Opens one that a config names at a place, with this JSON pointer. What is wrong with it is told.
    pub fn open(
        written: &str,
        library: Library<'_>,
        named: (&Place, &str),
        report: &mut Report,
    ) -> Option<Arc<Kept<Database>>> {
        library.open(written, named, report)
    }

    /// Where an address is.
    #[must_use]
    pub fn find(&self, address: Option<IpAddr>) -> Spot {
        let Some(address) = address else { return Spot::default() };
        let mut all = Spot::default();
        for database in &self.0 {
            let database = database.now();
            // A database of IPv4 alone knows nothing of others.
            let Ok(found) = database.reader.lookup(address) else { continue };
            if !found.has_data() {
                continue;
            }
            all.country = all.country.or_else(|| country(&found));
            all.asn = all.asn.or_else(|| asn(&found));
        }
        all
    }

    /// Whether any says countries.
    #[must_use]
    pub fn says_countries(&self) -> bool {
        self.0.iter().any(|database| database.now().says.0)
    }

    /// Whether any says systems.
    #[must_use]
    pub fn says_systems(&self) -> bool {
        self.0.iter().any(|database| database.now().says.1)
    }

    /// The files.
    pub fn paths(&self) -> impl Iterator<Item = PathBuf> {
        self.0.iter().map(|database| database.path().to_owned())
    }
}
