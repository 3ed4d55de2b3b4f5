//! Reads the log again, bundle by bundle, for as long as the daemon runs: what a disk forgets is found while copies of it
//! are there to be had, and nothing is signed over it.

use std::sync::Arc;

use tacit_archive::{Damage, examine};
use tacit_receipts::tiles::TILE_WIDTH;
use tacit_types::Fault;
use tokio::time::sleep;

use super::blocking;
use crate::daemon::Shared;
use crate::limits::PATROL_PAUSE;

/// Checks one bundle of the published log after the other, then begins again.
pub(crate) async fn patrol(shared: Arc<Shared>) {
    let mut index = 0;
    loop {
        sleep(PATROL_PAUSE).await;
        let head = shared.log.published.borrow().as_deref().map(|c| (c.checkpoint().size, c.checkpoint().root));
        let Some((size, root)) = head else { continue };
        index = if index < size.div_ceil(TILE_WIDTH) { index } else { 0 };
        let (folder, at) = (shared.folder.clone(), index);
        let look = move || Ok::<Vec<Damage>, Fault>(examine(&folder, (size, root), at));
        index += 1;
        if blocking(look.clone()).await.is_ok_and(|found| found.is_empty()) {
            continue;
        }
        // A file that could not be read once, for want of handles, may be whole.
        sleep(PATROL_PAUSE).await;
        let Some(damage) = blocking(look).await.unwrap_or_default().into_iter().next() else { continue };
        let fault = Fault::from(&damage);
        tracing::error!(%fault, "nothing is appended any more: stop the coordinator and run `tacit log repair`");
        shared.log.refuse.send_if_modified(|refused| {
            let first = refused.is_none();
            if first {
                *refused = Some(fault);
            }
            first
        });
        return;
    }
}
