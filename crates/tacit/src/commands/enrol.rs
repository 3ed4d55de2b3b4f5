//! `init`, `invite`, `join`.

use std::path::Path;

use tacit_engine::{FromCoordinator, ToCoordinator};
use tacit_governance::{PartyCard, PartyRole};
use tacit_net::{Purpose, invite::Invite, keyfile};
use tacit_node::config::{CONFIG_FILE, CoordinatorPin};
use tacit_node::daemon::DATABASE_FILE;
use tacit_node::{Client, Config, Keys, Store};
use tacit_types::{Code, Fault, Name, NodeId};

use crate::cli::{Cli, InitArgs, InviteArgs, JoinArgs};
use crate::home::{folder, unexpected};
use crate::output::Out;
use crate::progress::Progress;

/// Makes a coordinator's folder.
pub fn init(cli: &Cli, out: &Out, args: &InitArgs) -> Result<(), Fault> {
    let home = folder(cli);
    let listen = args.listen.parse().map_err(|_| Fault::new(Code::ArgsInvalid, format!("--listen {}", args.listen)))?;
    let public = args.public.as_deref().map(str::parse).transpose()?;
    let options = tacit_coordinator::InitOptions { listen, public, origin: args.origin.clone() };
    let made = tacit_coordinator::init(&home, options)?;
    out.text(format!("{}  {}", out.say("coordinator", "协调方"), home.display()));
    out.text(format!("{}  {}", out.say("fingerprint", "指纹"), made.fingerprint));
    out.text(out.say(
        "Next: `tacit coordinator run`, then `tacit invite`.",
        "下一步：`tacit coordinator run`，然后 `tacit invite`。",
    ));
    out.value(&serde_json::json!({
        "home": home.display().to_string(), "fingerprint": made.fingerprint.to_string(), "log_key": made.log_key.to_string(),
    }));
    Ok(())
}

/// Asks the running coordinator of this folder, with its own key.
async fn ask_own(cli: &Cli, request: &ToCoordinator) -> Result<FromCoordinator, Fault> {
    let home = folder(cli);
    let config = tacit_coordinator::Config::read(&home.join("coordinator.toml"))?;
    let key = keyfile::read_signing(&home.join("root.key"))?;
    let address = local(config.listen);
    let client = Client::connect(&key, &address, &key.id(), Purpose::Member).await?;
    let answer = client.ask(request).await;
    client.close().await;
    answer
}

/// Has the running coordinator wait for a node's cosignature no more.
pub async fn away(cli: &Cli, out: &Out, name: &str) -> Result<(), Fault> {
    let FromCoordinator::Done = ask_own(cli, &ToCoordinator::Away(Name::new(name)?)).await? else {
        return Err(unexpected());
    };
    out.text(out.say("counted as gone until it registers again", "在其重新注册之前视为已离开"));
    out.value(&serde_json::json!({"name": name, "away": true}));
    Ok(())
}

/// Asks the running coordinator for an invitation, with the coordinator's own key.
pub async fn invite(cli: &Cli, out: &Out, args: &InviteArgs) -> Result<(), Fault> {
    let name = Name::new(&args.name)?;
    let role = PartyRole::parse(&args.role)?;
    let request =
        ToCoordinator::Invite { name, role: role.word().to_owned(), ttl_ms: args.hours.saturating_mul(3_600_000) };
    let FromCoordinator::Invited(line) = ask_own(cli, &request).await? else { return Err(unexpected()) };
    out.text(&line);
    out.value(&serde_json::json!({"invitation": line}));
    Ok(())
}

/// The address of a daemon on this machine.
pub fn local(listen: std::net::SocketAddr) -> String {
    let ip = match listen.ip() {
        ip if !ip.is_unspecified() => ip,
        std::net::IpAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
        std::net::IpAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
    };
    std::net::SocketAddr::new(ip, listen.port()).to_string()
}

/// Makes keys here, proves their possession, receives and pins everyone's fingerprints.
pub async fn join(cli: &Cli, out: &Out, args: &JoinArgs) -> Result<(), Fault> {
    let invite: Invite = args.invitation.trim().parse()?;
    let home = folder(cli);
    let progress = Progress::new(out.json(), out.say("enrolling", "正在加入"));
    let place = Place { listen: args.listen.clone(), public: args.public.clone() };
    let Joined { name, role, keys, known } = join_at(&home, &invite, &place).await?;
    drop(progress);
    out.text(format!("{} {name} ({})", out.say("enrolled as", "已加入，名称"), role.word()));
    out.text(format!("{}  {}", out.say("own fingerprint", "本方指纹"), keys.root.id()));
    out.text(
        out.say("Compare these fingerprints with each party by another channel:", "请通过其他渠道与各方核对以下指纹："),
    );
    out.text(format!("  coordinator  {}", invite.coordinator));
    let rows: Vec<Vec<String>> =
        known.iter().map(|(n, r, root)| vec![n.to_string(), r.word().into(), root.to_string()]).collect();
    out.table(&[out.say("party", "参与方"), out.say("role", "角色"), out.say("root fingerprint", "根指纹")], &rows);
    out.value(&serde_json::json!({
        "name": name.as_str(), "role": role.word(), "root": keys.root.id().to_string(), "node": keys.node_id.to_string(),
        "coordinator": invite.coordinator.to_string(),
    }));
    Ok(())
}

/// Where a party's node will be.
pub struct Place {
    /// UDP address to listen on.
    pub listen: String,
    /// Address that other nodes dial; the listening address when empty.
    pub public: String,
}

/// What joining made and made known.
pub struct Joined {
    /// The name that the coordinator gave.
    pub name: Name,
    /// The role that it gave.
    pub role: PartyRole,
    /// The keys that were made.
    pub keys: Keys,
    /// Everyone's name, role and root key.
    pub known: Vec<(Name, PartyRole, NodeId)>,
}

/// Makes a party's folder and enrols it.
///
/// # Errors
/// `config.exists`, `args.invalid`; those of the connection and of the invitation.
pub async fn join_at(home: &Path, invite: &Invite, place: &Place) -> Result<Joined, Fault> {
    place
        .listen
        .parse::<std::net::SocketAddr>()
        .map_err(|_| Fault::new(Code::ArgsInvalid, format!("--listen {}", place.listen)))?;
    if home.join(CONFIG_FILE).exists() {
        return Err(Fault::new(Code::ConfigExists, home.join(CONFIG_FILE).display().to_string()));
    }
    // Keys of a join that did not finish are used again. The coordinator may know them already: it takes the same
    // keys with the same code as often as they come. What else has to lie here is made first, and the
    // configuration last: a folder without it has not joined.
    let keys = Keys::create(home)?;
    let store = Store::open(&home.join(DATABASE_FILE)).await?;
    let address = invite.address.to_string();
    let client = Client::connect(&keys.node, &address, &invite.coordinator, Purpose::Enrol).await?;
    let client = client.counted_in(&store);
    let enrolled = enrol(&client, &keys, invite, place).await;
    client.close().await;
    let (name, role, roster, log) = enrolled?;
    let config = Config {
        name: name.clone(),
        role: role.word().to_owned(),
        listen: place.listen.clone(),
        public: place.public.clone(),
        slots: tacit_node::config::SLOTS_DEFAULT,
        policy: None,
        certificates: Vec::new(),
        coordinator: CoordinatorPin {
            address,
            fingerprint: invite.coordinator.to_string(),
            origin: log.origin,
            log_key: log.log_key,
        },
        online: None,
        mirror: true,
        witness: None,
        align: tacit_node::align::AlignConfig::default(),
        sources: tacit_data::Sources::default(),
    };
    let mut known = Vec::new();
    for entry in &roster {
        let card = PartyCard::verify(&entry.card)?.into_body();
        store.put_party(&entry.card, &entry.address).await?;
        known.push((card.name, card.role, card.root));
    }
    store.close().await;
    config.write(home)?;
    Ok(Joined { name, role, keys, known })
}

type Enrolled = (Name, PartyRole, Vec<tacit_engine::RosterEntry>, tacit_engine::LogInfo);

/// The name and role are the inviter's; the card carries them once they are known. The coordinator
/// tells them when it is asked with the code and a card of any name.
async fn enrol(client: &Client, keys: &Keys, invite: &Invite, place: &Place) -> Result<Enrolled, Fault> {
    let code = invite.code.expose_text();
    let FromCoordinator::Invitation { name, role } =
        client.ask(&ToCoordinator::Invitation { code: code.clone() }).await?
    else {
        return Err(unexpected());
    };
    let role = PartyRole::parse(&role)?;
    let card = keys.card(&name, role, tacit_node::now());
    let address = match (role, place.public.is_empty()) {
        (PartyRole::Partner, true) => place.listen.clone(),
        (PartyRole::Partner, false) => place.public.clone(),
        _ => String::new(),
    };
    let request = ToCoordinator::Enrol { code, card: card.bytes().to_vec().into(), address };
    let FromCoordinator::Enrolled { name, roster, log } = client.ask(&request).await? else { return Err(unexpected()) };
    Ok((name, role, roster, log))
}
