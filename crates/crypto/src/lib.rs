//! Cryptography that the product composes and nothing else: randomness, hashing with labels,
//! signatures, signed statements, Ristretto agreement, sealing. Ciphers, curves and hashes are
//! those of well-kept libraries; this crate gives them narrow faces with types that cannot be
//! printed, copied or sent by mistake.
//!
//! No IO, no clock, no operating-system randomness: the caller brings a seed.

pub mod agree;
pub mod cbor;
pub mod fixed;
pub mod hash;
pub mod kernel;
pub mod pieces;
pub mod points;
pub mod prg;
pub mod rng;
pub mod seal;
pub mod secret;
pub mod shamir;
pub mod sign;
pub mod statement;

pub use agree::{Agreement, PublicPoint, SecretScalar};
pub use hash::{Transcript, sha256};
pub use kernel::{Backend, Lane};
pub use pieces::Pieces;
pub use prg::{Prg, PrgSeed, SignedPrg};
pub use rng::{Rng, Seed};
pub use seal::{SealKey, SealPublic};
pub use secret::Secret;
pub use sign::{Keyring, Signature, SigningKey, Verifier, verify};
pub use statement::{Body, Statement, StatementError};
