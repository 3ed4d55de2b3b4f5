//! Private set intersection and alignment, `tacit-psi/1`, over ristretto255 (RFC 9496).

#![deny(unsafe_code)]

pub mod kernel;
