//! What shows single leaves to be in the log, for readers that do not take the whole of it.

use std::sync::Arc;

use tacit_engine::FromCoordinator;
use tacit_receipts::{TileReader, cose};
use tacit_types::Fault;
use tacit_types::wire::Blob;

use super::reads::on_disk;
use crate::daemon::Shared;

/// Signs the place of a leaf under the newest checkpoint that has its quorum: never under one that only this process
/// has seen.
pub(super) async fn cose(shared: &Arc<Shared>, place: u64) -> Result<FromCoordinator, Fault> {
    let size = shared.log.published.borrow().as_deref().map_or(0, |c| c.checkpoint().size);
    let work = shared.clone();
    let receipt = on_disk(move || {
        let reader = TileReader::new(&work.folder, size);
        let leaf = reader.leaf(place)?;
        cose::receipt(&reader, (place, size), &leaf, (&work.log_key, &work.log_signer))
    });
    receipt.await.map(|bytes| FromCoordinator::CoseReceipt(Blob(bytes)))
}
