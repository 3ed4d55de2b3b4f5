//! Caps on what a model may hold. An importer counts before it allocates; each cap has a test one past it.

use tacit_types::limits::{COLUMN_NAME_BYTES_MAX, COLUMNS_MAX};

/// Bytes of a model file of another library.
pub const MODEL_FILE_BYTES_MAX: usize = 32 << 20;
/// Bytes of a model in the own canonical form.
pub const MODEL_BYTES_MAX: usize = 32 << 20;
/// Features of a model: no more than a dataset has columns.
pub const FEATURES_MAX: usize = COLUMNS_MAX;
/// Bytes of a feature's name.
pub const FEATURE_NAME_BYTES_MAX: usize = COLUMN_NAME_BYTES_MAX;
/// Categories of one feature.
pub const CATEGORIES_MAX: usize = 1 << 16;
/// Categories of all features of a model.
pub const CATEGORIES_TOTAL_MAX: usize = 1 << 18;
/// Bytes of a category.
pub const CATEGORY_BYTES_MAX: usize = 256;
/// Trees of a model.
pub const TREES_MAX: usize = 10_000;
/// Nodes of all trees of a model, leaves included.
pub const NODES_MAX: usize = 1 << 20;
/// Splits on the way from a root to a leaf.
pub const TREE_DEPTH_MAX: usize = 128;
/// Categories in all sets of all splits of a model.
pub const SET_ENTRIES_MAX: usize = 1 << 22;
/// Terms of an additive model.
pub const TERMS_MAX: usize = 1 << 13;
/// Bins of one feature of a scorecard.
pub const BINS_MAX: usize = 4096;
/// Bins and categories with points in all terms of an additive model.
pub const POINTS_TOTAL_MAX: usize = 1 << 20;
/// Layers of a network.
pub const LAYERS_MAX: usize = 16;
/// Inputs or outputs of one layer.
pub const LAYER_WIDTH_MAX: usize = 4096;
/// Weights of all layers of a network, biases included.
pub const NETWORK_WEIGHTS_MAX: usize = 1 << 22;
/// Nesting of a JSON file.
pub const JSON_DEPTH_MAX: usize = 24;
/// Names in one object of a JSON file.
pub const JSON_KEYS_MAX: usize = 256;
/// Bytes of a string in a JSON file that is not a feature or category.
pub const JSON_STRING_BYTES_MAX: usize = 4096;
/// Lines of a text model.
pub const TEXT_LINES_MAX: usize = 1 << 19;
/// Operators of an ONNX graph.
pub const ONNX_OPERATORS_MAX: usize = 256;
/// Constant tensors of an ONNX graph.
pub const ONNX_TENSORS_MAX: usize = 256;
/// Dimensions of a tensor of an ONNX graph.
pub const ONNX_RANK_MAX: usize = 4;
/// Values in one list or tensor of an ONNX graph.
pub const ONNX_VALUES_MAX: usize = 1 << 22;
/// Parties among whom the features of a model are divided.
pub const OWNERS_MAX: usize = tacit_types::limits::SEATS_MAX;
/// Bits of an encoded number's magnitude: sums of them never reach the sign of Z_2^64.
pub const FIXED_BITS_MAX: u32 = 62;
