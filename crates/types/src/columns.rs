//! Plain columns: what a local query hands to the joint half. They never leave the owner's node;
//! no wire type holds them, and they have no `Serialize`.

/// Values of one column, in row order. A value at a row whose validity is `false` is meaningless.
#[derive(Clone, PartialEq)]
pub enum Values {
    /// Whole numbers; booleans are 0 and 1.
    Int(Vec<i64>),
    /// Binary floating point; NaN and infinities are refused where they enter.
    Float(Vec<f64>),
    /// Text.
    Text(Vec<String>),
}

impl Values {
    /// Number of rows.
    pub fn len(&self) -> usize {
        match self {
            Values::Int(v) => v.len(),
            Values::Float(v) => v.len(),
            Values::Text(v) => v.len(),
        }
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// One named column of a batch.
#[derive(Clone, PartialEq)]
pub struct Column {
    /// The column's name in the view.
    pub name: String,
    /// The values, one a row.
    pub values: Values,
    /// Which rows hold a value; `None` when all do.
    pub valid: Option<Vec<bool>>,
}

impl Column {
    /// Whether row `row` holds a value.
    pub fn is_valid(&self, row: usize) -> bool {
        self.valid.as_ref().is_none_or(|v| v.get(row).copied().unwrap_or(false))
    }
}

/// A batch of rows, column by column. All columns have `rows` rows.
#[derive(Clone, PartialEq, Default)]
pub struct Columns {
    /// Number of rows.
    pub rows: usize,
    /// The columns, in the order of the query's projection.
    pub columns: Vec<Column>,
}

impl Columns {
    /// The column of that name.
    pub fn get(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|c| c.name == name)
    }
}
