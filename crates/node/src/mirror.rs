//! The node as a mirror: a copy of its coordinator's log in the node's own folder, signed with a key of its own. From it a
//! coordinator that lost its disk is restored, and its owner verifies offline.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tacit_archive::mirror::{Mirror, mirror_name};
use tacit_crypto::SigningKey;
use tacit_engine::api::PAGE_MAX;
use tacit_engine::{FromCoordinator, ToCoordinator};
use tacit_net::{Connection, keyfile};
use tacit_receipts::tiles::beside_path;
use tacit_receipts::{Leaf, TileRead};
use tacit_types::{Code, Fault, StatementId};

use crate::client;
use crate::daemon::Inner;

/// The folder of the mirror in the node's own.
pub const MIRROR_FOLDER: &str = "mirror";
/// The key that signs what is mirrored.
pub const MIRROR_KEY: &str = "mirror.key";
/// How often the node looks for more of the log.
const PAUSE: Duration = Duration::from_secs(2);
/// The longest pause after a coordinator gave none.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// The mirror's key, made when there is none.
fn signing_key(home: &Path) -> Result<SigningKey, Fault> {
    let path = home.join(MIRROR_KEY);
    if !path.exists() {
        keyfile::write_new(&path, &SigningKey::generate(&mut crate::os_rng()?).to_seed())?;
    }
    keyfile::read_signing(&path)
}

/// Follows the log as long as the node runs. A log that shows a head of another history than the mirrored one is not
/// followed any further: the head stays beside the mirror, as evidence. Leaves that do not fit their head are asked for
/// again: a bit that flipped on the way or on the coordinator's disk is no history, and a repair ends it.
pub(crate) async fn follow(inner: Arc<Inner>) {
    let mut pause = PAUSE;
    let mut opened: Option<(Mirror, SigningKey)> = None;
    loop {
        tokio::time::sleep(pause).await;
        let (mut mirror, key) = match opened.take() {
            Some(open) => open,
            None => match open(&inner) {
                Ok(open) => open,
                Err(fault) => {
                    tracing::error!(%fault, "the mirror cannot be opened: it is put aside by hand");
                    return;
                }
            },
        };
        let connection = inner.to_coordinator.borrow().clone();
        let Some(connection) = connection else {
            opened = Some((mirror, key));
            continue;
        };
        pause = match fetch(&inner, &connection, &mut mirror, &key).await {
            Ok(()) => PAUSE,
            Err(fault) if matches!(fault.code, Code::LogFork | Code::LogRollback) => {
                tracing::error!(%fault, "the log is another than the one that is mirrored; both heads are kept");
                return;
            }
            Err(fault) => {
                match fault.code {
                    Code::LogCorrupt => {
                        tracing::warn!(%fault, "the log was not mirrored; its leaves are asked for again")
                    }
                    _ => tracing::debug!(%fault, "the log was not mirrored"),
                }
                (pause * 2).min(PAUSE_MAX)
            }
        };
        opened = Some((mirror, key));
    }
}

fn open(inner: &Inner) -> Result<(Mirror, SigningKey), Fault> {
    let mirror = Mirror::open(&inner.home.join(MIRROR_FOLDER), &inner.config.coordinator.origin, &inner.log_chain())?;
    Ok((mirror, signing_key(&inner.home)?))
}

/// Takes what is new.
async fn fetch(inner: &Inner, connection: &Connection, mirror: &mut Mirror, key: &SigningKey) -> Result<(), Fault> {
    let other = || Fault::new(Code::NetFrame, "the coordinator answered something else than was asked");
    let FromCoordinator::Checkpoint(note) = client::ask(connection, &inner.ledger, &ToCoordinator::Checkpoint).await?
    else {
        return Err(other());
    };
    let keep = |fault: Fault| {
        if matches!(fault.code, Code::LogFork | Code::LogRollback) {
            let path = mirror_path(inner, "refused.checkpoint");
            if let Err(fault) = tacit_archive::files::write_durable(&path, &note) {
                tracing::error!(%fault, "the head of another history could not be kept");
            }
        }
        fault
    };
    mirror.rekey(&inner.log_chain());
    let head = mirror.admit(&note).map_err(keep)?;
    if mirror.sealed().is_some_and(|sealed| sealed.checkpoint().size == head.size) {
        return Ok(());
    }
    while mirror.size() < head.size {
        let limit = PAGE_MAX.min(u32::try_from(head.size - mirror.size()).unwrap_or(PAGE_MAX));
        let asked =
            client::ask(connection, &inner.ledger, &ToCoordinator::Leaves { from: mirror.size(), limit }).await?;
        let FromCoordinator::Leaves(mut page) = asked else { return Err(other()) };
        page.truncate(limit as usize);
        if page.is_empty() {
            return Err(Fault::new(Code::LogCorrupt, format!("leaf {} is not to be had", mirror.size())));
        }
        let leaves: Vec<Vec<u8>> = page.into_iter().map(|leaf| leaf.0).collect();
        for id in leaves.iter().flat_map(|leaf| beside(leaf)) {
            attestation(inner, connection, mirror, &id).await?;
        }
        crate::align::apart(|| mirror.append(&leaves))?;
    }
    let name = mirror_name(inner.config.name.as_str(), &inner.config.coordinator.origin);
    crate::align::apart(|| mirror.seal(&note, (&name, key), crate::now())).map_err(keep)?;
    // What begins here after a restart may have ended in the log only now.
    if let Err(fault) = inner.recount(Some(&note)).await {
        tracing::debug!(%fault, "what the log shows of this node was not counted yet");
    }
    Ok(())
}

fn mirror_path(inner: &Inner, name: &str) -> std::path::PathBuf {
    inner.home.join(MIRROR_FOLDER).join(name)
}

/// The attestations that a leaf carries by hash alone.
pub(crate) fn beside(leaf: &[u8]) -> Vec<StatementId> {
    let Ok(Leaf::Receipt(receipt)) = Leaf::read(leaf) else { return Vec::new() };
    let carried = receipt.body().attestations.iter();
    carried.filter_map(|bytes| bytes.as_slice().try_into().ok().map(StatementId)).collect()
}

async fn attestation(inner: &Inner, connection: &Connection, mirror: &Mirror, id: &StatementId) -> Result<(), Fault> {
    let path = beside_path(id);
    if mirror.folder().read(&path).is_some() {
        return Ok(());
    }
    let other = || Fault::new(Code::NetFrame, "the coordinator answered something else than was asked");
    let asked = client::ask(connection, &inner.ledger, &ToCoordinator::Beside(vec![*id])).await?;
    let FromCoordinator::Beside(statements) = asked else { return Err(other()) };
    let Some(bytes) = statements.into_iter().next() else { return Err(other()) };
    if tacit_crypto::sha256(&bytes).0 != id.0 {
        return Err(Fault::new(Code::LogCorrupt, format!("{path} has another hash than its name")));
    }
    mirror.folder().write_all(&[(path, bytes.0)])
}
