//! How every score is handed over: the seats' vectors are summed for the recipient, and each seat makes its part of the
//! key durable before it says that it is done.

use tacit_protocol::{Abort, Party};
use tacit_secagg::{Collection, Vector};
use tacit_types::{Code, Fault, Hash, Unit};

use super::params::ScoreParams;
use super::plan::result_disclosure;
use crate::kind::{JointContext, JointOutput};
use crate::session::{self, Given};

/// Sums the cells of all seats for the recipient. `query` says what is summed, alike at every seat.
///
/// # Errors
/// Those of [`tacit_secagg::collect`]; `job.peer_lost` when a seat's part of the key did not become durable.
pub(super) async fn over(
    mut party: Party,
    context: &JointContext,
    params: &ScoreParams,
    query: Hash,
    cells: Vec<u64>,
) -> Result<JointOutput, Abort> {
    let plan = Collection {
        context: context.session,
        query,
        collector: context.aggregator,
        step_ms: context.step_ms,
        round: session::COLLECT_ROUND,
        recipient: context.recipient,
        disclosure: result_disclosure(params),
    };
    let vector = Vector::W64(cells);
    let mut given = Given::default();
    given.add(&vector);
    let outcome = tacit_secagg::collect(&mut party, &plan, &vector).await?;
    let output = session::output(outcome, given, params.rows, 0)?;
    if !session::confirm(&mut party, context, 0, &output).await? {
        return Err(Abort::Local(Fault::new(Code::JobPeerLost, "a party was lost before its release was durable")));
    }
    given.meter(&mut party)?;
    party.meter(Unit::CellOut, params.rows)?;
    party.meter(Unit::CellSuppressed, 0)?;
    Ok(output)
}
