//! One target per decoder that remote bytes or other people's files reach. Beside "does not panic, hang or
//! allocate past its cap", each target holds a law of its decoder: what was read, written again, gives the
//! same bytes or the same value.

mod cases;
mod csv;
mod dealt;
mod examples;
mod models;
mod money;
mod online;
mod psi;
mod receipts;
mod score;
mod signed;
mod text;
mod wire;
/// Logs made from fixed keys, shared with the tests of the receipts crate.
#[path = "../../crates/receipts/tests/common/mod.rs"]
mod world;

/// A decoder under test.
#[derive(Clone, Copy)]
pub struct Target {
    /// Name, also that of its corpus folder.
    pub name: &'static str,
    /// Feeds bytes to the decoder and checks its law.
    pub run: fn(&[u8]),
    /// Valid inputs to begin with.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// Every target.
pub const TARGETS: &[Target] = &[
    Target { name: "statement", run: signed::statement, seeds: examples::statements },
    Target { name: "signed_job", run: signed::job, seeds: examples::statements },
    Target { name: "party_card", run: signed::card, seeds: examples::statements },
    Target { name: "contract_signatures", run: signed::contract, seeds: examples::statements },
    Target { name: "orders", run: signed::orders, seeds: examples::orders },
    Target { name: "cbor_job", run: signed::cbor_job, seeds: examples::jobs },
    Target { name: "cbor_contract", run: signed::cbor_contract, seeds: examples::contracts },
    Target { name: "cbor_dataset", run: signed::cbor_dataset, seeds: examples::datasets },
    Target { name: "cbor_card", run: signed::cbor_card, seeds: examples::cards },
    Target { name: "cbor_decision", run: signed::cbor_decision, seeds: examples::decisions },
    Target { name: "stats_params", run: signed::stats_params, seeds: examples::stats_params },
    Target { name: "count_params", run: signed::count_params, seeds: examples::count_params },
    Target { name: "score_params", run: score::params, seeds: score::params_seeds },
    Target { name: "trees_params", run: dealt::trees, seeds: dealt::trees_seeds },
    Target { name: "network_params", run: dealt::network, seeds: dealt::network_seeds },
    Target { name: "verify_params", run: dealt::verify, seeds: dealt::verify_seeds },
    Target { name: "cross_params", run: dealt::cross, seeds: dealt::cross_seeds },
    Target { name: "key_list", run: score::key_list, seeds: score::key_list_seeds },
    Target { name: "sealed_attachment", run: score::sealed_attachment, seeds: score::sealed_attachment_seeds },
    Target { name: "call_body", run: online::call_body, seeds: online::call_body_seeds },
    Target { name: "call_signature", run: online::call_signature, seeds: online::call_signature_seeds },
    Target { name: "window_ask", run: online::window_ask, seeds: online::window_ask_seeds },
    Target { name: "window_answer", run: online::window_answer, seeds: online::window_answer_seeds },
    Target { name: "cbor_model", run: score::model_descriptor, seeds: score::model_descriptor_seeds },
    Target { name: "to_node", run: wire::to_node, seeds: examples::to_node },
    Target { name: "from_node", run: wire::from_node, seeds: examples::from_node },
    Target { name: "to_coordinator", run: wire::to_coordinator, seeds: examples::to_coordinator },
    Target { name: "from_coordinator", run: wire::from_coordinator, seeds: examples::from_coordinator },
    Target { name: "hello", run: wire::hello, seeds: tacit_net::hello::samples },
    Target { name: "message_frame", run: wire::message_frame, seeds: examples::message_frames },
    Target { name: "sealed_result", run: wire::sealed_result, seeds: examples::sealed_results },
    Target { name: "evidence", run: wire::evidence, seeds: examples::evidence },
    Target { name: "vector", run: wire::vector, seeds: examples::vectors },
    Target { name: "psi_open", run: psi::open, seeds: psi::open_seeds },
    Target { name: "psi_points", run: psi::points, seeds: psi::points_seeds },
    Target { name: "psi_normalise", run: psi::normalise, seeds: psi::normalise_seeds },
    Target { name: "psi_peer", run: psi::peer, seeds: psi::peer_seeds },
    Target { name: "lookup_header", run: psi::lookup_header, seeds: psi::lookup_header_seeds },
    Target { name: "lookup_peer", run: psi::lookup_peer, seeds: psi::lookup_peer_seeds },
    Target { name: "usage_record", run: receipts::usage_record, seeds: examples::records },
    Target { name: "attestation", run: receipts::attestation, seeds: examples::attestations },
    Target { name: "joint_receipt", run: receipts::joint_receipt, seeds: examples::joint_receipts },
    Target { name: "leaf", run: receipts::leaf, seeds: examples::leaves },
    Target { name: "entry_bundle", run: receipts::entry_bundle, seeds: examples::entry_bundles },
    Target { name: "bundle", run: receipts::bundle, seeds: examples::bundles },
    Target { name: "opening", run: receipts::opening, seeds: examples::openings },
    Target { name: "link", run: receipts::link, seeds: examples::link_files },
    Target { name: "paper", run: receipts::paper, seeds: examples::papers },
    Target { name: "verify_bundle", run: receipts::verify, seeds: examples::bundles },
    Target { name: "trust", run: receipts::trust, seeds: examples::trusts },
    Target { name: "tlog_proof", run: receipts::tlog_proof, seeds: examples::tlog_proofs },
    Target { name: "checkpoint", run: receipts::checkpoint, seeds: examples::checkpoints },
    Target { name: "note", run: receipts::note, seeds: examples::notes },
    Target { name: "verifier_key", run: receipts::verifier_key, seeds: examples::verifier_keys },
    Target { name: "add_checkpoint", run: receipts::add_checkpoint, seeds: examples::add_checkpoints },
    Target { name: "cose_receipt", run: receipts::cose_receipt, seeds: examples::cose_receipts },
    Target { name: "key_rotations", run: receipts::key_rotations, seeds: examples::key_rotations },
    Target { name: "policy", run: receipts::policy, seeds: examples::policies },
    Target { name: "price_plan", run: money::price_plan, seeds: money::price_plan_seeds },
    Target { name: "period_close", run: money::period_close, seeds: money::period_close_seeds },
    Target { name: "charge", run: money::charge, seeds: money::charge_seeds },
    Target { name: "settlement", run: money::settlement, seeds: money::settlement_seeds },
    Target { name: "correction", run: money::correction, seeds: money::correction_seeds },
    Target { name: "dispute", run: money::dispute, seeds: money::dispute_seeds },
    Target { name: "ruling", run: money::ruling, seeds: money::ruling_seeds },
    Target { name: "valuation", run: money::valuation, seeds: money::valuation_seeds },
    Target { name: "case_opening", run: cases::opening, seeds: cases::opening_seeds },
    Target { name: "case_step", run: cases::step, seeds: cases::step_seeds },
    Target { name: "ledger", run: money::ledger, seeds: money::ledger_seeds },
    Target { name: "filter", run: text::filter, seeds: examples::filters },
    Target { name: "decimal", run: text::decimal, seeds: examples::decimals },
    Target { name: "written_params", run: text::written_params, seeds: examples::written_params },
    Target { name: "address", run: text::address, seeds: examples::addresses },
    Target { name: "invitation", run: text::invitation, seeds: examples::invitations },
    Target { name: "model_xgboost", run: models::xgboost, seeds: models::xgboost_seeds },
    Target { name: "model_lightgbm", run: models::lightgbm, seeds: models::lightgbm_seeds },
    Target { name: "model_linear", run: models::linear, seeds: models::linear_seeds },
    Target { name: "model_scorecard", run: models::scorecard, seeds: models::scorecard_seeds },
    Target { name: "model_onnx", run: models::onnx, seeds: models::onnx_seeds },
    Target { name: "model_own", run: models::own, seeds: models::own_seeds },
    Target { name: "csv", run: csv::inspect, seeds: csv::seeds },
    Target { name: "name_and_id", run: text::name_and_id, seeds: examples::names },
];
