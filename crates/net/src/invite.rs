//! Invitations: one line that carries a coordinator's address, its fingerprint and a one-time code;
//! and the book in which a coordinator keeps the codes, hashed.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use tacit_crypto::{Rng, Secret, Transcript};
use tacit_types::{Code, Fault, Hash, Name, NodeId, UnixMillis};

use crate::address::Address;

/// Hex digits of a code: 128 bits.
pub const CODE_LEN: usize = 32;
/// Bytes of an invitation's line.
pub const INVITE_BYTES_MAX: usize = 512;
/// Invitations that may be open at once.
pub const CODES_MAX: usize = 4096;
/// Wrong codes that one address may try in a minute.
pub const WRONG_PER_MINUTE_MAX: u32 = 10;
/// Addresses whose wrong codes are counted; beyond, a new address is throttled at its first.
pub const SOURCES_MAX: usize = 1024;

const PREFIX: &str = "tacit1:";

/// A one-time code. Shown once, in the invitation; kept nowhere but as a hash.
pub struct OneTimeCode(Secret<[u8; CODE_LEN / 2]>);

impl OneTimeCode {
    /// A fresh code.
    pub fn generate(rng: &mut Rng) -> Self {
        Self(Secret::new(rng.bytes()))
    }

    /// Reads 32 lower-case hex digits.
    pub fn parse(text: &str) -> Option<Self> {
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        let digit = |b: u8| match b {
            b'0'..=b'9' => Some(b - b'0'),
            b'a'..=b'f' => Some(b - b'a' + 10),
            _ => None,
        };
        let bytes: Option<Vec<u8>> = pairs.iter().map(|[a, b]| Some(digit(*a)? << 4 | digit(*b)?)).collect();
        match rest {
            [] => Some(Self(Secret::new(bytes?.try_into().ok()?))),
            _ => None,
        }
    }

    /// The code in the clear, for the invitation and for the one message that redeems it.
    pub fn expose_text(&self) -> String {
        self.0.expose_secret().iter().map(|b| format!("{b:02x}")).collect()
    }

    /// What is stored in place of the code.
    pub fn hash(&self) -> Hash {
        Transcript::new("tacit-net/1/invite").bytes(self.0.expose_secret()).finish()
    }
}

/// The hash under which a code is stored; `None` for what cannot be a code.
pub fn hash_code(code: &str) -> Option<Hash> {
    OneTimeCode::parse(code).map(|code| code.hash())
}

/// An invitation: `tacit1:<host>:<port>#<fingerprint>#<code>`. Its text is a secret until redeemed.
pub struct Invite {
    /// Where the coordinator listens.
    pub address: Address,
    /// The coordinator's key, to be pinned.
    pub coordinator: NodeId,
    /// The code.
    pub code: OneTimeCode,
}

impl fmt::Display for Invite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}#{}#{}", self.address, self.coordinator, self.code.expose_text())
    }
}

impl fmt::Debug for Invite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Invite({} at {})", self.coordinator.short(), self.address)
    }
}

impl FromStr for Invite {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        // What was typed is not repeated: it may hold a live code.
        let malformed = |what: &str| Fault::new(Code::InviteMalformed, what);
        if text.len() > INVITE_BYTES_MAX {
            return Err(malformed("the line is too long"));
        }
        let rest = text.strip_prefix(PREFIX).ok_or_else(|| malformed("the line does not begin with tacit1:"))?;
        let fields: Vec<&str> = rest.split('#').collect();
        let [address, key, code] = fields.as_slice() else {
            return Err(malformed("an address, a fingerprint and a code are expected, divided by #"));
        };
        let address = address.parse().map_err(|_| malformed("the address is not host:port or [IPv6]:port"))?;
        let lower = key.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_lowercase());
        let coordinator = NodeId::from_hex(key).ok().filter(|_| lower);
        let coordinator = coordinator.ok_or_else(|| malformed("the fingerprint is not 64 lower-case hex digits"))?;
        let code = OneTimeCode::parse(code).ok_or_else(|| malformed("the code is not 32 lower-case hex digits"))?;
        Ok(Self { address, coordinator, code })
    }
}

/// What somebody is invited as.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// A party's daemon.
    Node,
    /// Somebody who submits jobs.
    Operator,
    /// Somebody who reads receipts.
    Regulator,
}

impl Role {
    /// The role's text.
    pub const fn text(self) -> &'static str {
        match self {
            Role::Node => "node",
            Role::Operator => "operator",
            Role::Regulator => "regulator",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl FromStr for Role {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        [Role::Node, Role::Operator, Role::Regulator]
            .into_iter()
            .find(|role| role.text() == text)
            .ok_or_else(|| Fault::new(Code::ArgsInvalid, "a role is node, operator or regulator"))
    }
}

/// An invitation as it is stored.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Grant {
    /// The hash of the code.
    pub hash: Hash,
    /// The first instant at which the code is void.
    pub expires: UnixMillis,
    /// What the bearer becomes.
    pub role: Role,
    /// Under which name.
    pub name: Name,
    /// The node key that used the code up; it may do so again until the code expires.
    pub used_by: Option<NodeId>,
}

/// The invitations that have not expired, in memory. The caller stores what it inserts, and each use.
#[derive(Default, Debug)]
pub struct CodeBook {
    open: BTreeMap<Hash, Grant>,
    wrong: BTreeMap<IpAddr, u32>,
    minute: u64,
}

impl CodeBook {
    /// Enters an invitation.
    ///
    /// # Errors
    /// `args.invalid` when [`CODES_MAX`] have not expired.
    pub fn insert(&mut self, grant: Grant) -> Result<(), Fault> {
        if self.open.len() >= CODES_MAX {
            return Err(Fault::new(Code::ArgsInvalid, format!("{CODES_MAX} invitations have not expired yet")));
        }
        self.open.insert(grant.hash, grant);
        Ok(())
    }

    /// What a code is for. It is good for the first key that it was [used up](Self::use_up) with, and for
    /// no other: an answer that was lost can be asked for again.
    ///
    /// # Errors
    /// `invite.throttled` after [`WRONG_PER_MINUTE_MAX`] wrong codes from one address in one minute,
    /// `invite.unknown` for a code that never was or expired long ago, `invite.used`, `invite.expired`.
    pub fn redeem(&mut self, code: &str, from: IpAddr, now: UnixMillis, by: &NodeId) -> Result<Grant, Code> {
        let minute = now.seconds() / 60;
        if minute != self.minute {
            self.minute = minute;
            self.wrong.clear();
        }
        let from = network(from);
        if self.wrong.get(&from).is_some_and(|n| *n >= WRONG_PER_MINUTE_MAX) {
            return Err(Code::InviteThrottled);
        }
        match hash_code(code).and_then(|hash| self.open.get(&hash)) {
            Some(grant) if now >= grant.expires => Err(Code::InviteExpired),
            Some(grant) if grant.used_by.is_some_and(|key| key != *by) => Err(Code::InviteUsed),
            Some(grant) => Ok(grant.clone()),
            None if self.wrong.len() >= SOURCES_MAX && !self.wrong.contains_key(&from) => Err(Code::InviteThrottled),
            None => {
                *self.wrong.entry(from).or_default() += 1;
                Err(Code::InviteUnknown)
            }
        }
    }

    /// Notes that a code was used with a key. Store that first.
    pub fn use_up(&mut self, hash: &Hash, by: NodeId) {
        if let Some(grant) = self.open.get_mut(hash) {
            grant.used_by = Some(by);
        }
    }

    /// Takes out what has expired and returns it, for the caller to delete.
    pub fn prune(&mut self, now: UnixMillis) -> Vec<Grant> {
        self.open.extract_if(.., |_, grant| grant.expires <= now).map(|(_, grant)| grant).collect()
    }

    /// The invitations that have not been taken out.
    pub fn open(&self) -> impl Iterator<Item = &Grant> {
        self.open.values()
    }
}

/// Whoever has one IPv6 address has its /64.
fn network(from: IpAddr) -> IpAddr {
    match from.to_canonical() {
        IpAddr::V4(ip) => IpAddr::V4(ip),
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

    const ALICE: NodeId = NodeId([1; 32]);
    const BOB: NodeId = NodeId([2; 32]);

    fn rng() -> Rng {
        Rng::from_seed(&Secret::new([3; 32]))
    }

    fn grant(code: &OneTimeCode) -> Grant {
        let name = Name::new("bank-a").unwrap();
        Grant { hash: code.hash(), expires: NOW.plus(1000), role: Role::Node, name, used_by: None }
    }

    fn ip(n: u32) -> IpAddr {
        IpAddr::V4(std::net::Ipv4Addr::from_bits(n))
    }

    #[test]
    fn invitations_print_as_they_parse() {
        let key = "0f".repeat(32);
        let code = "00112233445566778899aabbccddeeff";
        for address in ["coordinator.example:7400", "10.0.0.1:1", "[2001:db8::1]:65535"] {
            let text = format!("tacit1:{address}#{key}#{code}");
            let invite: Invite = text.parse().unwrap();
            assert_eq!(invite.to_string(), text);
            assert!(!format!("{invite:?}").contains(code));
        }
    }

    #[test]
    fn any_other_line_is_refused_without_repeating_it() {
        let key = "0f".repeat(32);
        let code = "00112233445566778899aabbccddeeff";
        let good = format!("tacit1:a.example:1#{key}#{code}");
        assert!(good.parse::<Invite>().is_ok());
        let mut bad: Vec<String> = vec![
            String::new(),
            good.replace("tacit1", "tacit2"),
            good.replace(":1#", "#"),
            good.replace(":1#", ":0#"),
            good.replace("a.example", "::1"),
            good.replace(&key, &key.to_uppercase()),
            good.replace(&key, &key[1..]),
            good.replace(code, &code.to_uppercase()),
            good.replace(code, &code[2..]),
            format!("{good}0"),
            format!("{good}00"),
            format!("{good}#"),
            format!(" {good}"),
            format!("{good}\n"),
            "tacit1:".to_owned() + &"#".repeat(INVITE_BYTES_MAX),
            "tacit1:".to_owned() + &"a".repeat(INVITE_BYTES_MAX),
        ];
        bad.extend((0..good.len()).map(|cut| good[..cut].to_owned()));
        for text in bad {
            let fault = text.parse::<Invite>().unwrap_err();
            assert_eq!(fault.code, Code::InviteMalformed, "{text}");
            assert!(!fault.what.contains(code));
        }
    }

    #[test]
    fn a_code_works_for_one_key_and_in_time() {
        let mut rng = rng();
        let (one, two) = (OneTimeCode::generate(&mut rng), OneTimeCode::generate(&mut rng));
        assert_ne!(one.hash(), two.hash());
        let mut book = CodeBook::default();
        book.insert(grant(&one)).unwrap();
        book.insert(grant(&two)).unwrap();
        // Asking what it is for leaves it open to anybody.
        assert_eq!(book.redeem(&one.expose_text(), ip(1), NOW, &BOB), Ok(grant(&one)));
        assert_eq!(book.redeem(&one.expose_text(), ip(1), NOW, &ALICE), Ok(grant(&one)));
        book.use_up(&one.hash(), ALICE);
        let used = Grant { used_by: Some(ALICE), ..grant(&one) };
        for _ in 0..2 {
            assert_eq!(book.redeem(&one.expose_text(), ip(2), NOW, &ALICE), Ok(used.clone()));
            assert_eq!(book.redeem(&one.expose_text(), ip(1), NOW, &BOB), Err(Code::InviteUsed));
        }
        for (code, key) in [(&one, ALICE), (&one, BOB), (&two, ALICE), (&two, BOB)] {
            let late = NOW.plus(1000);
            assert_eq!(book.redeem(&code.expose_text(), ip(1), late, &key), Err(Code::InviteExpired));
        }
        assert_eq!(book.prune(NOW.plus(1000)).len(), 2);
        assert_eq!(book.redeem(&two.expose_text(), ip(1), NOW, &ALICE), Err(Code::InviteUnknown));
    }

    #[test]
    fn pruning_returns_exactly_the_expired() {
        let mut rng = rng();
        let codes: Vec<_> = (0..4).map(|_| OneTimeCode::generate(&mut rng)).collect();
        let mut book = CodeBook::default();
        for (i, code) in codes.iter().enumerate() {
            book.insert(Grant { expires: NOW.plus(i as u64), ..grant(code) }).unwrap();
        }
        let gone = book.prune(NOW.plus(1));
        assert_eq!(gone.len(), 2);
        assert!(gone.iter().all(|g| g.expires <= NOW.plus(1)));
        assert!(book.redeem(&codes[3].expose_text(), ip(1), NOW, &ALICE).is_ok());
    }

    #[test]
    fn wrong_codes_are_throttled_by_address_and_minute() {
        let code = OneTimeCode::generate(&mut rng());
        let mut book = CodeBook::default();
        book.insert(grant(&code)).unwrap();
        for i in 0..WRONG_PER_MINUTE_MAX {
            let wrong = if i % 2 == 0 { "ff".repeat(16) } else { "nonsense".into() };
            assert_eq!(book.redeem(&wrong, ip(1), NOW, &ALICE), Err(Code::InviteUnknown));
        }
        assert_eq!(book.redeem(&code.expose_text(), ip(1), NOW, &ALICE), Err(Code::InviteThrottled));
        assert!(book.redeem(&code.expose_text(), ip(2), NOW, &ALICE).is_ok());
        assert_eq!(book.redeem("x", ip(1), NOW.plus(60_000), &ALICE), Err(Code::InviteUnknown));

        let v6 = |low: u128| IpAddr::V6(Ipv6Addr::from_bits((0x2001_0db8 << 96) | low));
        assert_eq!(network(v6(1)), network(v6(u128::from(u64::MAX))));
        assert_ne!(network(v6(1)), network(v6(1 << 64)));
    }

    #[test]
    fn the_books_are_bounded() {
        let mut book = CodeBook::default();
        let mut rng = rng();
        for _ in 0..CODES_MAX {
            book.insert(grant(&OneTimeCode::generate(&mut rng))).unwrap();
        }
        assert_eq!(book.insert(grant(&OneTimeCode::generate(&mut rng))).unwrap_err().code, Code::ArgsInvalid);
        for n in 0..SOURCES_MAX {
            assert_eq!(book.redeem("x", ip(n as u32), NOW, &ALICE), Err(Code::InviteUnknown));
        }
        assert_eq!(book.redeem("x", ip(SOURCES_MAX as u32), NOW, &ALICE), Err(Code::InviteThrottled));
        assert_eq!(book.wrong.len(), SOURCES_MAX);
    }
}
