//! The columns of each table and what their values are, for a format that has to know both before the first row.

use super::export::Table;

/// What the values of a column are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CellKind {
    /// A text.
    Text,
    /// A whole number.
    Count,
    /// An amount in the currency unit, with 2 decimals.
    Amount,
    /// A price in the currency unit, with 6 decimals.
    Price,
}

/// A column's name and what its values are.
pub type Column = (&'static str, CellKind);

use CellKind::{Amount, Count, Price, Text};

const USAGE: &[Column] = &[
    ("Job", Text),
    ("Attempt", Count),
    ("Kind", Text),
    ("Contracts", Text),
    ("Ended", Text),
    ("Unit", Text),
    ("UnitCode", Text),
    ("Class", Text),
    ("Quantity", Count),
    ("Commitment", Text),
    ("Party", Text),
    ("PartyName", Text),
    ("x_LogOrigin", Text),
    ("x_LeafIndex", Count),
    ("x_LeafHash", Text),
    ("x_Row", Count),
];

const SHARES: &[Column] = &[
    ("Contract", Text),
    ("x_PlanHash", Text),
    ("Payer", Text),
    ("PayerName", Text),
    ("Payee", Text),
    ("PayeeName", Text),
    ("Amount", Amount),
    ("Currency", Text),
    ("PeriodStart", Text),
    ("PeriodEnd", Text),
    ("x_LogOrigin", Text),
    ("x_LeafIndex", Count),
    ("x_LeafHash", Text),
    ("x_Row", Count),
];

const PAYMENTS: &[Column] = &[
    ("From", Text),
    ("FromName", Text),
    ("To", Text),
    ("ToName", Text),
    ("Amount", Amount),
    ("Currency", Text),
    ("x_LogOrigin", Text),
    ("x_LeafIndex", Count),
    ("x_LeafHash", Text),
    ("x_Row", Count),
];

const FOCUS: &[Column] = &[
    ("AvailabilityZone", Text),
    ("BilledCost", Amount),
    ("BillingAccountId", Text),
    ("BillingAccountName", Text),
    ("BillingAccountType", Text),
    ("BillingCurrency", Text),
    ("BillingPeriodEnd", Text),
    ("BillingPeriodStart", Text),
    ("ChargeCategory", Text),
    ("ChargeClass", Text),
    ("ChargeDescription", Text),
    ("ChargeFrequency", Text),
    ("ChargePeriodEnd", Text),
    ("ChargePeriodStart", Text),
    ("ConsumedQuantity", Count),
    ("ConsumedUnit", Text),
    ("ContractedCost", Amount),
    ("ContractedUnitPrice", Price),
    ("EffectiveCost", Amount),
    ("InvoiceId", Text),
    ("InvoiceIssuerName", Text),
    ("ListCost", Amount),
    ("ListUnitPrice", Price),
    ("PricingCategory", Text),
    ("PricingCurrency", Text),
    ("PricingQuantity", Count),
    ("PricingUnit", Text),
    ("ProviderName", Text),
    ("PublisherName", Text),
    ("RegionId", Text),
    ("RegionName", Text),
    ("ResourceId", Text),
    ("ResourceName", Text),
    ("ResourceType", Text),
    ("ServiceCategory", Text),
    ("ServiceName", Text),
    ("ServiceSubcategory", Text),
    ("SkuId", Text),
    ("SkuMeter", Text),
    ("SkuPriceId", Text),
    ("SubAccountId", Text),
    ("SubAccountName", Text),
    ("Tags", Text),
    ("x_PlanHash", Text),
    ("x_FirstLeaf", Count),
    ("x_EndLeaf", Count),
    ("x_LogOrigin", Text),
    ("x_LeafIndex", Count),
    ("x_LeafHash", Text),
    ("x_Row", Count),
];

impl Table {
    /// The columns of every row of the table, in order.
    pub const fn columns(self) -> &'static [Column] {
        match self {
            Table::Usage => USAGE,
            Table::Focus => FOCUS,
            Table::Shares => SHARES,
            Table::Payments => PAYMENTS,
        }
    }

    /// The table of a name.
    pub fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|table| table.word() == word)
    }
}
