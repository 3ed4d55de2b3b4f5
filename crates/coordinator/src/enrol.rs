//! Enrolment: a one-time code and a card that its own root key signed make a party known.

use std::net::IpAddr;
use std::sync::Arc;

use tacit_engine::{FromCoordinator, RosterEntry};
use tacit_governance::{PartyCard, PartyRole};
use tacit_net::invite::{CODES_MAX, CodeBook, Grant, Invite, OneTimeCode, Role};
use tacit_net::{Address, Connection};
use tacit_receipts::KeyRole;
use tacit_types::wire::Blob;
use tacit_types::{Code, Fault, Name, NodeId};

use crate::daemon::Shared;
use crate::limits::{INVITE_TTL_MS_MAX, PARTIES_MAX};
use crate::roster::Party;
use crate::store::{Change, PartyRow};

/// Makes an invitation. Its line is a secret until it is redeemed; only the code's hash is kept.
///
/// # Errors
/// `args.invalid` for another role, a time out of bounds, or too many parties or invitations.
pub(crate) async fn invite(shared: &Shared, name: Name, role: &str, ttl_ms: u64) -> Result<String, Fault> {
    let role: Role = role.parse()?;
    if ttl_ms == 0 || ttl_ms > INVITE_TTL_MS_MAX {
        let what = format!("a life of {ttl_ms} ms, where 1 to {INVITE_TTL_MS_MAX} are allowed");
        return Err(Fault::new(Code::ArgsInvalid, what));
    }
    if shared.roster().parties().len() >= PARTIES_MAX {
        return Err(Fault::new(Code::ArgsInvalid, format!("{PARTIES_MAX} parties are enrolled; no more are taken")));
    }
    let now = shared.clock.now();
    let code = OneTimeCode::generate(&mut crate::home::os_rng()?);
    let grant = Grant { hash: code.hash(), expires: now.plus(ttl_ms), role, name: name.clone(), used_by: None };
    let mut book = shared.invites.lock().await;
    let expired = book.prune(now);
    if !expired.is_empty() {
        shared.store.write(Change::Uninvite(expired.into_iter().map(|g| g.hash).collect())).await?;
    }
    if book.open().count() >= CODES_MAX {
        return Err(Fault::new(Code::ArgsInvalid, format!("{CODES_MAX} invitations have not expired yet")));
    }
    shared.store.write(Change::Invite(grant.clone())).await?;
    book.insert(grant)?;
    drop(book);
    tracing::info!(name = %name, role = role.text(), "invited");
    Ok(Invite { address: shared.public.clone(), coordinator: shared.id, code }.to_string())
}

/// Says what a code invites to. It stays good.
///
/// # Errors
/// `invite.*`; wrong codes count as they do in [`enrol`].
pub(crate) async fn invitation(shared: &Shared, connection: &Connection, code: &str) -> Result<FromCoordinator, Fault> {
    let grant = redeem(shared, &mut *shared.invites.lock().await, connection, code)?;
    Ok(FromCoordinator::Invitation { name: grant.name, role: grant.role.text().to_owned() })
}

fn redeem(shared: &Shared, book: &mut CodeBook, connection: &Connection, code: &str) -> Result<Grant, Fault> {
    let from: IpAddr = connection.remote_addr().ip();
    let grant = book.redeem(code, from, shared.clock.now(), &connection.peer());
    grant.map_err(|code| Fault::new(code, format!("asked from {from}")))
}

/// Redeems a code for a card. The same keys may do so again until the code expires: who did not get the
/// answer cannot know that it is enrolled.
///
/// # Errors
/// `invite.*` for the code; `net.refused` when the card is not of the connection's key, or not what
/// the invitation is for; then the code stays good.
pub(crate) async fn enrol(
    shared: &Arc<Shared>,
    connection: &Connection,
    code: &str,
    card: Blob,
    address: String,
) -> Result<FromCoordinator, Fault> {
    let refused = |what: String| Fault::new(Code::NetRefused, what);
    let body = PartyCard::verify(&card)?.into_body();
    if body.node != connection.peer() {
        return Err(refused("the card is not of the key that holds this connection".into()));
    }
    check_address(&address)?;
    // One enrolment at a time: what is checked against the roster still holds when it is stored.
    let mut book = shared.invites.lock().await;
    let grant = redeem(shared, &mut book, connection, code)?;
    let party = admissible(shared, &grant, body, card, address)?;
    if !shared.store.write(Change::Enrol { hash: grant.hash, party: party.row.clone() }).await? {
        return Err(Fault::new(Code::InviteUnknown, "it is not in the database any more"));
    }
    book.use_up(&grant.hash, party.row.node);
    tracing::info!(name = %party.row.name, role = party.card.role.word(), node = %party.row.node.short(), "enrolled");
    let name = party.row.name.clone();
    shared.replace_roster(|roster| roster.with(party));
    drop(book);
    Ok(FromCoordinator::Enrolled { name, roster: roster_entries(shared), log: shared.log_info() })
}

/// Checks the card against the invitation and the roster.
fn admissible(shared: &Shared, grant: &Grant, card: PartyCard, bytes: Blob, address: String) -> Result<Party, Fault> {
    let refused = |what: String| Err(Fault::new(Code::NetRefused, what));
    if card.name != grant.name {
        return refused(format!("the card is of {}, the invitation for {}", card.name, grant.name));
    }
    let role = match grant.role {
        Role::Node => PartyRole::Partner,
        Role::Operator => PartyRole::Operator,
        Role::Regulator => PartyRole::Regulator,
    };
    if card.role != role {
        return refused(format!("the card is of a {}, the invitation for a {}", card.role.word(), role.word()));
    }
    let roster = shared.roster();
    let keys = [shared.id, shared.log_key.key()];
    if keys.contains(&card.node) || keys.contains(&card.root) || keys.contains(&card.witness) {
        return refused("the card has a key of the coordinator".into());
    }
    let row = PartyRow { name: card.name.clone(), root: card.root, node: card.node, card: bytes, address, slots: 0 };
    for known in roster.parties() {
        // A card is signed anew for each try. The first one stays: others have it already.
        if (PartyCard { issued_at: known.card.issued_at, ..card.clone() }) == known.card {
            let row = PartyRow { address: row.address, ..known.row.clone() };
            return Ok(Party { row, ..known.clone() });
        }
        if known.row.name == row.name {
            return refused(format!("the name {} is another party's", row.name));
        }
        let theirs = [known.card.root, known.card.node, known.card.witness];
        if [card.root, card.node, card.witness].iter().any(|key| theirs.contains(key)) {
            return refused(format!("a key of the card is {}'s", known.row.name));
        }
    }
    // A key that somebody's became, or was before another, is theirs for ever.
    let taken = |key: &NodeId| {
        let is = |role| roster.keys().id_of(role, key) != *key;
        KeyRole::ALL.into_iter().any(is) || roster.parties().iter().any(|p| p.later.contains(key))
    };
    if [card.root, card.node, card.witness].iter().any(taken) {
        return refused("a key of the card is another party's, by a change".into());
    }
    if roster.parties().len() >= PARTIES_MAX {
        return refused(format!("{PARTIES_MAX} parties are enrolled; no more are taken"));
    }
    Ok(Party { card, row, later: Vec::new() })
}

/// An address is empty or `host:port`.
pub(crate) fn check_address(address: &str) -> Result<(), Fault> {
    let shown: String = address.chars().take(80).collect();
    let wrong = || Fault::new(Code::ArgsInvalid, format!("the address {shown:?} is not host:port"));
    if address.len() > crate::limits::ADDRESS_BYTES_MAX {
        return Err(wrong());
    }
    if address.is_empty() { Ok(()) } else { address.parse::<Address>().map(|_| ()).map_err(|_| wrong()) }
}

/// Everyone, the coordinator first.
pub(crate) fn roster_entries(shared: &Shared) -> Vec<RosterEntry> {
    let own = RosterEntry { card: shared.card.clone(), address: shared.public.to_string(), online: true };
    let others = shared.roster().entries(|node| shared.nodes.is_up(node));
    std::iter::once(own).chain(others).collect()
}
