//! The keys of the coordinator's log: the pinned one, and those that signed changes have led to since.

use tacit_engine::LogInfo;
use tacit_receipts::{LogChain, VerifierKey, rotation};
use tacit_types::{Code, Fault};

use crate::config::Config;
use crate::store::Store;

/// Where the changes are kept that this party has followed.
const FOLLOWED: &str = "log_rotations";

fn pinned(config: &Config) -> Result<VerifierKey, Fault> {
    VerifierKey::parse(&config.coordinator.log_key)
        .map_err(|f| Fault::new(Code::ConfigMalformed, format!("coordinator.log_key: {}", f.what)))
}

/// The keys as far as this party has followed them.
///
/// # Errors
/// `config.malformed`; `store.corrupt` when what was followed does not lead on from the pinned key; those of the database.
pub async fn followed(config: &Config, store: &Store) -> Result<LogChain, Fault> {
    let mut chain = LogChain::from(pinned(config)?);
    if let Some(bytes) = store.meta(FOLLOWED).await? {
        let corrupt = |f: Fault| Fault::new(Code::StoreCorrupt, format!("node.db: {}", f.what));
        let rotations = rotation::from_file(&bytes).map_err(corrupt)?;
        chain.take(rotations.iter().map(Vec::as_slice)).map_err(corrupt)?;
    }
    Ok(chain)
}

/// The keys that the coordinator shows, when they lead on from what this party has followed.
///
/// # Errors
/// `net.fingerprint` for another log, or a key that nothing leads to; those of [`followed`].
pub async fn shown(config: &Config, store: &Store, info: &LogInfo) -> Result<LogChain, Fault> {
    let other = || Fault::new(Code::NetFingerprint, "the coordinator shows another log than the pinned one");
    if info.origin != config.coordinator.origin || info.coordinator != config.coordinator_id()? {
        return Err(other());
    }
    let mut chain = LogChain::from(pinned(config)?);
    chain.take(info.rotations.iter().map(|bytes| bytes.0.as_slice())).map_err(|_| other())?;
    let before = followed(config, store).await?;
    let goes_on = before.keys().all(|held| chain.keys().any(|shown| shown.key == held.key));
    if goes_on && chain.newest().to_string() == info.log_key { Ok(chain) } else { Err(other()) }
}

/// Keeps the changes that [`shown`] followed. What was kept before is part of them.
///
/// # Errors
/// Those of the database.
pub async fn keep(store: &Store, info: &LogInfo) -> Result<(), Fault> {
    let rotations: Vec<Vec<u8>> = info.rotations.iter().map(|bytes| bytes.0.clone()).collect();
    store.set_meta(FOLLOWED, &rotation::to_file(&rotations)).await
}
