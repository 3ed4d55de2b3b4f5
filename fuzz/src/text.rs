//! What people write.

use tacit_governance::ColumnKind;
use tacit_jobs::{CATALOG, ColumnKinds, Decimal};
use tacit_net::{Address, invite::Invite};
use tacit_types::{Code, JobId, Name, Predicate};

fn text(bytes: &[u8]) -> Option<&str> {
    core::str::from_utf8(bytes).ok()
}

/// A filter: the tree is within its limits.
pub fn filter(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    if let Ok(predicate) = tacit_jobs::filter::parse(text) {
        let predicate: Predicate = predicate;
        assert!(predicate.within_limits());
        let signed = tacit_crypto::cbor::encode(&predicate);
        assert_eq!(tacit_crypto::cbor::decode::<Predicate>(&signed).as_ref(), Ok(&predicate));
    }
}

/// A decimal: its own text again, up to leading zeroes, and the same value.
pub fn decimal(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    if let Ok(decimal) = Decimal::parse(text) {
        assert!(decimal.is_valid());
        assert_eq!(Decimal::parse(&decimal.to_string()), Ok(decimal));
        assert!(decimal.cmp_value(decimal).is_eq());
        assert!(decimal.to_f64().is_finite());
        for bits in [0, 1, 40, 60, 61, 127, u32::MAX] {
            let _ = decimal.to_fixed_floor(bits);
        }
    }
}

/// Parameters as JSON: what the tool writes, the node plans.
pub fn written_params(bytes: &[u8]) {
    let Ok(written) = serde_json::from_slice::<serde_json::Value>(bytes) else { return };
    let columns = ColumnKinds::from([
        ("amount".to_owned(), ColumnKind::Float),
        ("age".to_owned(), ColumnKind::Int),
        ("region".to_owned(), ColumnKind::Text),
    ]);
    for kind in CATALOG {
        if let Ok(params) = kind.params(written.clone(), &columns) {
            // Who writes does not say yet how many take part; noise is made for their number.
            match kind.plan(&params, &tacit_jobs::Parts::default()) {
                Ok(_) => {}
                Err(fault) if fault.code == Code::RefusedParties => {}
                Err(fault) => panic!("{} refuses what its own tool wrote: {fault}", kind.id()),
            }
        }
    }
}

/// A host and a port.
pub fn address(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    if let Ok(address) = text.parse::<Address>() {
        assert_eq!(address.to_string().parse::<Address>(), Ok(address.clone()));
        assert_ne!(address.port(), 0);
    }
}

/// An invitation's line.
pub fn invitation(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    match text.parse::<Invite>() {
        Ok(invite) => {
            let again = invite.to_string();
            assert_eq!(again.parse::<Invite>().map(|i| i.to_string()).as_ref(), Ok(&again));
        }
        // What was typed may hold a live code and is never repeated.
        Err(fault) => assert!(text.len() < 8 || !text.starts_with("tacit1:") || !fault.what.contains(text)),
    }
}

/// Names, ids and codes.
pub fn name_and_id(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    if let Ok(name) = Name::new(text) {
        assert_eq!(name.as_str(), text);
        assert!(!text.contains(['/', '\\']) && text != "..");
    }
    if let Ok(id) = JobId::from_hex(text) {
        assert_eq!(id.to_string(), text.to_ascii_lowercase());
    }
    crate::signed::code(text);
}
