//! Connections and the requests on them. What a caller may ask follows from its key alone: the
//! roster's role for it, or the coordinator's own.

mod jobs;
mod late;
mod proofs;
mod reads;

use std::sync::Arc;

use tacit_engine::{FromCoordinator, ToCoordinator};
use tacit_governance::PartyRole;
use tacit_net::{CloseReason, Connection, Endpoint, Incoming, Purpose, Responder};
use tacit_receipts::KeyRole;
use tacit_types::limits::CONTROL_FRAME_BYTES_MAX;
use tacit_types::wire::{self, Blob};
use tacit_types::{Code, Fault};
use tokio::task::JoinSet;

use crate::books;
use crate::daemon::Shared;
use crate::enrol;
use crate::party_keys;
use crate::roster::Party;

/// Who asks.
pub(super) enum Caller {
    /// The coordinator's own operator, with its key.
    Own,
    /// An enrolled party.
    Party(Box<Party>),
}

impl Caller {
    fn role(&self) -> PartyRole {
        match self {
            Caller::Own => PartyRole::Coordinator,
            Caller::Party(party) => party.card.role,
        }
    }
}

/// Takes connections until the endpoint closes.
pub(crate) async fn accept(shared: Arc<Shared>, endpoint: Endpoint) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            connection = endpoint.accept() => match connection {
                Some(connection) => { connections.spawn(serve(shared.clone(), connection)); }
                None => return,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(shared: Arc<Shared>, connection: Connection) {
    let mut requests = JoinSet::new();
    loop {
        tokio::select! {
            incoming = connection.accept() => match incoming {
                Ok(Incoming::Request { bytes, responder }) => {
                    requests.spawn(handle(shared.clone(), connection.clone(), bytes, responder));
                }
                Ok(Incoming::Stream { receiver, .. }) => receiver.stop(),
                Err(error) => {
                    tracing::debug!(peer = %connection.peer().short(), %error, "a connection ended");
                    break;
                }
            },
            Some(_) = requests.join_next() => {}
        }
    }
    requests.shutdown().await;
    if shared.nodes.down(&connection) {
        tracing::info!(node = %connection.peer().short(), "a node is away");
        shared.jobs.link(connection.peer()).await;
    }
}

async fn handle(shared: Arc<Shared>, connection: Connection, bytes: Vec<u8>, responder: Responder) {
    let request: ToCoordinator = match wire::decode(&bytes) {
        Ok(request) => request,
        Err(_) => {
            tracing::debug!(peer = %connection.peer().short(), "a request that cannot be read");
            connection.close(CloseReason::Unknown);
            return;
        }
    };
    drop(bytes);
    let answer = answer(&shared, &connection, request).await.unwrap_or_else(FromCoordinator::Failed);
    let mut frame = wire::encode(&answer);
    if frame.is_empty() || frame.len() > CONTROL_FRAME_BYTES_MAX {
        let what = format!("the answer has {} bytes; a frame has at most {CONTROL_FRAME_BYTES_MAX}", frame.len());
        frame = wire::encode(&FromCoordinator::Failed(Fault::new(Code::ReceiptTooLarge, what)));
    }
    if let Err(error) = responder.respond(&frame).await {
        tracing::debug!(peer = %connection.peer().short(), %error, "an answer was not taken");
    }
}

/// Which roles may ask this. Everything that is not named here is for nobody.
fn allowed(request: &ToCoordinator, role: PartyRole) -> bool {
    use PartyRole::{Coordinator, Operator, Partner, Regulator};
    use ToCoordinator as To;
    let roles: &[PartyRole] = match request {
        To::Invitation { .. } | To::Enrol { .. } => &[],
        To::Register { .. } | To::Report(_) | To::Attested { .. } | To::Progress { .. } | To::Record(_) => &[Partner],
        To::Deposit { .. } | To::Fetch { .. } => &[Partner, Operator],
        // A node submits windows, in which it has the recipient's seat, and jobs in which it has none.
        To::Submit { .. } | To::Plan { .. } | To::Cancel(_) | To::Result(_) => &[Partner, Operator],
        To::PutContract(_) => &[Partner, Operator],
        To::Datasets | To::Contract(_) | To::Contracts => &[Partner, Operator, Coordinator],
        To::Rotate(_) => &[Partner, Operator, Regulator],
        To::PartyKeys { .. } => &[Partner, Operator, Regulator, Coordinator],
        To::Roster | To::LogInfo | To::Ping => &[Partner, Operator, Regulator, Coordinator],
        To::Leaves { .. } | To::Checkpoint | To::CoseReceipt(_) | To::Beside(_) => {
            &[Partner, Operator, Regulator, Coordinator]
        }
        To::Papers(_) => &[Partner, Operator, Coordinator],
        To::Jobs { .. } | To::Job(_) | To::Watch { .. } => &[Partner, Operator, Regulator, Coordinator],
        To::Say(_) => &[Partner, Operator, Regulator],
        To::Invite { .. } | To::ClosePeriod { .. } | To::Away(_) => &[Coordinator],
    };
    roles.contains(&role)
}

async fn answer(
    shared: &Arc<Shared>,
    connection: &Connection,
    request: ToCoordinator,
) -> Result<FromCoordinator, Fault> {
    let refused = |what: &str| Fault::new(Code::NetRefused, what);
    if connection.purpose() == Purpose::Enrol {
        return match request {
            ToCoordinator::Invitation { code } => enrol::invitation(shared, connection, &code).await,
            ToCoordinator::Enrol { code, card, address } => {
                enrol::enrol(shared, connection, &code, card, address).await
            }
            _ => Err(refused("this connection may only enrol")),
        };
    }
    let caller = match shared.roster().by_node(&connection.peer()) {
        _ if connection.peer() == shared.id => Caller::Own,
        Some(party) => Caller::Party(Box::new(party.clone())),
        None => return Err(refused("this key is not enrolled")),
    };
    // A connection outlives the key with which it was made.
    if !shared.roster().keys().speaks(KeyRole::Node, &connection.peer(), &connection.key(), shared.clock.now()) {
        let what = format!("{} was changed for another", connection.key().short());
        return Err(Fault::new(Code::ReceiptKeyRetired, what));
    }
    if !allowed(&request, caller.role()) {
        return Err(refused(&format!("this is not for a {}", caller.role().word())));
    }
    match (request, caller) {
        (ToCoordinator::Invite { name, role, ttl_ms }, Caller::Own) => {
            enrol::invite(shared, name, &role, ttl_ms).await.map(FromCoordinator::Invited)
        }
        (ToCoordinator::Away(name), Caller::Own) => jobs::away(shared, &name).await,
        (ToCoordinator::Register { address, datasets, slots }, Caller::Party(party)) => {
            jobs::register(shared, connection, *party, address, datasets, slots).await
        }
        (ToCoordinator::Report(finish), Caller::Party(party)) => jobs::report(shared, &party, finish).await,
        (ToCoordinator::Attested { job, attestation }, Caller::Party(party)) => {
            late::attested(shared, &party, &job, attestation).await
        }
        (ToCoordinator::Record(job), Caller::Party(party)) => late::record(shared, &party, &job).await,
        (ToCoordinator::Progress { job, step }, Caller::Party(party)) => {
            jobs::progress(shared, &party, &job, step).await
        }
        (ToCoordinator::Submit { job }, Caller::Party(_)) => jobs::submit(shared, job).await,
        (ToCoordinator::Plan { job }, Caller::Party(_)) => jobs::plan(shared, job).await,
        (ToCoordinator::Cancel(order), Caller::Party(party)) => jobs::cancel(shared, &party, &order).await,
        (ToCoordinator::Result(job), Caller::Party(party)) => jobs::result(shared, &party, &job).await,
        (ToCoordinator::PutContract(signatures), Caller::Party(_)) => reads::put_contract(shared, signatures).await,
        (ToCoordinator::Deposit { hash, total, offset, bytes }, Caller::Party(party)) => {
            let (depot, node) = (shared.depot.clone(), party.card.node);
            let put = move || depot.put(node, hash, total, offset, &bytes);
            reads::on_disk(put).await.map(FromCoordinator::Deposited)
        }
        (ToCoordinator::Fetch { hash, offset }, Caller::Party(_)) => {
            let depot = shared.depot.clone();
            let (total, bytes) = reads::on_disk(move || depot.get(&hash, offset)).await?;
            Ok(FromCoordinator::Fetched { total, bytes: Blob(bytes) })
        }
        (ToCoordinator::Rotate(change), Caller::Party(party)) => party_keys::rotate(shared, &party, &change).await,
        (ToCoordinator::Say(statement), Caller::Party(party)) => books::say(shared, &party, statement).await,
        (ToCoordinator::ClosePeriod { until }, Caller::Own) => books::close(shared, until).await,
        (request, caller) => reads::read(shared, &caller, request).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tacit_engine::{Finish, Finished};
    use tacit_types::{Attempt, ContractId, Hash, JobId, Name, Step};

    /// One of each request, with the roles that may ask it: p partner, o operator, r regulator,
    /// c coordinator.
    fn table() -> Vec<(ToCoordinator, &'static str)> {
        let id = JobId([0; 32]);
        let finished = Finished::Ok {
            package: None,
            survivors: vec![],
            cells_in: 0,
            payload_bytes: 0,
            cells_out: 0,
            cells_suppressed: 0,
            opened: vec![],
        };
        vec![
            (ToCoordinator::Invitation { code: String::new() }, ""),
            (ToCoordinator::Enrol { code: String::new(), card: Blob::default(), address: String::new() }, ""),
            (ToCoordinator::Register { address: String::new(), datasets: vec![], slots: 1 }, "p"),
            (
                ToCoordinator::Report(Finish {
                    job: id,
                    attempt: Attempt(1),
                    finished,
                    blames: Vec::new(),
                    links: None,
                }),
                "p",
            ),
            (ToCoordinator::Attested { job: id, attestation: Blob::default() }, "p"),
            (ToCoordinator::Progress { job: id, step: Step(1) }, "p"),
            (ToCoordinator::Roster, "porc"),
            (ToCoordinator::LogInfo, "porc"),
            (ToCoordinator::Datasets, "poc"),
            (ToCoordinator::PutContract(vec![]), "po"),
            (ToCoordinator::Contract(ContractId([0; 32])), "poc"),
            (ToCoordinator::Contracts, "poc"),
            (ToCoordinator::Submit { job: Blob::default() }, "po"),
            (ToCoordinator::Plan { job: Blob::default() }, "po"),
            (ToCoordinator::Jobs { before: None, limit: 1 }, "porc"),
            (ToCoordinator::Job(id), "porc"),
            (ToCoordinator::Watch { job: id, seen: 0, wait_ms: 0 }, "porc"),
            (ToCoordinator::Cancel(Blob::default()), "po"),
            (ToCoordinator::Result(id), "po"),
            (ToCoordinator::Leaves { from: 0, limit: 1 }, "porc"),
            (ToCoordinator::Beside(vec![]), "porc"),
            (ToCoordinator::Checkpoint, "porc"),
            (ToCoordinator::Invite { name: Name::new("a").unwrap(), role: "node".into(), ttl_ms: 1 }, "c"),
            (ToCoordinator::Away(Name::new("a").unwrap()), "c"),
            (ToCoordinator::Ping, "porc"),
            (ToCoordinator::Deposit { hash: Hash([0; 32]), total: 1, offset: 0, bytes: Blob::default() }, "po"),
            (ToCoordinator::Fetch { hash: Hash([0; 32]), offset: 0 }, "po"),
            (ToCoordinator::Say(Blob::default()), "por"),
            (ToCoordinator::ClosePeriod { until: tacit_types::UnixMillis(0) }, "c"),
            (ToCoordinator::CoseReceipt(0), "porc"),
            (ToCoordinator::Record(id), "p"),
            (ToCoordinator::Papers(id), "poc"),
            (ToCoordinator::Rotate(Blob::default()), "por"),
            (ToCoordinator::PartyKeys { from: 0 }, "porc"),
        ]
    }

    #[test]
    fn every_role_may_ask_exactly_what_the_table_says() {
        let roles = [
            ('p', PartyRole::Partner),
            ('o', PartyRole::Operator),
            ('r', PartyRole::Regulator),
            ('c', PartyRole::Coordinator),
        ];
        for (request, who) in table() {
            for (letter, role) in roles {
                assert_eq!(allowed(&request, role), who.contains(letter), "{request:?} for a {}", role.word());
            }
        }
    }
}
