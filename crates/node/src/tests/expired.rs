//! An aligned version is good until its last day, and what was found for it a day longer.

use tacit_governance::{AlignLevel, Aligned, Refusal};
use tacit_jobs::align::KEPT_BYTES;

use super::*;
use crate::align::Found;

/// How long the version of the test is good.
const GOOD_MS: u64 = 1_500;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_after_the_last_day_is_refused_and_the_found_keys_go() {
    let mut world = World::new("expired").await;
    world.readable().await;
    // What an alignment leaves: a version of the table with the keys that were found beside it.
    let by = JobId([77; 32]);
    let base = crate::datasets::find(world.store(), &world.dataset).await.unwrap();
    let mut descriptor = crate::datasets::descriptor(&base).unwrap();
    let expires = crate::now().plus(GOOD_MS);
    let parties = world.owners().to_vec();
    descriptor.name = name("table-aligned");
    descriptor.aligned = Some(Aligned { job: by, parties, level: AlignLevel::Both, base: world.dataset, expires });
    let mut kept = crate::datasets::kept(&base).unwrap();
    kept.aligned = vec![Found { job: by, view: "table".into(), key: Vec::new(), keys: 1 }];
    let signed = Statement::sign(&world.keys.root, "data", crate::now(), None, descriptor);
    world.dataset = DatasetVersionId(tacit_crypto::sha256(signed.bytes()).0);
    let row = DatasetRow {
        name: "table-aligned".into(),
        id: world.dataset,
        registration: serde_json::to_string(&kept).unwrap(),
        descriptor: signed.bytes().to_vec(),
        ..base
    };
    world.store().put_dataset(&row).await.unwrap();
    let folder = world.home.join("align");
    std::fs::create_dir_all(&folder).unwrap();
    let keys = folder.join(format!("{by}.keys"));
    std::fs::write(&keys, [7; KEPT_BYTES]).unwrap();

    let contract = world.contract("good", 60_000, true);
    world.admit(&contract).await;
    while crate::now() < expires {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let (_, job, contracts) = world.job(&contract);
    let FromNode::Refused(bytes) = world.ask(&ToNode::Admit { job, contracts }).await else { panic!("admitted") };
    let refusal = Statement::<Refusal>::verify(&bytes).unwrap().into_body();
    assert_eq!(refusal.code, Code::RefusedDataset, "{refusal:?}");

    let (store, day) = (world.store().clone(), 86_400_000);
    crate::align::expire(&store, &world.home, UnixMillis(expires.plus(day).0 - 1)).await.unwrap();
    assert!(keys.exists(), "a job that was admitted before may still read them");
    crate::align::expire(&store, &world.home, expires.plus(day)).await.unwrap();
    assert!(!keys.exists());
    world.end().await;
}
