//! The rules of the decision, in their order, each with its word and what it asks in a sentence.

use tacit_types::Lang;

/// Defines [`Rule`] and its table from one list.
macro_rules! rules {
    ($($variant:ident = $word:literal, $en:literal, $zh:literal;)*) => {
        /// A rule of the decision. The order is the one in which they are put.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        pub enum Rule {
            $(#[doc = $en] $variant,)*
        }

        impl Rule {
            /// Every rule, in order.
            pub const ALL: &'static [Rule] = &[$(Rule::$variant,)*];

            /// The word used in JSON.
            pub const fn word(self) -> &'static str {
                match self { $(Rule::$variant => $word,)* }
            }

            /// What it asks, in a language.
            pub const fn asks(self, lang: Lang) -> &'static str {
                match (self, lang) { $((Rule::$variant, Lang::En) => $en, (Rule::$variant, Lang::Zh) => $zh,)* }
            }
        }
    };
}

rules! {
    Time = "time", "the job is valid now and this node's clock has not gone back", "作业当前有效，且本节点时钟未倒退";
    Promises = "promises", "the coordinator has logged every receipt that it promised", "协调方已记入其承诺的每一份凭证";
    Seat = "seat", "this owner has a part in the job", "本所有者参与该作业";
    Contract = "contract", "a contract that the job names is known here", "作业所载合同在本节点已知";
    Signatures = "signatures", "every party has signed the same bytes", "各方均已签署同一份字节";
    Terms = "terms", "the contract's terms are complete and can be kept to", "合同条款完整且可执行";
    Revocation = "revocation", "no party has revoked or suspended the contract, and no later version has begun", "合同未被任何一方撤销或中止，且无新版本生效";
    Validity = "validity", "the contract is in its validity period", "合同在有效期内";
    Approvals = "approvals", "every office that the contract names has approved it", "合同载明的各审批职务均已批准";
    Operator = "operator", "an operator of the contract signed the job", "作业由合同载明的操作者签署";
    Roles = "roles", "no party has roles that conflict", "各方角色不冲突";
    Lists = "lists", "nothing of it is on a negative list", "不涉及负面清单所列内容";
    Rights = "rights", "the chain of three rights is whole for every dataset", "各数据集的三权链条完整";
    Dataset = "dataset", "the dataset version and the view are granted and registered here", "数据集版本与视图已获授权并在本节点登记";
    Source = "source", "an aligned dataset version is still good", "对齐所得的数据集版本仍然有效";
    Release = "release", "the dataset is neither secret nor withheld, and its registration holds", "数据集无须保密、可共享且登记有效";
    Grade = "grade", "the grade of the data allows the product under the job's safeguard", "数据级别允许在此保障下产出该类结果";
    Officer = "officer", "the chief data officer has a say where data is important or personal", "重要数据或个人信息须经首席数据官审批";
    Personal = "personal", "personal data is used by consent, by law, by contract or made anonymous", "个人信息的使用须有同意、法定事由、合同或匿名化依据";
    Purpose = "purpose", "the purpose is the contract's", "用途与合同一致";
    Kind = "kind", "the contract allows the job kind", "合同允许该作业类型";
    Models = "models", "every model is one of the contract and held by its owner", "模型均在合同之列并由其所有者持有";
    Review = "review", "what computes was reviewed where the contract wants it", "合同要求时算法须经审查";
    Parameters = "parameters", "the parameters are valid for the kind", "参数对该作业类型有效";
    Columns = "columns", "every column is granted for its use", "各列均获授权用于其用途";
    Rows = "rows", "the dataset is not larger than the job allows", "数据集不超过作业允许的规模";
    Parties = "parties", "everyone with a part stands in the contract in that role", "参与方均以相应角色载于合同";
    Checked = "checked", "sums are checked where the contract wants it", "合同要求时求和结果须经核验";
    Cohort = "cohort", "the floor is at least the contract's", "下限不低于合同";
    Privacy = "privacy", "noise is where the contract wants it, and within its budget", "合同要求时结果须带噪声，且在隐私预算之内";
    Alignment = "alignment", "an alignment is one that the contract allows", "键对齐在合同允许范围内";
    Recipient = "recipient", "the result is sealed to a recipient of the contract", "结果加密给合同载明的接收方";
    Risk = "risk", "each demander's risk was assessed and is low enough", "各需求方风险已评估且在限度之内";
    Regions = "regions", "results stay in the jurisdiction of the data, or an assessment lets them go", "结果不出数据所在法域，或已通过出境评估";
    Replay = "replay", "the job was not consumed before", "该作业此前未被使用";
    Quota = "quota", "a job is left of the quota", "配额尚有余量";
    Online = "online", "a window is one that the contract allows", "在线窗口在合同允许范围内";
    Scores = "scores", "scores are within the contract's precision and allowance", "评分精度与用量在合同范围内";
    Price = "price", "payer and payees have signed the price that the contract names", "付款方与收款方均已签署合同所指的价格方案";
    Site = "site", "the site's own policy permits it, where there is one", "站点策略（如有）准许该作业";
}

impl Rule {
    /// The rule of that word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|rule| rule.word() == word)
    }

    /// The one that is put first.
    pub const FIRST: Rule = Rule::Time;
    /// The one that is put last.
    pub const LAST: Rule = Rule::Site;
    /// Its place in the order, from 1.
    pub const fn number(self) -> usize {
        self as usize + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_has_its_place_word_and_sentences() {
        let words: std::collections::BTreeSet<&str> = Rule::ALL.iter().map(|r| r.word()).collect();
        assert_eq!(words.len(), Rule::ALL.len());
        for (i, rule) in Rule::ALL.iter().enumerate() {
            assert_eq!((rule.number(), Rule::parse(rule.word())), (i + 1, Some(*rule)));
            assert!(rule.asks(Lang::En).is_ascii() && !rule.asks(Lang::Zh).is_ascii(), "{rule:?}");
        }
        assert_eq!((Rule::ALL.first(), Rule::ALL.last()), (Some(&Rule::FIRST), Some(&Rule::LAST)));
    }
}
