//! What the statements of money have in common, written once.

/// A statement of money: a map with the version and the log first, signed under a content type of its own.
macro_rules! statement {
    ($(#[$meta:meta])* $name:ident = $word:literal { $($fields:tt)* }) => {
        $(#[$meta])*
        #[derive(Clone, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
        #[cbor(map)]
        pub struct $name {
            /// [`MONEY_VERSION`](crate::money::statement::MONEY_VERSION).
            #[n(1)]
            pub version: u32,
            /// The log.
            #[n(2)]
            pub origin: String,
            $($fields)*
        }

        impl tacit_crypto::Body for $name {
            const TYPE: &'static str = $word;
        }
    };
}
