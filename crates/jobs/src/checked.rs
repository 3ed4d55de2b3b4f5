//! Checked sums, for the kinds that ask for them: every node takes the masks off for itself and believes a sum only if it
//! is that of the vectors that were sent. `docs/protocols/secagg.md` has the protocol and the argument.

use tacit_secagg::verify::price::{self, Priced};
use tacit_types::{Code, Fault};

/// What the result is called where its sums were checked. Every party attests what it saw opened under its name, so the
/// receipt says by this one that the job was checked.
pub const CHECKED_RESULT: &str = "checked result";

/// What the result is called where noise hides every row.
pub const NOISY_RESULT: &str = "noisy result";
/// What it is called where both hold.
pub const CHECKED_NOISY_RESULT: &str = "checked noisy result";

/// Whether a result of this name came from sums that were checked.
pub fn is_checked(what: &str) -> bool {
    [CHECKED_RESULT, CHECKED_NOISY_RESULT].contains(&what)
}

/// The name of a result with noise.
pub(crate) fn noisy_name(checked: bool) -> String {
    if checked { CHECKED_NOISY_RESULT } else { NOISY_RESULT }.into()
}

/// The name of the result.
pub(crate) fn result_name(checked: bool) -> String {
    if checked { CHECKED_RESULT } else { "result" }.into()
}

/// Refuses what an aggregator could not keep until its sums are checked.
///
/// # Errors
/// `refused.parameters`.
pub(crate) fn fits(parties: usize, rounds: &[Priced]) -> Result<(), Fault> {
    match rounds.iter().find(|r| !price::fits(parties, r.width, r.len)) {
        None => Ok(()),
        Some(round) => {
            let (cells, most) = (round.len, tacit_secagg::verify::VERIFIED_BYTES_MAX >> 20);
            let what =
                format!("checked: {parties} vectors of {cells} numbers are over {most} MiB; ask for fewer cells");
            Err(Fault::new(Code::RefusedParameters, what))
        }
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the form that the derive asks for")]
pub(crate) fn is_false(flag: &bool) -> bool {
    !flag
}
