//! Who takes part: keys, cards, datasets and contracts. They do not depend on the seed, so that
//! ten thousand runs sign them once.

use std::sync::{Arc, OnceLock};

use tacit_crypto::{Rng, SealKey, Secret, SigningKey, Statement};
use tacit_engine::control::Seated;
use tacit_engine::{Member, record::witness_threshold};
use tacit_governance::contract::{ColumnGrant, ContractParty, DatasetGrant, Quota, Role};
use tacit_governance::dataset::{ColumnInfo, ColumnKind, Level};
use tacit_governance::{
    Cohort, Contract, DatasetDescriptor, ModelDescriptor, ModelGrant, PartyCard, PartyRole, Precision, ScoringTerms,
    SignedContract, User,
};
use tacit_receipts::{Genesis, KeyCard, KeyEvent, KeyKind, PartyKey, Quorum, Trust, VerifierKey};
use tacit_types::wire::Blob;
use tacit_types::{ContractId, DatasetVersionId, Hash, ModelVersionId, Name, UnixMillis};

use super::dealt;
use super::score;

/// The time at which every run begins.
pub const T0: UnixMillis = UnixMillis(1_800_000_000_000);
/// The log.
pub const ORIGIN: &str = "log.example/usage/2027";
/// The fewest and most parties of a run.
pub const PARTIES: core::ops::RangeInclusive<usize> = 3..=5;
/// The purpose that the contracts allow.
pub const PURPOSE: &str = "joint statistics";
/// The floor of the contracts.
pub const COHORT: Cohort = Cohort { rows: 3, contributors: 2 };

/// An owner of data with its node.
pub struct Owner {
    pub name: Name,
    pub root: SigningKey,
    pub node: Arc<SigningKey>,
    pub witness: SigningKey,
    pub witness_key: VerifierKey,
    pub member: Member,
    pub descriptor: DatasetDescriptor,
    pub dataset: DatasetVersionId,
    /// Its part of a split model.
    pub model: (ModelVersionId, ModelDescriptor, Vec<u8>),
    /// The column that no other owner has.
    pub own_column: String,
}

/// Everyone of a run with so many owners, in the order of their node keys, which is that of seats.
pub struct Cast {
    pub owners: Vec<Owner>,
    pub coordinator: SigningKey,
    pub log: SigningKey,
    pub log_key: VerifierKey,
    pub operator: SigningKey,
    pub recipient: SealKey,
    /// Contracts with room for many jobs and for one, and that in which the last owner deals for the others.
    pub contracts: Vec<Terms>,
    pub quorum: Quorum,
    pub trust: Trust,
    pub genesis: Vec<Vec<u8>>,
}

/// A contract, signed by all.
pub struct Terms {
    pub id: ContractId,
    pub jobs: u64,
    pub statements: Vec<Blob>,
}

fn key(kind: u8, i: usize) -> SigningKey {
    let mut seed = [kind; 32];
    seed[0] = i as u8;
    SigningKey::from_seed(&Secret::new(seed))
}

/// The cast of a run with so many owners.
pub fn cast(owners: usize) -> &'static Cast {
    static CASTS: [OnceLock<Cast>; 6] = [const { OnceLock::new() }; 6];
    CASTS[owners].get_or_init(|| Cast::new(owners))
}

impl Cast {
    fn new(n: usize) -> Self {
        let mut owners: Vec<Owner> = (0..n).map(owner).collect();
        owners.sort_by_key(|o| o.node.id());
        // By seat, as the digits of the amounts are.
        owners.iter_mut().enumerate().for_each(|(seat, o)| o.model = score::model(seat, o.root.id()));
        let (coordinator, log, operator) = (key(1, 0), key(2, 0), key(3, 0));
        let recipient = SealKey::generate(&mut Rng::from_seed(&Secret::new([4; 32])));
        let log_key = VerifierKey::new(ORIGIN, KeyKind::Ed25519, log.id()).expect("why: the origin is a name");
        let terms = |jobs, dealt| terms(&owners, &operator, &recipient, jobs, dealt);
        let contracts = vec![terms(100, false), terms(1, false), terms(99, true)];
        let witnesses: Vec<VerifierKey> = owners.iter().map(|o| o.witness_key.clone()).collect();
        let threshold = witness_threshold(n);
        let trust = Trust {
            version: tacit_receipts::bundle::BUNDLE_VERSION,
            origin: ORIGIN.into(),
            coordinator: coordinator.id(),
            log_key: log_key.to_string(),
            witnesses: witnesses.iter().map(ToString::to_string).collect(),
            quorum: threshold as u32,
            rotations: Vec::new(),
            party_rotations: Vec::new(),
            parties: owners
                .iter()
                .map(|o| PartyKey { name: o.name.clone(), key: o.node.id(), from: 0, until: None })
                .collect(),
        };
        let genesis = genesis(&coordinator, &trust);
        let quorum = Quorum::new(witnesses, threshold).expect("why: the keys are distinct");
        Self { owners, coordinator, log, log_key, operator, recipient, contracts, quorum, trust, genesis }
    }
}

fn owner(i: usize) -> Owner {
    let (root, node, witness) = (key(5, i), key(6, i), key(7, i));
    let name = Name::new(&format!("owner{i}")).expect("why: it is a name");
    let card = PartyCard {
        version: 1,
        name: name.clone(),
        root: root.id(),
        node: node.id(),
        seal: SealKey::generate(&mut Rng::from_seed(&Secret::new([8; 32]))).public(),
        witness: witness.id(),
        role: PartyRole::Partner,
        issued_at: T0,
    };
    let card = Statement::sign(&root, "card", T0, None, card).bytes().to_vec().into();
    let own_column = format!("own{i}");
    let column = |name: &str, kind| ColumnInfo { name: name.into(), kind, levels: Level::ALL.to_vec() };
    let descriptor = DatasetDescriptor {
        format: 1,
        owner: root.id(),
        name: name.clone(),
        version: 1,
        columns: vec![
            column("amount", ColumnKind::Int),
            column("grp", ColumnKind::Text),
            column("id", ColumnKind::Text),
            column(&own_column, ColumnKind::Int),
        ],
        row_bucket: 8,
        commitment: Hash([i as u8; 32]),
        views: vec!["v".into()],
        aligned: None,
        terms: None,
    };
    let signed = Statement::sign(&root, "dataset", T0, None, descriptor.clone());
    let witness_key = VerifierKey::new(&format!("witness.example/{i}"), KeyKind::Cosignature, witness.id());
    Owner {
        member: Member {
            name: name.clone(),
            root: root.id(),
            node: node.id(),
            seated: Seated { card, address: format!("192.0.2.{i}:7000") },
        },
        dataset: tacit_engine::api::dataset_id(signed.bytes()),
        model: score::model(i, root.id()),
        witness_key: witness_key.expect("why: it is a name"),
        node: Arc::new(node),
        own_column,
        name,
        root,
        witness,
        descriptor,
    }
}

fn terms(owners: &[Owner], operator: &SigningKey, recipient: &SealKey, jobs: u64, dealt: bool) -> Terms {
    let (data, dealer) = owners.split_at(owners.len() - usize::from(dealt));
    let party = |o: &Owner, role| ContractParty { name: o.name.clone(), root: o.root.id(), role };
    let demander = Name::new("demander").expect("why: it is a name");
    let demander = ContractParty { name: demander, root: operator.id(), role: Role::Demander };
    let column = |name: &str| ColumnGrant { name: name.into(), levels: Level::ALL.to_vec() };
    let grant = |o: &Owner| DatasetGrant {
        owner: o.root.id(),
        dataset: o.dataset,
        views: vec!["v".into()],
        columns: vec![column("amount"), column("grp"), column("id"), column(&o.own_column)],
    };
    let contract = Contract {
        version: 1,
        name: Name::new(&format!("contract{jobs}")).expect("why: it is a name"),
        parties: data
            .iter()
            .map(|o| party(o, Role::Provider))
            .chain(dealer.iter().map(|o| party(o, Role::Dealer)))
            .chain([demander])
            .collect(),
        datasets: data.iter().map(grant).collect(),
        kinds: ["stats/v1", "count/v1", "score-linear/v1"].into_iter().chain(dealt::KINDS).map(Into::into).collect(),
        purpose: PURPOSE.into(),
        recipients: vec![recipient.public()],
        operators: vec![operator.id()],
        users: vec![User { root: operator.id(), node: operator.id(), seal: recipient.public() }],
        cohort: COHORT,
        quota: Quota { jobs },
        valid_from: UnixMillis(T0.0 - 86_400_000),
        valid_until: T0.plus(86_400_000),
        models: match dealt {
            true => {
                dealt::VERSIONS.iter().map(|model| ModelGrant { owner: owners[0].root.id(), model: *model }).collect()
            }
            false => owners.iter().map(|o| ModelGrant { owner: o.root.id(), model: o.model.0 }).collect(),
        },
        scoring: Some(ScoringTerms {
            rows: score::ROWS_ALLOWED,
            rows_per_job: score::rows(),
            precision: Precision::Score,
            online: None,
            verified: false,
            distinct: None,
            decimals: None,
            unknown: None,
        }),
        alignment: None,
        checked: false,
        privacy: None,
        exact: None,
        price_plan: None,
        control: None,
        lifecycle: None,
    };
    let mut signed = SignedContract::draft(contract);
    let keys = owners.iter().map(|o| &o.root).chain([operator]);
    let statements = keys.map(|k| Blob(signed.sign(k, T0).expect("why: the terms are sound"))).collect();
    Terms { id: signed.id(), jobs, statements }
}

/// The two leaves with which a log begins.
fn genesis(coordinator: &SigningKey, trust: &Trust) -> Vec<Vec<u8>> {
    let genesis = Genesis { version: 1, origin: ORIGIN.into(), policy: "receipts".into(), continues: None };
    let keys = KeyEvent {
        version: 1,
        coordinator: trust.coordinator,
        log_key: trust.log_key.clone(),
        witnesses: trust.witnesses.clone(),
        quorum: trust.quorum,
        parties: trust.parties.iter().map(|p| KeyCard { name: p.name.clone(), key: p.key }).collect(),
    };
    vec![
        Statement::sign(coordinator, "log", T0, None, genesis).bytes().to_vec(),
        Statement::sign(coordinator, "log", T0, None, keys).bytes().to_vec(),
    ]
}
