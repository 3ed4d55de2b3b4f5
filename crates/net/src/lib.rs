//! The transport: QUIC between nodes that know each other by their keys.
//!
//! The crate carries opaque bytes. It gives a daemon one UDP port ([`Endpoint`]), authenticated
//! connections ([`Connection`]) with requests and data streams in both directions, one connection
//! per peer kept alive ([`Mesh`]), invitations ([`invite`]) and a diagnosis of a path ([`doctor`]).
//!
//! What a peer can make this side hold is bounded, connection by connection: see [`limits`]. No
//! other crate names the QUIC or the TLS library.

pub mod address;
mod certificate;
pub mod config;
mod connection;
pub mod doctor;
mod endpoint;
mod error;
mod frame;
pub mod hello;
mod identity;
pub mod invite;
pub mod keyfile;
pub mod limits;
mod link;
pub mod mesh;
mod reset;
mod stream;
mod tls;

pub use address::{Address, free_port};
pub use config::{Clock, Closed, Config, Gate, Profile, Timing, system_clock};
pub use connection::{Connection, Stats};
pub use endpoint::Endpoint;
pub use error::{CloseReason, FrameFault, NetError};
pub use hello::{Purpose, Versions};
pub use identity::Identity;
pub use mesh::Mesh;
pub use stream::{DataReceiver, DataSender, Incoming, Responder};
pub use tls::ALPN;
