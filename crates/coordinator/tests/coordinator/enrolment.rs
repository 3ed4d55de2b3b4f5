//! Who comes in, and what each may ask.

use tacit_crypto::{SealPublic, Statement};
use tacit_engine::api::{FromCoordinator, ToCoordinator};
use tacit_engine::{Finish, Finished};
use tacit_governance::{Cohort, Contract, ContractParty, PartyRole, Quota, Role, User};
use tacit_net::{Address, Purpose};
use tacit_types::wire::Blob;
use tacit_types::{Attempt, Code, ContractId, JobId, Name, NodeId, Step, UnixMillis};

use crate::support::*;

fn code(result: Result<FromCoordinator, tacit_types::Fault>) -> Code {
    result.unwrap_err().code
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_works_for_one_party_and_for_what_it_says() {
    let mut world = World::new().await;
    let keys = Keys::new("bank-a", PartyRole::Partner);
    let invite = world.invite("bank-a", "node").await;
    assert_eq!((&invite.address, invite.coordinator), (&Address::from(world.address), world.id));
    let text = invite.code.expose_text();
    assert_eq!(code(world.redeem(&keys, &"0".repeat(32), keys.card()).await), Code::InviteUnknown);

    // Another name, another role, another's card: refused, and the code stays good.
    let named = Keys::new("bank-b", PartyRole::Partner);
    assert_eq!(code(world.redeem(&named, &text, named.card()).await), Code::NetRefused);
    let roled = Keys::new("bank-a", PartyRole::Operator);
    assert_eq!(code(world.redeem(&roled, &text, roled.card()).await), Code::NetRefused);
    assert_eq!(code(world.redeem(&named, &text, keys.card()).await), Code::NetRefused);
    let mut altered = keys.card();
    *altered.last_mut().unwrap() ^= 1;
    assert_eq!(code(world.redeem(&keys, &text, altered).await), Code::NetRefused);

    // The code outlives a restart, its use too.
    world.stop().await;
    world.start().await;
    let FromCoordinator::Enrolled { name, roster, log } = world.redeem(&keys, &text, keys.card()).await.unwrap() else {
        panic!()
    };
    // A partner counts as a witness once its node has been there.
    assert_eq!((name.as_str(), roster.len(), log.witnesses.len(), log.quorum), ("bank-a", 2, 1, 0));
    let first = tacit_governance::PartyCard::verify(&roster[0].card).unwrap();
    assert_eq!((first.body().role, first.body().node), (PartyRole::Coordinator, world.id));
    // Who did not get the answer asks again, with a card that is signed anew, and stands there once. Nobody else can.
    let twin = Keys::new("bank-a", PartyRole::Partner);
    for _ in 0..2 {
        let later = keys.card_at(UnixMillis(1_700_000_060_000));
        assert_ne!(later, keys.card());
        let again = world.redeem(&keys, &text, later).await.unwrap();
        let FromCoordinator::Enrolled { roster: entries, .. } = again else { panic!() };
        assert_eq!(entries, roster);
        assert_eq!(code(world.redeem(&twin, &text, twin.card()).await), Code::InviteUsed);
        world.stop().await;
        world.start().await;
    }

    // Nor does the same card with a fresh code change anything; another key under the name is refused.
    world.enrol(&keys).await;
    let changed = Keys { witness: Keys::new("x", PartyRole::Partner).witness, ..keys };
    let invite = world.invite("bank-a", "node").await;
    assert_eq!(
        code(world.redeem(&changed, &invite.code.expose_text(), changed.card()).await),
        Code::NetRefused,
        "another witness key"
    );
    let invite = world.invite("bank-a", "node").await;
    assert_eq!(code(world.redeem(&twin, &invite.code.expose_text(), twin.card()).await), Code::NetRefused);
}

#[tokio::test(flavor = "multi_thread")]
async fn codes_expire_and_wrong_ones_are_throttled() {
    let world = World::new().await;
    let keys = Keys::new("bank-a", PartyRole::Partner);
    let running = world.running.as_ref().unwrap();
    let line = running.invite(Name::new("bank-a").unwrap(), "node", 1).await.unwrap();
    let invite: tacit_net::invite::Invite = line.parse().unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    let text = invite.code.expose_text();
    assert_eq!(code(world.redeem(&keys, &text, keys.card()).await), Code::InviteExpired);
    let good = world.invite("bank-a", "node").await.code.expose_text();
    // A minute may end between two tries, and with it what was counted: then once more.
    let mut good_in_vain = false;
    for _ in 0..6 * tacit_net::invite::WRONG_PER_MINUTE_MAX {
        let wrong = code(world.redeem(&keys, &"1".repeat(32), keys.card()).await);
        assert!(matches!(wrong, Code::InviteUnknown | Code::InviteThrottled), "{wrong}");
        if wrong == Code::InviteThrottled {
            let late = world.redeem(&keys, &good, keys.card()).await;
            good_in_vain = late.is_err_and(|f| f.code == Code::InviteThrottled);
        }
        if good_in_vain {
            break;
        }
    }
    assert!(good_in_vain, "nobody was throttled");
    for (role, ttl) in [("coordinator", 1000), ("node", 0), ("node", tacit_coordinator::limits::INVITE_TTL_MS_MAX + 1)]
    {
        let fault = running.invite(Name::new("b").unwrap(), role, ttl).await.unwrap_err();
        assert_eq!(fault.code, Code::ArgsInvalid);
    }
}

/// One of each request, with the roles that may ask it: p partner, o operator, r regulator, c the
/// coordinator's own key, e an enrolment connection.
fn table() -> Vec<(ToCoordinator, &'static str)> {
    let job = JobId([7; 32]);
    let finished = Finished::Ok {
        package: None,
        survivors: vec![],
        cells_in: 0,
        payload_bytes: 0,
        cells_out: 0,
        cells_suppressed: 0,
        opened: vec![],
    };
    vec![
        (ToCoordinator::Invitation { code: String::new() }, "e"),
        (ToCoordinator::Enrol { code: String::new(), card: Blob::default(), address: String::new() }, "e"),
        (ToCoordinator::Register { address: String::new(), datasets: vec![], slots: 1 }, "p"),
        (ToCoordinator::Report(Finish { job, attempt: Attempt(1), finished, blames: Vec::new(), links: None }), "p"),
        (ToCoordinator::Progress { job, step: Step(1) }, "p"),
        (ToCoordinator::Roster, "porc"),
        (ToCoordinator::LogInfo, "porc"),
        (ToCoordinator::Datasets, "poc"),
        (ToCoordinator::PutContract(vec![]), "po"),
        (ToCoordinator::Contract(ContractId([0; 32])), "poc"),
        (ToCoordinator::Contracts, "poc"),
        // A node submits the windows of scores that it asks for; what else it submits is refused for its content.
        (ToCoordinator::Submit { job: Blob::default() }, "po"),
        (ToCoordinator::Plan { job: Blob::default() }, "po"),
        (ToCoordinator::Jobs { before: None, limit: 1 }, "porc"),
        (ToCoordinator::Job(job), "porc"),
        (ToCoordinator::Watch { job, seen: 0, wait_ms: 0 }, "porc"),
        (ToCoordinator::Cancel(Blob::default()), "po"),
        (ToCoordinator::Result(job), "po"),
        (ToCoordinator::Leaves { from: 0, limit: 1 }, "porc"),
        (ToCoordinator::Beside(vec![]), "porc"),
        (ToCoordinator::Checkpoint, "porc"),
        (ToCoordinator::Invite { name: Name::new("z").unwrap(), role: "node".into(), ttl_ms: 1000 }, "c"),
        (ToCoordinator::Away(Name::new("z").unwrap()), "c"),
        (ToCoordinator::Ping, "porc"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn every_role_reaches_exactly_what_is_its_own() {
    let world = World::new().await;
    let root = tacit_net::keyfile::read_signing(&world.home().join("root.key")).unwrap();
    let own = Keys { node: root, ..Keys::new("c", PartyRole::Coordinator) };
    let mut callers = Vec::new();
    for (letter, name, role) in
        [('p', "p", PartyRole::Partner), ('o', "o", PartyRole::Operator), ('r', "r", PartyRole::Regulator)]
    {
        let keys = Keys::new(name, role);
        world.enrol(&keys).await;
        callers.push((letter, Client::new(keys, world.id, world.address).await));
    }
    callers.push(('c', Client::new(own, world.id, world.address).await));
    for (request, who) in table() {
        for (letter, client) in &callers {
            // What passes the table may fail for its content, but then for that.
            let refused = client.ask(&request).await.is_err_and(|f| f.code == Code::NetRefused);
            assert_eq!(refused, !who.contains(*letter), "{request:?} by {letter}");
        }
        let newcomer = Keys::new("n", PartyRole::Partner);
        let endpoint = newcomer.endpoint();
        let connection = endpoint.connect(&world.address.into(), &world.id, Purpose::Enrol).await.unwrap();
        let fault = ask(&connection, &request).await.unwrap_err();
        let enrolling = matches!(request, ToCoordinator::Invitation { .. }) && fault.code == Code::InviteUnknown
            || matches!(request, ToCoordinator::Enrol { .. }) && fault.what.contains("party card");
        assert_eq!(enrolling || fault.code != Code::NetRefused, who.contains('e'), "{request:?}: {fault}");
    }
    // Who is not enrolled does not even come in.
    let stranger = Keys::new("n", PartyRole::Partner);
    let dial = stranger.endpoint().connect(&world.address.into(), &world.id, Purpose::Member).await;
    assert_eq!(dial.unwrap_err().code(), Code::NetRefused);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invitation_says_what_it_is_for_and_stays_good() {
    let world = World::new().await;
    let keys = Keys::new("bank-a", PartyRole::Regulator);
    let text = world.invite("bank-a", "regulator").await.code.expose_text();
    let endpoint = keys.endpoint();
    let connection = endpoint.connect(&world.address.into(), &world.id, Purpose::Enrol).await.unwrap();
    for _ in 0..2 {
        let answer = ask(&connection, &ToCoordinator::Invitation { code: text.clone() }).await.unwrap();
        let FromCoordinator::Invitation { name, role } = answer else { panic!() };
        assert_eq!((name.as_str(), role.as_str()), ("bank-a", "regulator"));
    }
    assert!(world.redeem(&keys, &text, keys.card()).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn contracts_and_datasets_are_kept_and_handed_on() {
    let mut world = World::new().await;
    let owner = Keys::new("owner", PartyRole::Partner);
    world.enrol(&owner).await;
    let operator = world.operator("o").await;
    let root = owner.root.share();
    let node = Client::new(owner, world.id, world.address).await;
    let dataset = |owner| tacit_governance::DatasetDescriptor {
        format: 1,
        owner,
        name: Name::new("d").unwrap(),
        version: 1,
        columns: vec![],
        row_bucket: 8,
        commitment: tacit_types::Hash([0; 32]),
        views: vec!["d".into()],
        aligned: None,
        terms: None,
    };
    let sign = |body| Blob(Statement::sign(&root, "d", now(), None, body).bytes().to_vec());
    let register = async |address: &str, datasets: Vec<Blob>, slots| {
        node.ask(&ToCoordinator::Register { address: address.into(), datasets, slots }).await
    };
    let (own, others) = (sign(dataset(root.id())), sign(dataset(operator.keys.root.id())));
    assert_eq!(code(register("a.example:1", vec![others], 1).await), Code::ArgsInvalid);
    assert_eq!(code(register("nowhere", vec![], 1).await), Code::ArgsInvalid);
    assert_eq!(code(register("", vec![], 0).await), Code::ArgsInvalid);
    assert_eq!(code(register("", vec![], tacit_coordinator::limits::SLOTS_MAX + 1).await), Code::ArgsInvalid);
    let many = vec![own.clone(); tacit_coordinator::limits::DATASETS_PER_NODE_MAX + 1];
    assert_eq!(code(register("", many, 1).await), Code::ArgsInvalid);
    register("a.example:1", vec![own.clone()], 1).await.unwrap();

    let contract = contract(&root.id(), &operator.keys.root.id(), operator.keys.seal);
    let signature = |key| Blob(Statement::sign(key, "c", now(), None, contract.clone()).bytes().to_vec());
    let (a, b) = (signature(&root), signature(&operator.keys.root));
    let mut broken = a.clone();
    *broken.0.last_mut().unwrap() ^= 1;
    for bad in [vec![], vec![broken], vec![Blob(vec![1, 2, 3])], vec![signature(&operator.keys.node)]] {
        assert_eq!(code(node.ask(&ToCoordinator::PutContract(bad)).await), Code::RefusedContractIncomplete);
    }
    node.ask(&ToCoordinator::PutContract(vec![a.clone()])).await.unwrap();
    operator.ask(&ToCoordinator::PutContract(vec![a.clone(), b.clone()])).await.unwrap();
    world.stop().await;
    world.start().await;
    let id = contract.id();
    let FromCoordinator::Contract(mut kept) = operator.ask(&ToCoordinator::Contract(id)).await.unwrap() else {
        panic!()
    };
    kept.sort();
    let mut both = vec![a, b];
    both.sort();
    assert_eq!(kept, both);
    let FromCoordinator::Contracts(all) = operator.ask(&ToCoordinator::Contracts).await.unwrap() else { panic!() };
    assert_eq!((all.len(), all[0].len()), (1, 2));
    let FromCoordinator::Datasets(all) = operator.ask(&ToCoordinator::Datasets).await.unwrap() else { panic!() };
    assert_eq!(all, [own]);
    let FromCoordinator::Roster(roster) = operator.ask(&ToCoordinator::Roster).await.unwrap() else { panic!() };
    assert_eq!((roster[1].address.as_str(), roster[1].online), ("a.example:1", false));
}

fn contract(provider: &NodeId, demander: &NodeId, seal: SealPublic) -> Contract {
    let party = |name: &str, root: &NodeId, role| ContractParty { name: Name::new(name).unwrap(), root: *root, role };
    Contract {
        version: 1,
        name: Name::new("c").unwrap(),
        parties: vec![party("owner", provider, Role::Provider), party("o", demander, Role::Demander)],
        datasets: vec![],
        kinds: vec!["count/v1".into()],
        purpose: "test".into(),
        recipients: vec![seal],
        operators: vec![*demander],
        users: vec![User { root: *demander, node: *demander, seal }],
        cohort: Cohort { rows: 3, contributors: 2 },
        quota: Quota { jobs: 1 },
        valid_from: tacit_types::UnixMillis(1),
        valid_until: tacit_types::UnixMillis(2),
        models: Vec::new(),
        scoring: None,
        alignment: None,
        checked: false,
        privacy: None,
        exact: None,
        price_plan: None,
        control: None,
        lifecycle: None,
    }
}
