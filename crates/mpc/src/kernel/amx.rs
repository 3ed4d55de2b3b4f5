//! Products by tiles of bytes.

/// Whether the processor has tiles and the system lets this process use them.
pub(super) fn permitted() -> bool {
    false
}
