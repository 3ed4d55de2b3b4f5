//! A party's card: its keys, signed by its root key.

use tacit_crypto::{Body, SealPublic, Statement};
use tacit_types::{Code, Fault, Name, NodeId, UnixMillis};

/// What a party is enrolled as.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(index_only)]
pub enum PartyRole {
    /// Runs a node over its own data.
    #[n(0)]
    Partner,
    /// Submits jobs.
    #[n(1)]
    Operator,
    /// Reads receipts.
    #[n(2)]
    Regulator,
    /// Schedules jobs and keeps the log.
    #[n(3)]
    Coordinator,
}

impl PartyRole {
    /// The word used on the command line and in JSON.
    pub const fn word(self) -> &'static str {
        match self {
            PartyRole::Partner => "node",
            PartyRole::Operator => "operator",
            PartyRole::Regulator => "regulator",
            PartyRole::Coordinator => "coordinator",
        }
    }

    /// The role of that word.
    ///
    /// # Errors
    /// `args.invalid` for another word.
    pub fn parse(word: &str) -> Result<Self, Fault> {
        [Self::Partner, Self::Operator, Self::Regulator, Self::Coordinator]
            .into_iter()
            .find(|r| r.word() == word)
            .ok_or_else(|| Fault::new(Code::ArgsInvalid, format!("role `{word}`: node, operator or regulator")))
    }
}

/// A party's keys under its name. The root key signs it; whoever pins the root key can check every
/// other key, so a coordinator that hands cards on cannot swap one.
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct PartyCard {
    /// Version of this format, 1.
    #[n(1)]
    pub version: u8,
    /// The party's name.
    #[n(2)]
    pub name: Name,
    /// Root key: signs contracts and this card.
    #[n(3)]
    pub root: NodeId,
    /// Operational key: TLS, protocol messages, admissions, attestations.
    #[n(4)]
    pub node: NodeId,
    /// Key to which results are sealed.
    #[n(5)]
    pub seal: SealPublic,
    /// Key that cosigns checkpoints.
    #[n(6)]
    pub witness: NodeId,
    /// What the party is enrolled as.
    #[n(7)]
    pub role: PartyRole,
    /// When the card was made.
    #[n(8)]
    pub issued_at: UnixMillis,
}

impl Body for PartyCard {
    const TYPE: &'static str = "party-card";
}

impl PartyCard {
    /// Checks a card's bytes: the signature is the root key's own.
    ///
    /// # Errors
    /// `net.refused` with the reason.
    pub fn verify(bytes: &[u8]) -> Result<Statement<PartyCard>, Fault> {
        let card = Statement::<PartyCard>::verify(bytes)
            .map_err(|e| Fault::new(Code::NetRefused, format!("party card: {e}")))?;
        if card.signer() != card.body().root || card.body().version != 1 {
            return Err(Fault::new(Code::NetRefused, "party card: not signed by its own root key"));
        }
        Ok(card)
    }
}
