//! What holds for the repository as a whole.

mod catalogue;
mod documents;
mod layers;
mod licences;
mod source;
