//! The dealer that a coordinator may offer: a node without data, with keys of its own, in the coordinator's process.

use std::path::Path;

use tacit_coordinator::Running;
use tacit_governance::PartyRole;
use tacit_net::invite::Invite;
use tacit_node::Node;
use tacit_node::config::CONFIG_FILE;
use tacit_types::{Code, Fault, Name};

use super::enrol::{self, Place};
use crate::cli::CoordinatorRunArgs;
use crate::output::Out;

/// The dealer's folder below the coordinator's.
pub const FOLDER: &str = "dealer";
/// How long the invitation is good that the coordinator gives itself.
const INVITATION_MS: u64 = 60_000;

/// Starts the dealer of a coordinator that runs, if it has one; makes it first when one is asked for.
///
/// # Errors
/// `args.invalid` when it has a dealer of another name; those of enrolment; those of the node.
pub async fn start(
    home: &Path,
    coordinator: &Running,
    out: &Out,
    args: &CoordinatorRunArgs,
) -> Result<Option<Node>, Fault> {
    let folder = home.join(FOLDER);
    let wanted = args.dealer.as_deref().map(Name::new).transpose()?;
    if folder.join(CONFIG_FILE).exists() {
        let config = tacit_node::Config::read(&folder)?;
        if let Some(other) = wanted.filter(|name| *name != config.name) {
            let what = format!("--dealer {other}: this coordinator's dealer is `{}`", config.name);
            return Err(Fault::new(Code::ArgsInvalid, what));
        }
    } else {
        let Some(name) = wanted else { return Ok(None) };
        let line = coordinator.invite(name, PartyRole::Partner.word(), INVITATION_MS).await?;
        let mut invite: Invite = line.parse()?;
        // The public address may not lead back here.
        invite.address = enrol::local(coordinator.local_addr()).parse()?;
        let place = Place { listen: args.dealer_listen.clone(), public: args.dealer_public.clone() };
        enrol::join_at(&folder, &invite, &place).await?;
    }
    let node = Node::start(&folder).await?;
    out.text(format!(
        "{} {}  {}  {}",
        out.say("serving as dealer from", "随机数分发方运行目录"),
        folder.display(),
        out.say("listens on", "监听"),
        node.local_addr()
    ));
    Ok(Some(node))
}
