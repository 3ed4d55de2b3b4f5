//! The one catalogue of stable codes, each with a title and a hint in English and Chinese.
//!
//! A code is what a refusal, a failed job, a CLI error and a receipt have in common. Its text form
//! (`area.what`) never changes once released; the sentences may. `docs/CODES.md` is generated from
//! this table and a test holds the two together.

use core::fmt;
use serde::{Deserialize, Serialize};

/// The language of titles and hints.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Lang {
    /// English.
    #[default]
    En,
    /// Chinese, simplified.
    Zh,
}

/// Defines [`Code`] and its table from one list.
macro_rules! codes {
    ($($variant:ident = $text:literal, $en:literal, $zh:literal, $hint_en:literal, $hint_zh:literal;)*) => {
        /// A stable code.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $(#[doc = $en] $variant,)*
        }

        impl Code {
            /// Every code, in the order of the catalogue.
            pub const ALL: &'static [Code] = &[$(Code::$variant,)*];

            /// The stable text.
            pub const fn text(self) -> &'static str {
                match self { $(Code::$variant => $text,)* }
            }

            /// The title in a language.
            pub const fn title(self, lang: Lang) -> &'static str {
                match (self, lang) { $((Code::$variant, Lang::En) => $en, (Code::$variant, Lang::Zh) => $zh,)* }
            }

            /// What to do, in a language.
            pub const fn hint(self, lang: Lang) -> &'static str {
                match (self, lang) { $((Code::$variant, Lang::En) => $hint_en, (Code::$variant, Lang::Zh) => $hint_zh,)* }
            }
        }
    };
}

codes! {
    // What a person typed or wrote in a file.
    ArgsIdMalformed = "args.id_malformed", "not an id: 64 hex digits are expected", "标识无效：应为 64 位十六进制数字",
        "copy the whole id from the listing", "请从列表中完整复制标识";
    ArgsNameMalformed = "args.name_malformed", "not a name: 1 to 64 of a-z 0-9 - _ . are expected", "名称无效：应为 1 至 64 个 a-z 0-9 - _ . 字符",
        "choose a name such as bank-a", "请使用类似 bank-a 的名称";
    ArgsInvalid = "args.invalid", "an argument has an unusable value", "参数的值无效",
        "see the command's --help for an example", "请查看该命令 --help 中的示例";
    ConfigAbsent = "config.absent", "there is no configuration here", "此处没有配置文件",
        "run `tacit init`, or `tacit join` with an invitation, or name the folder with --home", "请先运行 `tacit init` 或用邀请运行 `tacit join`，或用 --home 指定目录";
    ConfigMalformed = "config.malformed", "the configuration file cannot be read", "配置文件无法读取",
        "correct the line that is named; unknown keys are refused", "请更正所指的行；未知的键会被拒绝";
    ConfigPolicy = "config.policy", "the site policy cannot be used", "站点策略无法使用",
        "correct what is named and look again with `tacit policy check`; until then every job is refused", "请更正所指之处并用 `tacit policy check` 复查；此前所有作业均被拒绝";
    ConfigExists = "config.exists", "there is a configuration here already", "此处已有配置",
        "choose another folder with --home, or remove the old one yourself", "请用 --home 选择其他目录，或自行删除旧配置";
    ConfigKeyPermissions = "config.key_permissions", "a key file can be read by others", "密钥文件可被他人读取",
        "run chmod 600 on the file", "请对该文件执行 chmod 600";

    // Data at the owner's node.
    DataFileAbsent = "data.file_absent", "the file does not exist or cannot be opened", "文件不存在或无法打开",
        "check the path and its permissions", "请检查路径及权限";
    DataFileMalformed = "data.file_malformed", "the file is damaged or not what its name says", "文件已损坏或与其扩展名不符",
        "export the file again, and copy it whole", "请重新导出并完整复制该文件";
    DataTableAbsent = "data.table_absent", "the database has no such table, or the role may not read it", "数据库中没有该表，或该角色无权读取",
        "check the schema, the table and the role's SELECT right", "请检查模式、表名以及该角色的 SELECT 权限";
    DataFormatUnknown = "data.format_unknown", "the source is not a .csv, a .parquet or a postgres:// name", "数据源不是 .csv、.parquet 或 postgres:// 名称",
        "give a file that ends in .csv or .parquet, or postgres://NAME/TABLE with NAME from the node's configuration", "请提供以 .csv 或 .parquet 结尾的文件，或 postgres://名称/表（名称取自节点配置）";
    DataEmpty = "data.empty", "the file has no header or no rows", "文件没有表头或没有数据行",
        "export the table again with its header line", "请重新导出带表头的表";
    DataHeaderDuplicate = "data.header_duplicate", "two columns have the same name", "两列同名",
        "rename one of the columns", "请重命名其中一列";
    DataHeaderMalformed = "data.header_malformed", "a column has no usable name", "列名无效",
        "give every column a name of 1 to 128 bytes", "请为每一列取 1 至 128 字节的名称";
    DataRowRagged = "data.row_ragged", "a row has another number of fields than the header", "某行的字段数与表头不同",
        "correct the row that is named", "请更正所指的行";
    DataNotUtf8 = "data.not_utf8", "the file is not UTF-8", "文件不是 UTF-8 编码",
        "convert the file, for example with iconv -t UTF-8", "请转换编码，例如使用 iconv -t UTF-8";
    DataLineTooLong = "data.line_too_long", "a line is longer than 16 MiB", "某行超过 16 MiB",
        "check the quotes: an unclosed quote joins lines", "请检查引号：未闭合的引号会合并多行";
    DataValueType = "data.value_type", "a value is not of its column's type", "某个值与列的类型不符",
        "correct the value, or register the column as text with --text COLUMN", "请更正该值，或用 --text 列名 将该列登记为文本";
    DataValueNotFinite = "data.value_not_finite", "a value is NaN or infinite", "某个值为 NaN 或无穷",
        "leave the field empty where there is no value", "没有值时请将字段留空";
    DataColumnUnknown = "data.column_unknown", "there is no such column", "没有这一列",
        "run `tacit data show` for the columns", "请运行 `tacit data show` 查看列";
    DataColumnType = "data.column_type", "the column's type does not fit this use", "列的类型不适合此用途",
        "choose a numeric column for arithmetic, a text or whole-number column for groups", "算术请选数值列，分组请选文本列或整数列";
    DataTooLarge = "data.too_large", "the dataset is over a limit", "数据集超过上限",
        "see the limits in docs/LIMITS.md", "请参阅 docs/LIMITS.md 中的上限";
    DataSourceUnknown = "data.source_unknown", "no source of that name is in this node's configuration", "本节点配置中没有该名称的数据源",
        "add it under [sources] in node.toml", "请在 node.toml 的 [sources] 下添加";
    DataSourceUnreachable = "data.source_unreachable", "the database behind the source does not answer", "数据源背后的数据库没有响应",
        "check that it runs and that node.toml has the right address", "请检查数据库是否运行以及 node.toml 中的地址";
    DataUnknown = "data.unknown", "no dataset of that name is registered here", "此处没有登记该名称的数据集",
        "run `tacit data show` for the datasets", "请运行 `tacit data show` 查看数据集";
    DataExists = "data.exists", "a dataset of that name is registered already", "该名称的数据集已登记",
        "choose another name", "请选择其他名称";
    DataChanged = "data.changed", "the source no longer has the registered columns", "数据源的列与登记时不同",
        "register the changed source under a new name", "请以新名称登记变更后的数据源";
    DataViewMalformed = "data.view_malformed", "the view is not one SELECT over the dataset", "视图不是基于该数据集的单个 SELECT",
        "write a single SELECT without semicolon over the table `data`", "请写一个不带分号、基于表 `data` 的 SELECT";
    DataAnonymity = "data.anonymity", "the data is less anonymous than stated", "数据的匿名程度低于所述",
        "generalise or leave out what the smallest groups have, or state the k that was measured", "请对最小的组做泛化或删除，或如实填写测得的 k";
    DataQueryFailed = "data.query_failed", "the local query failed", "本地查询失败",
        "see the node's own log; the rows stay there", "请查看节点自身日志；数据行不会离开本地";

    // Models of scores: their files, and rows that do not fit them.
    ModelMalformed = "model.malformed", "the file is not a whole model of this format", "文件不是该格式的完整模型",
        "save the model again with the library that made it, and copy the file whole", "请用训练所用的库重新保存模型，并完整复制该文件";
    ModelUnsupported = "model.unsupported", "the model uses something that cannot be scored here", "模型使用了此处无法评分的功能",
        "see docs/MODELS.md for what each format may hold; train or export the model without it", "请参阅 docs/MODELS.md 中各格式支持的内容，并在训练或导出时去除该项";
    ModelTooLarge = "model.too_large", "the model is over a limit", "模型超过上限",
        "see the limits in docs/LIMITS.md; train with fewer or shallower trees, or fewer features", "请参阅 docs/LIMITS.md 中的上限；请减少树的数量、深度或特征数";
    ModelNotFinite = "model.not_finite", "a number of the model is NaN, infinite or does not fit", "模型中的某个数值为 NaN、无穷或超出范围",
        "look for the cause in training, such as diverging weights; then save the model again", "请在训练中查找原因（例如权重发散），然后重新保存模型";
    ModelStructure = "model.structure", "the parts of the model contradict each other", "模型各部分相互矛盾",
        "save the model again with the library that made it; a file edited by hand is checked at the place that is named", "请用训练所用的库重新保存模型；若曾手工修改，请检查所指位置";
    ModelFeatures = "model.features", "the list of features does not fit the model", "特征列表与模型不符",
        "name each feature once, in the order of training, and each category of a categorical one", "请按训练时的顺序逐一列出特征，并列出分类特征的全部类别";
    ModelVersion = "model.version", "the model is of a version that this software does not read", "本软件无法读取该版本的模型",
        "update this side, or publish the model again with this version", "请更新本方软件，或用本版本重新发布模型";
    ModelInput = "model.input", "the columns do not fit the model's features", "数据列与模型的特征不符",
        "give one column per feature, of the feature's name and kind", "请为每个特征提供名称和类型相符的一列";
    ModelValueMissing = "model.value_missing", "a value is missing and the model has no rule for that", "缺少某个值，而模型没有相应规则",
        "fill the gap in the view, or give the feature a weight for missing values", "请在视图中填补缺失值，或为该特征设定缺失值的权重";
    ModelPrecision = "model.precision", "fixed-point numbers cannot hold this model with the wanted error", "定点数无法以所需误差表示该模型",
        "declare narrower ranges for the features, or allow a larger error", "请声明更窄的特征取值范围，或允许更大的误差";

    // What a node's policy says no to: refusals.
    RefusedMalformed = "refused.malformed", "the job's bytes are not a canonical job of a known version", "作业字节不是已知版本的规范作业",
        "submit the job with a tool of this version", "请使用本版本的工具提交作业";
    RefusedUnsigned = "refused.unsigned", "the job has no valid signature of its operator", "作业没有操作者的有效签名",
        "sign the exact bytes again; a changed byte voids the signature", "请重新签名；任何字节改动都会使签名失效";
    RefusedOperator = "refused.operator", "the operator's key is not named by the contract", "合同中没有该操作者的密钥",
        "ask the owner for a contract that names this key", "请向所有者申请载明该密钥的合同";
    RefusedContractUnknown = "refused.contract_unknown", "no contract of that id is in force here", "此处没有该编号的有效合同",
        "have every owner and the demander sign the contract", "请由全部所有者和需求方签署合同";
    RefusedContractIncomplete = "refused.contract_incomplete", "a required signature is missing from the contract", "合同缺少必要的签名",
        "collect the missing signature; it is named", "请补全所指的签名";
    RefusedContractExpired = "refused.contract_expired", "the contract is not in its validity period", "合同不在有效期内",
        "agree a new contract", "请签订新合同";
    RefusedContractRevoked = "refused.contract_revoked", "a party has revoked the contract", "合同已被一方撤销",
        "agree a new contract", "请签订新合同";
    RefusedContractSuspended = "refused.contract_suspended", "a party has suspended the contract", "合同已被一方中止",
        "wait until the suspension ends, or ask that party to lift it", "请等待中止期满，或请该方解除中止";
    RefusedContractReplaced = "refused.contract_replaced", "a later version of the contract is in force", "合同已有新版本生效",
        "sign the job under the new version", "请依据新版本签署作业";
    RefusedJobExpired = "refused.job_expired", "the job is past its own expiry or not yet valid", "作业已过期或尚未生效",
        "sign the job again; check the clock with `tacit doctor`", "请重新签署作业；可用 `tacit doctor` 检查时钟";
    RefusedReplayed = "refused.replayed", "this job id was consumed before", "该作业编号已被使用",
        "sign a new job", "请签署新的作业";
    RefusedRoles = "refused.roles", "the roles conflict: a coordinator may not be the demander", "角色冲突：协调方不得为需求方",
        "submit as another party", "请以其他参与方身份提交";
    RefusedDataset = "refused.dataset", "the dataset version is not the one of the contract", "数据集版本与合同不符",
        "name the contract's dataset version", "请使用合同载明的数据集版本";
    RefusedModel = "refused.model", "the model version is not one of the contract, or not held here", "模型版本与合同不符，或本节点没有该模型",
        "name the contract's model version; its owner imports it with `tacit model import`", "请使用合同载明的模型版本；由其所有者通过 `tacit model import` 导入";
    RefusedPrecision = "refused.precision", "the output says more than the contract allows", "输出精度超过合同允许的范围",
        "ask for a decision, a band or a rounded score as the contract states", "请按合同要求输出判定、分段或舍入后的分数";
    RefusedUnverified = "refused.unverified", "the contract wants scores that are verified", "合同要求评分可验证",
        "set `verified = true` under [params], in a job on shares with a dealer", "请在带有随机数分发方的共享计算作业的 [params] 中设置 `verified = true`";
    RefusedUnchecked = "refused.unchecked", "the contract wants sums that every node checks", "合同要求由各节点核验求和结果",
        "set `checked = true` under [params]", "请在 [params] 中设置 `checked = true`";
    RefusedUnprivate = "refused.unprivate", "the contract wants noise in every result", "合同要求每个结果都带噪声（差分隐私）",
        "set `epsilon` under [params.privacy] in a stats/v1 job", "请在 stats/v1 作业的 [params.privacy] 中设置 `epsilon`";
    RefusedBudget = "refused.budget", "the contract's privacy budget does not allow this cost", "合同的隐私预算不允许此开销",
        "ask for less epsilon, or sign a new contract with its owners", "请降低 epsilon，或与所有者签订新合同";
    RefusedRepeated = "refused.repeated", "the same question has been asked, and has its answer", "同一问题已经提出，并已有答案",
        "open the result of the job that is named: asking again would only cost more", "请打开所指作业的结果：再次提问只会增加开销";
    RefusedDifference = "refused.difference", "the question differs from an earlier one by too few rows of an owner", "该问题与先前问题所涉所有者的数据行相差过少",
        "ask about the same rows as the job that is named, or about rows that differ by a group: fewer, larger groups, or a wider filter", "请针对所指作业的相同数据行提问，或使所涉数据行相差足够多：减少分组、扩大每组，或放宽筛选条件";
    RefusedForgotten = "refused.forgotten", "an owner's database was restored and has forgotten which rows exact questions asked about", "所有者的数据库已恢复，不再记得精确提问所涉的数据行",
        "ask the owner to look at `tacit data forgotten` and to accept it, or ask with noise", "请所有者查看 `tacit data forgotten` 并予以确认，或改用带噪声的提问";
    RefusedStatistic = "refused.statistic", "this statistic has no private form", "此统计量没有差分隐私形式",
        "with `privacy` ask for counts, sums, means, variances, groups and histograms", "启用 `privacy` 时请使用计数、求和、均值、方差、分组与直方图";
    RefusedPurpose = "refused.purpose", "the purpose differs from the contract's", "用途与合同不符",
        "use the contract's purpose", "请使用合同载明的用途";
    RefusedKind = "refused.kind", "the contract does not allow this job kind", "合同不允许此类作业",
        "ask the owner to allow the kind", "请向所有者申请该作业类型";
    RefusedParameters = "refused.parameters", "the job's parameters are not valid for its kind", "作业参数对其类型无效",
        "run `tacit job plan` and correct the parameter that is named", "请运行 `tacit job plan` 并更正所指参数";
    RefusedColumn = "refused.column", "a column is not within the contract", "某列不在合同范围内",
        "use only columns that the contract lists", "请仅使用合同列出的列";
    RefusedLevel = "refused.level", "a column's disclosure level does not allow this use", "某列的披露级别不允许此用途",
        "ask the owner for a wider level", "请向所有者申请更宽的披露级别";
    RefusedCohort = "refused.cohort", "too few rows or contributors for the contract's floor", "行数或参与方数低于合同下限",
        "widen the filter or the groups", "请放宽筛选条件或分组";
    RefusedRecipient = "refused.recipient", "the recipient is not one of the contract's", "接收方不在合同之列",
        "name a recipient of the contract", "请使用合同载明的接收方";
    RefusedPriceUnsigned = "refused.price_unsigned", "the contract names a price plan that its payer and payees have not all signed", "合同所指的价格方案尚未由付款方与全部收款方签署",
        "have each of them run `tacit price sign`, then submit the job anew", "请各方运行 `tacit price sign`，然后重新提交作业";
    RefusedPromiseUnkept = "refused.promise_unkept", "the coordinator promised a receipt and did not log it", "协调方承诺记入的凭证未被记入日志",
        "see `tacit receipt promises` at the node that refuses; its owner may forgive it there", "请在拒绝方节点查看 `tacit receipt promises`；其所有者可在那里予以谅解";
    RefusedLedgerBehind = "refused.ledger_behind", "this node has not yet counted what it had used before", "本节点尚未核算此前的用量",
        "wait until it has read the coordinator's log, which must be no older than what the node has signed; its log says what is missing", "请等待其读完协调方日志，且该日志不得早于本节点已签署的内容；节点日志会说明所缺部分";
    RefusedQuota = "refused.quota", "the contract's quota is used up", "合同配额已用尽",
        "agree a larger quota, or wait for the next period", "请申请更大配额或等待下一周期";
    RefusedParties = "refused.parties", "the parties are too few or not those of the contract", "参与方过少或与合同不符",
        "compare the job's parties with its contract and with who has joined; secure sums need three owners", "请核对作业的参与方与合同及已加入的各方；安全求和至少需要三个所有者";
    RefusedOverflow = "refused.overflow", "the sums could overflow", "求和可能溢出",
        "state a smaller range for the column", "请为该列声明更小的取值范围";
    RefusedClock = "refused.clock", "this node's clock is behind what it has already seen", "本节点时钟早于已见时间",
        "set the clock right, then try again", "请校准时钟后重试";
    RefusedOnline = "refused.online", "the contract does not allow scoring online, or not as much of it", "合同不允许在线评分，或不允许如此用量",
        "agree on a contract with `online` terms of scoring, or publish within them", "请签订含 `online` 评分条款的合同，或在其范围内发布";
    RefusedPace = "refused.pace", "more rows a second than the contract allows", "每秒评分行数超过合同上限",
        "wait a moment and ask again", "请稍候重试";
    RefusedDistinct = "refused.distinct", "more different keys than the contract allows in this period", "本周期内不同键的数量超过合同上限",
        "ask about keys that were asked for before, or wait for the next period", "请查询此前已查询过的键，或等待下一周期";
    RefusedAlignment = "refused.alignment", "the contract does not allow this alignment of keys", "合同不允许此类键对齐",
        "ask for a level, a floor and a padding that the contract's `[alignment]` allows", "请使用合同 `[alignment]` 允许的级别、下限与填充方式";
    RefusedApproval = "refused.approval", "an approval that the contract needs is missing, or it was vetoed", "合同缺少必要的审批，或已被否决",
        "have the office that is named run `tacit contract approve`", "请由所指职务运行 `tacit contract approve`";
    RefusedListed = "refused.listed", "what is asked for is on a negative list", "所请求的内容在负面清单上",
        "ask the issuer of the list that is named", "请联系所指清单的发布方";
    RefusedRightHold = "refused.right_hold", "the right to hold the data (数据资源持有权) is missing or has ended", "缺少数据资源持有权，或已到期",
        "agree a contract with the right of each dataset's owner", "请签订载明各数据集所有者持有权的合同";
    RefusedRightProcess = "refused.right_process", "the right to process and use the data (数据加工使用权) is missing or has ended", "缺少数据加工使用权，或已到期",
        "agree a contract with that right for each dataset", "请签订载明各数据集加工使用权的合同";
    RefusedRightOperate = "refused.right_operate", "the right to run a product of the data (数据产品经营权) is missing or has ended", "缺少数据产品经营权，或已到期",
        "agree a contract with that right of the demander for each dataset", "请签订载明需求方对各数据集产品经营权的合同";
    RefusedWithheld = "refused.withheld", "the owner withholds the dataset, or keeps it secret", "所有者不予共享该数据集，或须予以保密",
        "use another dataset, or ask the owner", "请使用其他数据集，或联系所有者";
    RefusedRegistration = "refused.registration", "the registration of the dataset has expired", "数据集的产权登记已过期",
        "the owner renews it and registers a new version", "请由所有者续期并登记新版本";
    RefusedPersonal = "refused.personal", "nothing allows this use of personal data", "该个人信息的使用没有依据",
        "the owner states consent, a law, a contract or how it was made anonymous, with `tacit data add`", "请由所有者在 `tacit data add` 中载明同意、法定事由、合同或匿名化依据";
    RefusedGrade = "refused.grade", "the grade of the data does not allow this product", "数据级别不允许产出该类结果",
        "ask for a product that docs/GOVERNANCE.md allows for the grade, or set `checked` or `verified`", "请按 docs/GOVERNANCE.md 选择该级别允许的结果，或设置 `checked`、`verified`";
    RefusedReview = "refused.review", "what computes was not reviewed as the contract wants, or was rejected", "算法未按合同要求通过审查，或已被否决",
        "have the contract's reviewers sign a review, and the owner take it in with `tacit list add`", "请由合同载明的审查方签署审查意见，并由所有者用 `tacit list add` 录入";
    RefusedRisk = "refused.risk", "the recipient's risk was not assessed, or is too great", "接收方未经风险评估，或风险过高",
        "have an assessor of the contract sign an assessment, and the owner take it in with `tacit list add`", "请由合同载明的评估方签署评估，并由所有者用 `tacit list add` 录入";
    RefusedRegion = "refused.region", "results would cross a border without an assessment that holds", "结果将出境，而没有有效的出境安全评估",
        "state every party's region, and the assessment under [control.cross_border]", "请载明各方所在地区，并在 [control.cross_border] 下载明评估";
    RefusedExportControl = "refused.export_control", "the data is under export control and results would cross a border", "数据受出口管制，结果不得出境",
        "agree a contract among parties of one jurisdiction", "请与同一法域内的各方签订合同";
    RefusedSitePolicy = "refused.site_policy", "the owner's site policy says no", "所有者的站点策略拒绝",
        "the refusal names the policy that decided; ask the owner, or `tacit policy check` at the owner", "拒绝理由载明作出决定的策略；请联系所有者，所有者可用 `tacit policy check` 查看";

    // A running job.
    JobPeerLost = "job.peer_lost", "a party was lost and too few are left", "有参与方失联，余下的过少",
        "look at that party's node, then submit again", "请检查该参与方节点后重新提交";
    JobDeadline = "job.deadline", "a step did not finish by its deadline", "某一步骤未在期限内完成",
        "look at the seat that is named", "请检查所指席位";
    JobMisbehaved = "job.misbehaved", "a party broke the protocol", "有参与方违反协议",
        "the evidence is in the receipt", "证据见凭证";
    JobDisagreement = "job.disagreement", "the parties were given different jobs or rosters", "各方收到的作业或名册不一致",
        "the coordinator equivocated; do not use it", "协调方前后不一，请停止使用";
    JobCancelled = "job.cancelled", "the job was cancelled by its operator", "作业已被操作者取消",
        "submit it again if it is still wanted", "如仍需要请重新提交";
    JobUnreachable = "job.unreachable", "a party did not answer in time", "有参与方未及时应答",
        "check that the node runs: `tacit doctor`", "请检查节点是否运行：`tacit doctor`";
    JobBusy = "job.busy", "the nodes are busy and the job's time ran out", "节点繁忙且作业等待超时",
        "submit again later", "请稍后重新提交";
    JobLocal = "job.local", "a party's local half failed", "某参与方的本地部分失败",
        "that party's own log tells why", "原因见该参与方自身日志";
    JobValueOutOfRange = "job.value_out_of_range", "the joint counts are none that the parties can have", "联合计数超出各参与方可能的范围",
        "no value of a row causes this: a party stated wrong counts; find out which before you run it again", "并非某行取值所致：某参与方申报了错误的计数；请查明是哪一方后再运行";
    JobInternal = "job.internal", "a party's software failed", "某参与方的软件出错",
        "report it with the support bundle", "请附支持包报告此问题";
    JobUnknown = "job.unknown", "no job of that id is known here", "此处没有该编号的作业",
        "run `tacit job list`", "请运行 `tacit job list`";
    JobNotFinished = "job.not_finished", "the job has no result yet", "作业尚无结果",
        "run `tacit job watch`", "请运行 `tacit job watch`";
    JobNotOurs = "job.not_ours", "the result is sealed to another key", "结果由其他密钥封装",
        "open it with the key of the operator who submitted the job", "请使用提交该作业的操作者密钥打开";

    // Network and enrolment.
    NetUnreachable = "net.unreachable", "the peer does not answer", "对端没有响应",
        "check the address, and that UDP passes: `tacit doctor`", "请检查地址以及 UDP 是否畅通：`tacit doctor`";
    NetFingerprint = "net.fingerprint", "the peer's key is not the pinned one", "对端密钥与固定的指纹不符",
        "compare the fingerprints by another channel; do not go on if they differ", "请通过其他渠道核对指纹；不一致时请勿继续";
    NetVersion = "net.version", "the peer speaks no common version", "与对端没有共同的协议版本",
        "update the older side", "请更新较旧的一方";
    NetPortTaken = "net.port_taken", "the port is taken", "端口已被占用",
        "choose another port, or stop the other program", "请选择其他端口，或停止占用该端口的程序";
    NetFrame = "net.frame", "the peer sent a frame that breaks the rules", "对端发送了违规的帧",
        "update both sides; if it persists, report the peer", "请更新双方；若仍出现请报告对端";
    NetRefused = "net.refused", "the peer refused the connection", "对端拒绝连接",
        "enrol first with `tacit join`", "请先用 `tacit join` 加入";
    NetHandshake = "net.handshake", "no secure connection could be agreed", "无法协商安全连接",
        "update both sides; check that nothing on the path rewrites the traffic", "请更新双方，并确认链路上没有设备改写流量";
    NetLost = "net.lost", "the connection to the peer was lost", "与对端的连接已断开",
        "it is dialled again by itself; if it persists, run `tacit doctor`", "系统会自动重连；若持续出现请运行 `tacit doctor`";
    NetDeadline = "net.deadline", "the peer did not answer in time", "对端未在期限内应答",
        "look at the peer's load and at the line between", "请检查对端负载及两端之间的线路";
    InviteMalformed = "invite.malformed", "not an invitation", "邀请无效",
        "copy the whole line that begins with tacit1:", "请完整复制以 tacit1: 开头的一行";
    InviteUnknown = "invite.unknown", "the invitation code is not known", "邀请码未知",
        "ask for a new invitation", "请索取新的邀请";
    InviteUsed = "invite.used", "the invitation was used with other keys", "该邀请已被另一组密钥使用",
        "join in the folder in which it was begun, or ask for a new invitation; if it was not you, say so to who invited you",
        "请在最初加入的目录中重试，或索取新的邀请；若并非本人使用，请告知邀请方";
    InviteExpired = "invite.expired", "the invitation has expired", "邀请已过期",
        "ask for a new invitation", "请索取新的邀请";
    InviteThrottled = "invite.throttled", "too many wrong codes were tried", "尝试错误邀请码次数过多",
        "wait a minute", "请等待一分钟";
    ClockSkew = "clock.skew", "this clock and the peer's differ too much", "本机时钟与对端相差过大",
        "set the clocks right", "请校准时钟";

    // The log and receipts.
    ReceiptInvalid = "receipt.invalid", "the receipt does not verify", "凭证验证失败",
        "keep the file: it is evidence", "请保留该文件：它是证据";
    ReceiptUnknown = "receipt.unknown", "there is no such receipt", "没有该凭证",
        "run `tacit receipt list`", "请运行 `tacit receipt list`";
    ReceiptPending = "receipt.pending", "the receipt is not yet in a cosigned checkpoint", "凭证尚未进入联署检查点",
        "try again in a moment; the result stays closed until then", "请稍后再试；在此之前结果不会打开";
    ReceiptMalformed = "receipt.malformed", "a leaf is not a statement that this version can read", "日志条目不是本版本可读取的声明",
        "update this side; if that does not help, keep the log as evidence", "请更新本方软件；若仍无法读取，请保留日志作为证据";
    ReceiptSignature = "receipt.signature", "a signature does not verify", "签名验证失败",
        "a byte was changed or the key is another; keep the file as evidence", "有字节被改动或密钥不符；请保留该文件作为证据";
    ReceiptCoordinator = "receipt.coordinator", "a leaf is not signed by the log's coordinator", "日志条目不是由该日志的协调方签署",
        "compare the coordinator's key in the trust file by another channel", "请通过其他渠道核对信任文件中的协调方密钥";
    ReceiptRecord = "receipt.record", "a usage record contradicts itself", "用量记录自相矛盾",
        "ask the parties that attested it", "请询问为其签署证明的参与方";
    ReceiptDigest = "receipt.digest", "an attestation is over another usage record", "证明针对的是另一份用量记录",
        "a quantity was altered, or the attestation was moved; compare with that party's own copy", "用量被改动或证明被挪用；请与该参与方自己的副本核对";
    ReceiptAttestationMissing = "receipt.attestation_missing", "a party's attestation is missing", "缺少某参与方的证明",
        "the use is not proven: ask the party that is named", "该使用未获证明：请询问所指的参与方";
    ReceiptAttestationInvalid = "receipt.attestation_invalid", "an attestation is not valid", "证明无效",
        "ask the party that is named for its own copy", "请向所指参与方索取其自己的副本";
    ReceiptPartyUnknown = "receipt.party_unknown", "a key is not one of the trusted parties' at this place of the log", "该密钥在日志的此位置不属于受信任的参与方",
        "get that party's key from the party itself", "请直接向该参与方获取其密钥";
    ReceiptPartyName = "receipt.party_name", "a party's name differs from the trust file", "参与方名称与信任文件不符",
        "the key decides; ask the party that holds it", "以密钥为准；请询问持有该密钥的参与方";
    ReceiptDisputed = "receipt.disputed", "a party disputes the usage record", "某参与方对用量记录有异议",
        "settle it between the parties; do not bill it", "请由各方协商解决；在此之前不得计费";
    ReceiptDuplicate = "receipt.duplicate", "a job's attempt is in the log twice", "同一作业的同一次尝试在日志中出现两次",
        "count it once; the coordinator must explain the second", "只应计一次；协调方须解释第二次记录";
    ReceiptSequenceGap = "receipt.sequence_gap", "an attestation of a party's chain is missing from the log", "日志中缺少某参与方证明链中的一份",
        "a receipt was left out, or is still to come: ask that party for the number that is named", "有凭证被遗漏或尚未到达：请向该参与方索取所指编号";
    ReceiptSequenceFork = "receipt.sequence_fork", "a party's chain of attestations does not hold together", "某参与方的证明链前后不连贯",
        "that party signed two attestations with one number, or restored an old state", "该参与方用同一编号签署了两份证明，或恢复了旧状态";
    ReceiptTime = "receipt.time", "the times of a receipt are out of order", "凭证的时间顺序不合理",
        "check the clocks of the coordinator and of the party", "请检查协调方与该参与方的时钟";
    ReceiptPromiseUnkept = "receipt.promise_unkept", "the coordinator promised a receipt and did not log it", "协调方承诺记入的凭证未被记入日志",
        "hand the promise and the checkpoint to the regulator", "请将该承诺与检查点提交监管方";
    ReceiptOmitted = "receipt.omitted", "a party attested a use whose receipt is not in the log", "某参与方已证明的使用在日志中没有凭证",
        "hand the attestation and the checkpoint to the regulator", "请将该证明与检查点提交监管方";
    ReceiptTooLarge = "receipt.too_large", "a receipt is too large for the log", "凭证过大，无法记入日志",
        "run the job with fewer parties", "请减少作业的参与方数量";
    ReceiptBundle = "receipt.bundle", "not an evidence bundle or trust file", "不是证据包或信任文件",
        "copy the file again; it must be complete and unchanged", "请重新复制文件；文件必须完整且未被改动";
    ReceiptPaper = "receipt.paper", "a paper in the evidence does not fit the receipt", "证据中的文件与凭证不符",
        "ask its signer for the paper as it was signed; a use whose papers contradict it has no shown authority", "请向签署方索取原始文件；文件与凭证矛盾的使用没有可证实的依据";
    ReceiptApproval = "receipt.approval", "an approval that the contract asks for was not given, or was given by another", "缺少合同要求的批准，或批准方无权作出",
        "ask who signed the contract for the approval over these very terms; a rejection stands", "请向合同签署方索取针对该合同原文的批准；拒绝一经作出即有效";
    ReceiptOpening = "receipt.opening", "not what opens the figure that the receipt commits to", "无法打开凭证所承诺的数值",
        "ask the party whose figure it is for an opening of this very receipt, sealed to your key", "请向该数值所属参与方索取针对该凭证、并以您的密钥密封的开启信息";
    ReceiptLink = "receipt.link", "not the links that the party attested", "与该参与方所证明的链路不符",
        "ask the party for its links of this very attempt; what both ends signed is shown, and who signed otherwise is named", "请向该参与方索取该次尝试的链路；双方签署一致的可予出示，签署不一致的将指明是谁";
    ReceiptPlan = "receipt.plan", "a price plan contradicts itself or is over a limit", "价格方案自相矛盾或超过上限",
        "correct the part that is named, and have the payer and every payee sign it again", "请更正所指部分，并由付款方和全部收款方重新签署";
    ReceiptRegime = "receipt.regime", "a price is not what its regime allows", "价格不符合其定价方式的规定",
        "under a guided price stay below the ceilings; a free use for public interest has no price at all", "政府指导价不得高于上限；公共利益的无偿使用不得收费";
    ReceiptNotBillable = "receipt.not_billable", "the quantity is not one that may be billed", "该用量不可计费",
        "bill units of class A or B that are in the open; what one party says of itself informs alone", "只能对公开的 A 类或 B 类用量计费；单方自述的用量仅供参考";
    ReceiptAmount = "receipt.amount", "an amount is over the limit", "金额超过上限",
        "check prices and quantities: no charge of one period is that large", "请检查价格与用量：单个周期的费用不会如此之大";
    ReceiptBudget = "receipt.budget", "results have cost a dataset more than its privacy budget", "结果对某数据集造成的开销超出其隐私预算",
        "ask the owner's node what it admitted under which contract", "请向所有者节点查询其依据何合同接受了哪些作业";
    ReceiptUnagreed = "receipt.unagreed", "a statement rests on one that its parties have not all signed", "声明所依据的内容尚未由各方全部签署",
        "collect the signature that is missing, or ask the arbiter of the price plan", "请补全缺少的签名，或请价格方案载明的仲裁方处理";
    ReceiptPeriod = "receipt.period", "a period overlaps another, leaves a gap, or is not over", "周期与其他周期重叠、存在间隔或尚未结束",
        "periods follow each other without a gap, in leaves and in time", "各周期在条目和时间上应首尾相接";
    ReceiptPeriodClose = "receipt.period_close", "a party closed a period with other counts than the log has", "某参与方结账的数目与日志不符",
        "count that party's attestations and add its usage lines again, with that party", "请与该参与方重新核对其证明份数与用量合计";
    ReceiptCharge = "receipt.charge", "a charge does not follow from the receipts and the price plan", "费用无法由凭证和价格方案得出",
        "do not pay it: rate the period again and ask who signed the charge", "请勿付款：请重新计费并询问签署该费用的一方";
    ReceiptSettlement = "receipt.settlement", "a settlement does not follow from its charges, or does not net to zero", "结算无法由其费用得出，或轧差不为零",
        "do not pay it: net the charges again and ask who signed the settlement", "请勿付款：请重新轧差并询问签署该结算的一方";
    ReceiptCorrection = "receipt.correction", "a correction does not fit the leaf that it refers to", "更正与其引用的条目不符",
        "refer to a usage line of a receipt by its leaf's index and hash, and to the quantity that stands there", "请以条目的序号和哈希引用凭证的用量行及其现有用量";
    ReceiptDispute = "receipt.dispute", "a dispute or a ruling does not fit the leaf that it refers to, or comes too late", "异议或裁决与其引用的条目不符，或已逾期",
        "refer to a receipt by its leaf's index and hash, within the dispute window of the price plan", "请在价格方案的异议期内，以条目的序号和哈希引用凭证";
    ReceiptCase = "receipt.case", "a complaint, an incident, a conduct record or a step of one does not fit the log", "投诉、事件、行为记录或其步骤与日志不符",
        "see `tacit case show` for its state, whose turn it is and by when; name leaves by index and hash", "请用 `tacit case show` 查看其状态、轮到哪一方以及期限；请以序号和哈希引用条目";
    ReceiptKeyRotation = "receipt.key_rotation", "a change of a party's or a witness's key that does not hold", "参与方或见证方密钥的更换无效",
        "the key that goes signs the change, the one that comes agrees, and a key has one successor and one party", "更换须由旧密钥签署并经新密钥同意，且每个密钥只有一个后继、只属于一方";
    ReceiptKeyRetired = "receipt.key_retired", "signed with a key of a party that did not hold at that time", "签名所用的参与方密钥在当时无效",
        "the party signs with the key that holds; what an old key signed counts up to its end", "参与方须使用当时有效的密钥签署；旧密钥的签名仅在其有效期内有效";
    LogMalformed = "log.malformed", "a checkpoint, key or proof of the log cannot be read", "日志的检查点、密钥或证明无法读取",
        "fetch it again from the log or a mirror", "请从日志或镜像重新获取";
    LogSignature = "log.signature", "the checkpoint is not signed by the log's key", "检查点不是由日志密钥签署",
        "compare the log's key in the trust file by another channel", "请通过其他渠道核对信任文件中的日志密钥";
    LogQuorum = "log.quorum", "too few trusted witnesses cosigned the checkpoint", "联署检查点的受信任见证方不足",
        "fetch a newer checkpoint; without a quorum a split view cannot be ruled out", "请获取更新的检查点；未达到法定数量时无法排除分叉视图";
    LogKeyRotation = "log.key_rotation", "a change of the log's key that does not hold", "日志密钥的更换无效",
        "the key that goes signs the change, the one that comes agrees, and a key has one successor", "更换须由旧密钥签署并经新密钥同意，且每个密钥只有一个后继";
    LogKeyRetired = "log.key_retired", "signed with a key of the log that did not hold at that time", "签名所用的日志密钥在当时无效",
        "ask for evidence that the log's newest key signs, or verify with the trust file of that time", "请索取由日志最新密钥签署的证据，或使用当时的信任文件验证";
    LogShard = "log.shard", "the log does not end with a change that leads to the next one, or the next does not continue it", "日志未以指向后继日志的变更结束，或后继日志未延续该日志",
        "read the logs in their order; a log has one successor, which names its last checkpoint, and nothing behind the change", "请按顺序读取各日志；每个日志只有一个后继，后继须指明其最后的检查点，变更之后不得有任何条目";
    LogProof = "log.proof", "the proof does not lead to the checkpoint's root", "证明无法得出检查点的根",
        "fetch the proof again; a valid proof is for one entry and one log", "请重新获取证明；有效的证明只对应一个条目和一个日志";
    LogGenesis = "log.genesis", "the log does not begin with its policy and its keys", "日志未以其规则和密钥开头",
        "this is not a whole log of this product", "这不是本产品的完整日志";
    LogRollback = "log.rollback", "the log went back behind what was seen before", "日志退回到先前已见状态之前",
        "an old state was restored: stop the coordinator and recover the log from a mirror", "恢复了旧状态：请停止协调方并从镜像恢复日志";
    LogStale = "log.stale", "the request starts from another size than the witness holds", "请求的起始大小与见证方所持不同",
        "ask again from the size that is named", "请从所指的大小重新请求";
    LogUnknown = "log.unknown", "the witness does not follow this log", "见证方未跟踪此日志",
        "configure the log's key at the witness", "请在见证方配置该日志的密钥";
    LogClock = "log.clock", "the clock is behind what the log has already recorded", "时钟落后于日志已有的记录",
        "set the clock right, then try again", "请校准时钟后重试";
    LogCorrupt = "log.corrupt", "the log does not match its checkpoint", "日志与其检查点不一致",
        "stop; restore the log from a mirror", "请停止使用，并从镜像恢复日志";
    LogFork = "log.fork", "the log showed two histories", "日志出现两种历史",
        "keep both checkpoints: they are evidence", "请保留两个检查点：它们是证据";
    LogFull = "log.full", "the log takes no more memos of this node", "日志不再接受本节点的备忘",
        "what a node is told from now on comes back to a restored database from files alone: keep them, or join a new log", "此后节点被告知的内容只能由文件恢复到还原后的数据库：请妥善保存，或加入新日志";
    LogWithheld = "log.withheld", "the coordinator said that the log has something, and the log does not show it", "协调方称日志已记入，而日志并未显示",
        "keep the files of what was told; ask the coordinator's operator, and a regulator if it stays so", "请保存相关文件，并询问协调方的运营者；如仍未解决，请告知监管方";

    // Scores online: what the node answers to a call.
    OnlineRequest = "online.request", "the call is not one that can be answered", "调用请求无效",
        "send JSON with a list `keys`, as docs/ONLINE.md shows", "请发送含 `keys` 列表的 JSON，参见 docs/ONLINE.md";
    OnlineCaller = "online.caller", "the call is not signed by an enrolled caller", "调用未由已登记的调用方签名",
        "sign it as docs/ONLINE.md says, with a key that `tacit model caller add` has enrolled", "请按 docs/ONLINE.md 签名，并使用经 `tacit model caller add` 登记的密钥";
    OnlineReplayed = "online.replayed", "the call was made before, or its time is not now", "调用已被使用，或其时间不在有效期内",
        "sign each call anew with another nonce, and set the clock right", "请为每次调用使用新的随机数重新签名，并校准时钟";
    OnlineUnknown = "online.unknown", "no model of that name is published here", "此处没有发布该名称的模型",
        "run `tacit model list` for what is published", "请运行 `tacit model list` 查看已发布的模型";
    OnlineClosed = "online.closed", "no window is open for this model now", "该模型当前没有打开的窗口",
        "ask again in a moment; `tacit model list` says why", "请稍后重试；原因见 `tacit model list`";
    OnlineBusy = "online.busy", "too many calls wait", "等待中的调用过多",
        "ask again in a moment, or with fewer calls at a time", "请稍后重试，或减少并发调用";
    OnlineDeadline = "online.deadline", "the owners did not answer in time", "数据方未及时应答",
        "ask again; the rows count as asked for", "请重试；这些行已计入用量";

    // This machine.
    StoreCorrupt = "store.corrupt", "the database is damaged", "数据库已损坏",
        "stop; restore the backup", "请停止使用并恢复备份";
    StoreFull = "store.full", "the disk is full", "磁盘已满",
        "free some space; nothing was lost", "请释放空间；没有数据丢失";
    StoreFailed = "store.failed", "the database could not be written", "数据库无法写入",
        "check the folder and its permissions", "请检查目录及权限";
    StoreLocked = "store.locked", "another process uses this folder", "另一进程正在使用此目录",
        "stop the other process", "请停止另一进程";
    IoFailed = "io.failed", "a file could not be read or written", "文件无法读写",
        "check the path, the permissions and the disk", "请检查路径、权限和磁盘";
    Internal = "internal", "a defect in this software", "软件缺陷",
        "report it with the command that showed it", "请附上触发命令报告此问题";
    Unknown = "unknown", "a code of a newer version", "来自更新版本的代码",
        "update this side", "请更新本方软件";
}

impl Code {
    /// The code of that text; [`Code::Unknown`] for one that this version does not have.
    pub fn parse(text: &str) -> Self {
        Self::ALL.iter().copied().find(|c| c.text() == text).unwrap_or(Code::Unknown)
    }

    /// The process exit status of an error with this code: 2 for what a person typed, 3 for a
    /// refusal, 4 for a failed job, 5 for the network, 6 for receipts and log, 1 for the rest.
    pub fn exit_status(self) -> u8 {
        match self.text().split('.').next() {
            Some("args" | "config" | "data" | "model") => 2,
            Some("refused") => 3,
            Some("job") => 4,
            Some("net" | "invite" | "clock") => 5,
            Some("receipt" | "log") => 6,
            _ => 1,
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl Serialize for Code {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.text())
    }
}

impl<'de> Deserialize<'de> for Code {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Ok(Code::parse(&String::deserialize(d)?))
    }
}

impl<C> minicbor::Encode<C> for Code {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.str(self.text())?;
        Ok(())
    }
}

impl<'b, C> minicbor::Decode<'b, C> for Code {
    fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        Ok(Code::parse(d.str()?))
    }
}

/// One clear error: a stable code and what it is about. Where the fault lies (file and line, seat
/// and step, field) is part of `what`, written by the code that found it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, thiserror::Error)]
#[error("{}: {what} [{code}]", code.title(Lang::En))]
pub struct Fault {
    /// The stable code.
    pub code: Code,
    /// What and where: a file and line, a column, a seat, a field, a value.
    pub what: String,
}

impl Fault {
    /// A fault of that code about `what`.
    pub fn new(code: Code, what: impl Into<String>) -> Self {
        Self { code, what: what.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_lower_case_and_said_in_both_languages() {
        for (i, code) in Code::ALL.iter().enumerate() {
            assert!(Code::ALL[i + 1..].iter().all(|c| c.text() != code.text()), "{code}");
            assert!(code.text().bytes().all(|b| b.is_ascii_lowercase() || b"._0123456789".contains(&b)), "{code}");
            assert_eq!(Code::parse(code.text()), *code);
            for lang in [Lang::En, Lang::Zh] {
                assert!(!code.title(lang).is_empty() && !code.hint(lang).is_empty(), "{code}");
            }
            assert!(code.title(Lang::Zh).chars().any(|c| c as u32 > 0x3000), "{code} has no Chinese title");
            assert_ne!(code.exit_status(), 0);
        }
        assert_eq!(Code::parse("from.the_future"), Code::Unknown);
    }
}
