//! The folder of this party, opened.

use std::path::PathBuf;

use tacit_engine::{FromCoordinator, LogInfo, RosterEntry, ToCoordinator};
use tacit_governance::PartyCard;
use tacit_net::Purpose;
use tacit_node::daemon::DATABASE_FILE;
use tacit_node::{Client, Config, Keys, Store, log_keys};
use tacit_types::{Code, Fault};

use crate::cli::Cli;

/// The folder named by `--home`, by `TACIT_HOME`, or `.tacit` in the user's home.
pub fn folder(cli: &Cli) -> PathBuf {
    cli.home.clone().unwrap_or_else(|| {
        std::env::var_os("HOME").map_or_else(|| PathBuf::from(".tacit"), |home| PathBuf::from(home).join(".tacit"))
    })
}

/// A party's folder with its keys read and its database open.
pub struct Party {
    /// The configuration.
    pub config: Config,
    /// The keys.
    pub keys: Keys,
    /// The database.
    pub store: Store,
    /// The folder.
    pub home: PathBuf,
}

impl Party {
    /// Opens a party's folder.
    ///
    /// # Errors
    /// Those of configuration, keys and database.
    pub async fn open(cli: &Cli) -> Result<Self, Fault> {
        let home = folder(cli);
        let config = Config::read(&home)?;
        let keys = Keys::read(&home)?;
        let store = Store::open(&home.join(DATABASE_FILE)).await?;
        Ok(Self { config, keys, store, home })
    }

    /// Connects to the coordinator.
    ///
    /// # Errors
    /// Those of the connection.
    pub async fn connect(&self) -> Result<Client, Fault> {
        let pin = &self.config.coordinator;
        let coordinator = self.config.coordinator_id()?;
        let client = Client::connect(&self.keys.node, &pin.address, &coordinator, Purpose::Member).await?;
        Ok(client.counted_in(&self.store))
    }

    /// The roster, every card checked against what this party knew before.
    ///
    /// # Errors
    /// `net.fingerprint` when a known party shows another key.
    pub async fn roster(&self, client: &Client) -> Result<Vec<(PartyCard, RosterEntry)>, Fault> {
        let FromCoordinator::Roster(entries) = client.ask(&ToCoordinator::Roster).await? else {
            return Err(unexpected());
        };
        let mut roster = Vec::new();
        for entry in entries {
            let card = PartyCard::verify(&entry.card)?.into_body();
            self.store.put_party(&entry.card, &entry.address).await?;
            roster.push((card, entry));
        }
        Ok(roster)
    }

    /// What the log's keys are, as signed changes lead to them from what this party pinned when it joined.
    ///
    /// # Errors
    /// `net.fingerprint` when they differ.
    pub async fn log_info(&self, client: &Client) -> Result<LogInfo, Fault> {
        let FromCoordinator::LogInfo(info) = client.ask(&ToCoordinator::LogInfo).await? else {
            return Err(unexpected());
        };
        log_keys::shown(&self.config, &self.store, &info).await?;
        Ok(info)
    }
}

/// An answer of another kind than was asked for.
pub fn unexpected() -> Fault {
    Fault::new(Code::NetFrame, "the coordinator answered something else than was asked")
}
