//! Passwords: how they are hashed and verified, by argon2id (RFC 9106).

use arc_swap::ArcSwap;
use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use base::caps::PASSWORD_COSTS_MAX;
use base::{BoxError, Secret, random};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use std::sync::Arc;
use traffic::directory::{CredentialKind, Directory};

/// KiB of memory, passes and lanes.
type Cost = (u32, u32, u32);

/// What hashes made here cost: OWASP's first choice.
const COST: Cost = (19_456, 2, 1);
/// What is read where there is no hash. No password has it.
pub(crate) const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
const SALT_BYTES: usize = 16;
const DIGEST_BYTES: usize = 32;

/// A hash of a password that was read.
pub(crate) struct Hashed {
    params: Params,
    salt: Vec<u8>,
    digest: Vec<u8>,
}

/// The hash of a password with a new salt, as a PHC string.
///
/// # Errors
/// When the operating system has no randomness to give, or no memory.
pub fn hash(password: &Secret) -> Result<Secret, BoxError> {
    let mut salt = [0; SALT_BYTES];
    random::fill(&mut salt).map_err(|error| error.to_string())?;
    let (memory, passes, lanes) = COST;
    let params = Params::new(memory, passes, lanes, Some(DIGEST_BYTES));
    let params = params.map_err(|error| error.to_string())?;
    let digest = digest(password.reveal().as_bytes(), &salt, &params, DIGEST_BYTES)?;
    let (salt, digest) = (STANDARD_NO_PAD.encode(salt), STANDARD_NO_PAD.encode(digest));
    Ok(Secret::new(format!("$argon2id$v=19$m={memory},t={passes},p={lanes}${salt}${digest}")))
}

fn digest(
    password: &[u8],
    salt: &[u8],
    params: &Params,
    length: usize,
) -> Result<Vec<u8>, BoxError> {
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone());
    let mut digest = vec![0; length];
    argon2.hash_password_into(password, salt, &mut digest).map_err(|error| error.to_string())?;
    Ok(digest)
}

impl Hashed {
    /// Reads a PHC string of argon2id.
    pub(crate) fn parse(phc: &str) -> Option<Self> {
        let rest = phc.strip_prefix("$argon2id$v=19$")?;
        let mut parts = rest.split('$');
        let (parameters, salt, digest) = (parts.next()?, parts.next()?, parts.next()?);
        let number = |name: &str| -> Option<u32> {
            let mut of_name = parameters.split(',').filter_map(|part| part.split_once('='));
            of_name.find(|(its, _)| *its == name)?.1.parse().ok()
        };
        let digest = STANDARD_NO_PAD.decode(digest).ok()?;
        let params =
            Params::new(number("m")?, number("t")?, number("p")?, Some(digest.len())).ok()?;
        Some(Self { params, salt: STANDARD_NO_PAD.decode(salt).ok()?, digest })
    }

    /// One that no password has, which costs this to verify.
    fn of_nobody((memory, passes, lanes): Cost) -> Option<Self> {
        let params = Params::new(memory, passes, lanes, Some(DIGEST_BYTES)).ok()?;
        Some(Self { params, salt: vec![0; SALT_BYTES], digest: vec![0; DIGEST_BYTES] })
    }

    const fn cost(&self) -> Cost {
        (self.params.m_cost(), self.params.t_cost(), self.params.p_cost())
    }

    /// Whether it is the hash of this password. It takes tens of milliseconds: for the compute pool.
    fn verify(&self, password: &[u8]) -> bool {
        digest(password, &self.salt, &self.params, self.digest.len())
            .is_ok_and(|digest| verify_slices_are_equal(&digest, &self.digest).is_ok())
    }
}

/// Each cost that there is with a hash of it that no password has, and the epoch of the directory that had them.
type Known = (u64, Vec<(Cost, Option<Hashed>)>);

/// What passwords of a directory cost to verify.
///
/// Hashes that were made by other programs, or long ago, cost more or less than ours. The time of an answer would then tell
/// whose password it is, and that nobody has the user name. So that it tells neither, every attempt costs the same: one
/// hash for each cost that there is, whoever is asked for.
pub(crate) struct Costs {
    directory: Arc<Directory>,
    known: ArcSwap<Known>,
}

impl Costs {
    /// Those of a directory.
    pub(crate) fn of(directory: &Arc<Directory>) -> Self {
        let known = ArcSwap::from_pointee((u64::MAX, Vec::new()));
        Self { directory: Arc::clone(directory), known }
    }

    /// Whether a password is the one that was hashed; never where nobody is known, who has the hash [`NOBODY`]. For the
    /// compute pool.
    pub(crate) fn verify(&self, hash: &Secret, is_known: bool, password: &[u8]) -> bool {
        let mut own = Hashed::parse(hash.reveal());
        let mut is_right = false;
        for (cost, of_nobody) in &self.current().1 {
            let its = own.take_if(|own| own.cost() == *cost);
            is_right |= its.as_ref().or(of_nobody.as_ref()).is_some_and(|it| it.verify(password));
        }
        // Of a cost that is new since the directory was looked through.
        let is_new = |own: Hashed| is_known && own.verify(password);
        (is_right | own.is_some_and(is_new)) & is_known
    }

    /// Looks the directory through if it has changed; without passwords there is the cost of ours.
    fn current(&self) -> Arc<Known> {
        let epoch = self.directory.epoch();
        let known = self.known.load_full();
        if known.0 == epoch {
            return known;
        }
        let mut costs: Vec<Cost> = Vec::new();
        self.directory.each(CredentialKind::Password, |credential| {
            let hashed = credential.secret.as_ref().and_then(|hash| Hashed::parse(hash.reveal()));
            let Some(hashed) = hashed else { return };
            if costs.len() < PASSWORD_COSTS_MAX && !costs.contains(&hashed.cost()) {
                costs.push(hashed.cost());
            }
        });
        if costs.is_empty() {
            costs.push(COST);
        }
        let costs = costs.into_iter().map(|cost| (cost, Hashed::of_nobody(cost))).collect();
        let known = Arc::new((epoch, costs));
        self.known.store(Arc::clone(&known));
        known
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::{COST, Cost, Costs, Hashed, STANDARD_NO_PAD, digest, hash};
    use argon2::Params;
    use base::Secret;
    use base64::Engine as _;
    use std::sync::Arc;
    use traffic::directory::{Consumer, Credential, CredentialKind, Directory};

    /// A hash that costs little, so that tests are quick.
    pub(crate) fn cheap(password: &str, (memory, passes, lanes): Cost) -> Secret {
        let params = Params::new(memory, passes, lanes, Some(32)).unwrap();
        let digest = digest(password.as_bytes(), &[7; 16], &params, 32).unwrap();
        let (salt, digest) = (STANDARD_NO_PAD.encode([7; 16]), STANDARD_NO_PAD.encode(digest));
        Secret::new(format!("$argon2id$v=19$m={memory},t={passes},p={lanes}${salt}${digest}"))
    }

    fn put(directory: &Directory, username: &str, hash: &Secret) {
        let kind = CredentialKind::Password;
        let consumer = Consumer { name: username.into(), is_known: true, ..Consumer::default() };
        let secret = Some(hash.clone());
        let credential = Credential { secret, ..Credential::new(kind, Arc::new(consumer)) };
        directory.put(kind.hash(&[username]), &Arc::new(credential));
    }

    #[test]
    fn a_password_has_its_hash_and_no_other_has() {
        let hash = hash(&Secret::new("correct horse".to_owned())).unwrap();
        let hashed = Hashed::parse(hash.reveal()).unwrap();
        assert!(hashed.verify(b"correct horse"));
        assert!(!hashed.verify(b"correct horsf"));
        assert!(!Hashed::of_nobody(COST).unwrap().verify(b"correct horse"));
    }

    /// Made by the reference implementation: `echo -n password | argon2 somesalt -id -t 2 -m 16 -p 1`.
    #[test]
    fn hashes_of_other_programs_are_understood() {
        let hash = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
        assert!(Hashed::parse(hash).unwrap().verify(b"password"));
    }

    #[test]
    fn an_attempt_costs_one_hash_of_each_cost_that_there_is() {
        let directory = Arc::new(Directory::new());
        let costs = Costs::of(&directory);
        let all = || {
            let mut all: Vec<Cost> = costs.current().1.iter().map(|(cost, _)| *cost).collect();
            all.sort_unstable();
            all
        };
        assert_eq!(all(), [COST], "nobody has a password");
        let (old, new) = ((64, 1, 1), (128, 2, 1));
        put(&directory, "alice", &cheap("a", old));
        assert_eq!(all(), [old], "ours is no cost of theirs");
        put(&directory, "bob", &cheap("b", new));
        put(&directory, "carol", &cheap("c", new));
        assert_eq!(all(), [old, new]);
        for (password, cost) in [("a", old), ("b", new), ("c", (72, 1, 1))] {
            let hash = cheap(password, cost);
            assert!(costs.verify(&hash, true, password.as_bytes()), "{password}");
            assert!(!costs.verify(&hash, true, b"x"), "{password}");
        }
        assert!(!costs.verify(&cheap("a", old), false, b"a"), "nobody is known");
        directory.remove(&CredentialKind::Password.hash(&["alice"]));
        assert_eq!(all(), [new]);
    }
}
