//! `coordinator run`, `node run`, `node egress`, `node jobs`.

use tacit_coordinator::Coordinator;
use tacit_engine::Terminal;
use tacit_node::Node;
use tacit_types::{Code, Fault};

use crate::cli::{Cli, CoordinatorRunArgs};
use crate::home::{Party, folder};
use crate::output::{Out, bytes};

/// Resolves at an interrupt or a request to terminate.
async fn interrupted() {
    let Ok(mut terminate) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) else {
        let _ = tokio::signal::ctrl_c().await;
        return;
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}

/// Serves as coordinator, and as the dealer that it has.
pub async fn coordinator(cli: &Cli, out: &Out, args: &CoordinatorRunArgs) -> Result<(), Fault> {
    let home = folder(cli);
    let mut running = Coordinator::start(&home).await?;
    out.text(format!("{} {}", out.say("serving as coordinator from", "协调方运行目录"), home.display()));
    let dealer = match super::dealer::start(&home, &running, out, args).await {
        Ok(dealer) => dealer,
        Err(fault) => {
            running.stop().await;
            return Err(fault);
        }
    };
    let dealer_failed = async {
        match &dealer {
            Some(dealer) => dealer.failed().await,
            None => std::future::pending().await,
        }
    };
    // One process, one fate: what a failed write left behind only a restart finds out.
    let end = tokio::select! {
        () = interrupted() => Ok(()),
        fault = running.failed() => Err(fault),
        fault = dealer_failed => Err(fault),
    };
    if let Some(dealer) = dealer {
        dealer.stop().await;
    }
    running.stop().await;
    end
}

/// Serves as a party's node.
pub async fn node(cli: &Cli, out: &Out) -> Result<(), Fault> {
    let home = folder(cli);
    let config = tacit_node::Config::read(&home)?;
    if config.role()? != tacit_governance::PartyRole::Partner {
        return Err(Fault::new(
            Code::ArgsInvalid,
            format!("{} is enrolled as {}, not as node", config.name, config.role),
        ));
    }
    let node = Node::start(&home).await?;
    out.text(format!(
        "{} {} {} {}",
        out.say("node", "节点"),
        config.name,
        out.say("listens on", "监听"),
        node.local_addr()
    ));
    let end = tokio::select! {
        () = interrupted() => Ok(()),
        fault = node.failed() => Err(fault),
    };
    node.stop().await;
    end
}

/// The egress ledger.
pub async fn egress(cli: &Cli, out: &Out) -> Result<(), Fault> {
    let party = Party::open(cli).await?;
    let rows = party.store.egress().await?;
    party.store.close().await;
    let lines: Vec<Vec<String>> = rows
        .iter()
        .map(|r| {
            // What is of no job has none.
            let job = if r.job.bytes().all(|b| b == b'0') { String::new() } else { r.job.chars().take(8).collect() };
            vec![job, r.peer.clone(), r.kind.clone(), bytes(r.bytes)]
        })
        .collect();
    let head = [out.say("job", "作业"), out.say("to", "发往"), out.say("kind", "类别"), out.say("bytes", "字节")];
    out.table(&head, &lines);
    out.value(&rows);
    Ok(())
}

/// Jobs as this node has them.
pub async fn jobs(cli: &Cli, out: &Out) -> Result<(), Fault> {
    let party = Party::open(cli).await?;
    let (mut lines, mut list) = (Vec::new(), Vec::new());
    for id in party.store.job_ids().await? {
        let Some(job) = party.store.job(&id).await? else { continue };
        let kind = job.job().map(|j| j.into_body().kind).unwrap_or_default();
        let end = job.terminal.as_ref();
        let state = end.map_or("open", Terminal::word);
        let code = end.and_then(Terminal::code);
        let step = end.and_then(Terminal::step);
        lines.push(vec![
            id.short(),
            kind.clone(),
            state.into(),
            code.map(|c| c.to_string()).unwrap_or_default(),
            end.and_then(Terminal::party).map(ToString::to_string).unwrap_or_default(),
            step.map(|s| format!("{s} ({})", tacit_jobs::session::phase_name(s))).unwrap_or_default(),
            code.map_or(String::new(), |c| c.hint(out.lang()).to_owned()),
        ]);
        let mut shown = serde_json::json!({
            "id": id.to_string(), "kind": kind, "admitted": job.admitted, "state": state,
            "receipt": job.receipt.as_ref().map(|r| r.0),
        });
        super::job::put_end(&mut shown, end, out.lang());
        list.push(shown);
    }
    party.store.close().await;
    let head = [
        out.say("job", "作业"),
        out.say("kind", "类型"),
        out.say("state", "状态"),
        out.say("code", "代码"),
        out.say("party", "参与方"),
        out.say("step", "步骤"),
        out.say("hint", "提示"),
    ];
    out.table(&head, &lines);
    out.value(&list);
    Ok(())
}
