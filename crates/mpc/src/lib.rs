//! Secret-shared computation `dm2k`: additive shares in Z_2^64 and XOR-shared bits among n >= 2
//! parties, with correlated randomness from a dealer that sees shapes alone.

#![deny(unsafe_code)]

pub mod kernel;
