//! The transport over real sockets on the loopback, honest and hostile.

mod handshake;
mod hostile;
mod mesh;
mod raw;
mod streams;
mod support;
