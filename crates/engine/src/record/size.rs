//! Whether a leaf can hold the receipt of a record. What none could hold is not begun, and an attempt whose record grows over it,
//! because so many counts stand beside its lines, ends without a result: that is receipted as every other end.

use tacit_receipts::receipt::SIGNING_OVERHEAD_BYTES;
use tacit_types::limits::LEAF_BYTES_MAX;

use super::*;

/// Bytes that a receipt has beside its record for one party: an attestation's hash, or a key and why it is absent.
pub const RECEIPT_BYTES_PER_PARTY: usize = 64;
/// Bytes of the lines and the root that a window has more than other jobs.
const WINDOW_BYTES: usize = 96;

/// Bytes of the receipt of a record, when it carries its attestations by hash.
fn receipt_bytes(record: usize, parties: usize) -> usize {
    record + RECEIPT_BYTES_PER_PARTY * (parties + 1) + SIGNING_OVERHEAD_BYTES
}

/// Whether the receipt of a record of so many bytes fits a leaf, whoever attests it.
pub fn is_leaf(record: usize, parties: usize) -> bool {
    receipt_bytes(record, parties) <= LEAF_BYTES_MAX
}

/// Checks that a record can be attested and that its receipt fits a leaf.
///
/// # Errors
/// `receipt.too_large`, with what is too much of it.
pub fn fits(record: &UsageRecord) -> Result<(), Fault> {
    let too_large = |what: String| Fault::new(Code::ReceiptTooLarge, what);
    record.check().map_err(|fault| too_large(fault.what))?;
    let (bytes, parties) = (cbor::encode(record).len(), record.parties.len());
    if is_leaf(bytes, parties) {
        return Ok(());
    }
    let disputed = record.disputed().count();
    Err(too_large(format!(
        "{} bytes with {parties} parties and {disputed} disputed lines; a leaf has at most {LEAF_BYTES_MAX}",
        receipt_bytes(bytes, parties)
    )))
}

/// Checks that the receipt of a job fits a leaf, whatever its parties count, as long as they agree. Parties are name, node and
/// root.
///
/// # Errors
/// `receipt.too_large`.
pub fn fits_all(job: &Statement<JobSpec>, origin: &str, parties: &[(&Name, NodeId, NodeId)]) -> Result<(), Fault> {
    let spec = job.body();
    let finished = Finished::Ok {
        package: Some(Package::Known { hash: Hash([0; 32]) }),
        survivors: Vec::new(),
        cells_in: u64::MAX,
        payload_bytes: u64::MAX,
        cells_out: u64::MAX,
        cells_suppressed: u64::MAX,
        opened: listed(spec).into_iter().map(|d| (d.what, u64::MAX)).collect(),
    };
    let part = |(name, node, root): &(&Name, NodeId, NodeId)| Part {
        name: (*name).clone(),
        node: *node,
        root: *root,
        standing: Standing::TookPart,
        finished: Some(finished.clone()),
        links: None,
    };
    let record = assemble(Ended {
        job,
        origin,
        attempt: Attempt(u32::MAX),
        status: Status::Ok,
        parties: parties.iter().map(part).collect(),
        span: (UnixMillis(u64::MAX), UnixMillis(u64::MAX)),
        evidence: &[],
    });
    let bytes = cbor::encode(&record).len() + if spec.asker.is_some() { WINDOW_BYTES } else { 0 };
    if is_leaf(bytes, parties.len()) {
        return Ok(());
    }
    let (bytes, parties) = (receipt_bytes(bytes, parties.len()), parties.len());
    let what =
        format!("its receipt could take {bytes} bytes with {parties} parties; a leaf has at most {LEAF_BYTES_MAX}");
    Err(Fault::new(Code::ReceiptTooLarge, what))
}
