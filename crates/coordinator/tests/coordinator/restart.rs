//! Stopping and starting again in every state of a job.

use tacit_coordinator::fsck;
use tacit_engine::Terminal;
use tacit_types::Code;

use crate::support::*;

/// Stops while a node keeps its answer to this kind of request back; the job ends as if nothing had
/// happened, with one receipt.
async fn stop_at(word: &'static str, state: &str) {
    let mut world = World::with_limits("[limits]\nclose_ms = 3000\n").await;
    let nodes = world.nodes(3).await;
    let operator = world.operator("o").await;
    // Another job before it, so that the log is not empty.
    let first = operator.submit(operator.job(&nodes, 1)).await.unwrap();
    assert_eq!(operator.end(first).await.terminal, Some(Terminal::Succeeded));
    for node in &nodes {
        let mut script = node.script();
        script.came.clear();
        match word {
            "report" => script.mute = true,
            word => drop(script.hold.insert(word)),
        }
    }
    let id = operator.submit(operator.job(&nodes, 2)).await.unwrap();
    match word {
        // One owner decides before the others are asked; which one depends on the keys.
        "admit" => within(5, word, any_came(&nodes, word)).await,
        "report" => all_came(&nodes, "start").await,
        word => all_came(&nodes, word).await,
    }
    within(5, state, async {
        while operator.view(id).await.state != state {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    })
    .await;
    world.stop().await;
    for node in &nodes {
        let mut script = node.script();
        script.mute = false;
        script.hold.clear();
    }
    world.start().await;
    let view = operator.end(id).await;
    assert_eq!(view.terminal, Some(Terminal::Succeeded), "{word}: {:?}", view.timeline);
    assert_eq!((view.receipt, view.attempt), (Some(3), 1), "{word}");
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    world.stop().await;
    let report = fsck(world.home()).unwrap();
    assert_eq!((report.leaves, report.receipts, report.jobs), (4, 2, 2), "{word}");
}

async fn all_came(nodes: &[Node], word: &'static str) {
    for node in nodes {
        node.came(word).await;
    }
}

async fn any_came(nodes: &[Node], word: &'static str) {
    while !nodes.iter().any(|node| node.script().came.contains(&word)) {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_admitting() {
    stop_at("admit", "admitting").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_reserving() {
    stop_at("reserve", "reserving").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_starting() {
    stop_at("start", "running").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_running() {
    stop_at("report", "running").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_attesting() {
    stop_at("attest", "settling").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_logging() {
    stop_at("cosign", "settling").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_releasing() {
    stop_at("logged", "settling").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_closing() {
    stop_at("close", "succeeded").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn again_and_again_under_load() {
    let mut world = World::with_limits("[limits]\nclose_ms = 700\n").await;
    let nodes = world.nodes(3).await;
    let operator = world.operator("o").await;
    let mut ids = Vec::new();
    for round in 0..5u8 {
        for nonce in 0..6 {
            ids.push(operator.submit(operator.job(&nodes, round * 6 + nonce)).await.unwrap());
        }
        tokio::time::sleep(std::time::Duration::from_millis(u64::from(round) * 60)).await;
        world.stop().await;
        world.start().await;
    }
    for id in &ids {
        assert_eq!(operator.end(*id).await.terminal, Some(Terminal::Succeeded));
    }
    world.stop().await;
    let report = fsck(world.home()).unwrap();
    assert_eq!((report.receipts, report.jobs, report.unreceipted), (30, 30, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_daemon_on_the_same_home_is_refused() {
    let mut world = World::new().await;
    assert_eq!(start_again(world.home()).await.unwrap_err().code, Code::StoreLocked);
    world.stop().await;
    start_again(world.home()).await.unwrap();
}
