//! How every score is handed over: the seats' vectors are summed for the recipient.

use tacit_protocol::{Abort, Party};
use tacit_types::Hash;

use super::params::ScoreParams;
use super::plan::result_disclosure;
use crate::kind::{JointContext, JointOutput};
use crate::session::{self, Given, Handed};

/// Sums the cells of all seats for the recipient. `query` says what is summed, alike at every seat.
///
/// # Errors
/// Those of [`session::hand`].
pub(super) async fn over(
    mut party: Party,
    context: &JointContext,
    params: &ScoreParams,
    query: Hash,
    cells: Vec<u64>,
) -> Result<JointOutput, Abort> {
    let (disclosure, given, released) = (result_disclosure(params), Given::of(&cells), params.rows);
    let handed = Handed { disclosure, query, cells, given, each: Vec::new(), released };
    session::hand(&mut party, context, handed).await
}
