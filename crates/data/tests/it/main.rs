//! The crate as its caller sees it: files and a real PostgreSQL in, plain columns or one clear fault out.

mod bad_input;
mod filters;
mod helpers;
mod inspection;
mod million;
mod postgres;
mod postgres_server;
mod view;
